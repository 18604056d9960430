//! Samples as text.

use std::fmt;

use busway::LatencyStat;
use busway::metrics::{self, Kind, Metric, Scope, Unit};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{self, Registry};

use super::{BusSample, SERIES_MAX};
use crate::watch::WatchReport;

/// What every name starts with.
const PREFIX: &str = "busway";
/// The buckets of latencies, by their upper ends; the last is for everything.
const LATENCIES_NS: [u64; 18] = [
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    1_000_000_000,
];

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's text format, version 0.0.4.
    Prometheus,
}

impl Format {
    /// What whoever asks accepts: OpenMetrics if that is named.
    pub(crate) fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// The value of `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// The page about these buses, and the daemon that looked at them.
///
/// # Errors
/// None that is known: a string takes any text.
pub(crate) fn page(
    samples: Vec<BusSample>,
    unreadable: u64,
    watch: WatchReport,
    format: Format,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Everything::new(samples, unreadable, watch)));
    let mut page = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut page, &registry)?,
        Format::Prometheus => prometheus_text::encode(&mut page, &registry)?,
    }
    Ok(page)
}

/// Label and value.
type Labels = Vec<(&'static str, String)>;

/// What one scrape says.
#[derive(Debug)]
struct Everything {
    samples: Vec<BusSample>,
    /// So many of the buses, from the first on, are shown with lanes, consumers and groups.
    detailed: usize,
    unreadable: u64,
    watch: WatchReport,
}

impl Everything {
    fn new(samples: Vec<BusSample>, unreadable: u64, watch: WatchReport) -> Self {
        let of = |scope: Scope| metrics::all().filter(|metric| metric.scope == scope).count();
        let (lane, group) = (of(Scope::Lane), of(Scope::Group));
        let consumer = of(Scope::Consumer) + LATENCIES_NS.len() + 3;
        let mut left = SERIES_MAX;
        let detailed = samples.iter().take_while(|sample| {
            let series = lane * used_lanes(sample).count()
                + consumer * sample.stat.consumers.len()
                + group * sample.groups.len();
            let fits = left.checked_sub(series);
            left = fits.unwrap_or(left);
            fits.is_some()
        });
        Self { detailed: detailed.count(), samples, unreadable, watch }
    }

    /// The buses that are shown with lanes, consumers and groups.
    fn detailed(&self) -> impl Iterator<Item = &BusSample> {
        self.samples.iter().take(self.detailed)
    }

    /// Every value of a metric, with its labels.
    fn values(&self, wanted: &Metric) -> Vec<(Labels, u64)> {
        let mut found = Vec::new();
        let mut keep = |labels: &dyn Fn() -> Labels, one: (&'static Metric, u64)| {
            if one.0.number == wanted.number {
                found.push((labels(), one.1));
            }
        };
        match wanted.scope {
            Scope::Bus => self.samples.iter().for_each(|sample| {
                metrics::of_bus(&sample.stat).for_each(|one| keep(&|| of_bus(sample), one));
            }),
            Scope::Lane => self.detailed().for_each(|sample| {
                for lane in used_lanes(sample) {
                    let labels = || with(of_bus(sample), "lane", &lane.lane);
                    metrics::of_lane(lane).for_each(|one| keep(&labels, one));
                }
            }),
            Scope::Consumer => self.detailed().for_each(|sample| {
                for consumer in &sample.stat.consumers {
                    let labels = || with(of_bus(sample), "seat", &consumer.participant.seat);
                    metrics::of_consumer(consumer).for_each(|one| keep(&labels, one));
                }
            }),
            Scope::Group => self.detailed().for_each(|sample| {
                for (name, group) in &sample.groups {
                    let labels = || with(of_bus(sample), "group", name);
                    metrics::of_group(group).for_each(|one| keep(&labels, one));
                }
            }),
        }
        found
    }

    fn encode_latencies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "How long frames were under way, from publish to poll";
        let unit = registry::Unit::Seconds;
        let mut family = encoder.encode_descriptor(
            "consumer_latency",
            help,
            Some(&unit),
            MetricType::Histogram,
        )?;
        for sample in self.detailed() {
            for consumer in &sample.stat.consumers {
                let Some(latency) = &consumer.latency else {
                    continue;
                };
                let labels = with(of_bus(sample), "seat", &consumer.participant.seat);
                let buckets = buckets(latency);
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                    seconds(latency.sum_ns),
                    buckets.iter().fold(0, |sum, (_, count)| count.saturating_add(sum)),
                    &buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }

    /// What the daemon says of itself.
    fn encode_own(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let shortened = count(self.samples.len() - self.detailed);
        let gauges = [
            ("buses", "Buses of the host that the daemon can open", count(self.samples.len())),
            ("buses_shortened", "Buses shown without lanes, consumers and groups", shortened),
            ("segments_unreadable", "Segments that cannot be opened", self.unreadable),
            ("participants", "Participants that the daemon watches", self.watch.participants),
        ];
        for (name, help, value) in gauges {
            let mut one = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            one.encode_gauge(&value)?;
        }
        let age = registry::Unit::Seconds;
        let help = "Time since the daemon's watch has looked";
        encoder
            .encode_descriptor("watch_age", help, Some(&age), MetricType::Gauge)?
            .encode_gauge(&self.watch.age.as_secs_f64())?;
        let help = "Seats that the daemon has given back";
        encoder
            .encode_descriptor("seats_recovered", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&self.watch.seats_recovered, None)?;
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor("build", "The daemon that wrote this", None, MetricType::Info)?
            .encode_info(&build)
    }
}

impl Collector for Everything {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in metrics::all() {
            let (name, unit) = name_of(metric);
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            // The library's sentences end with a full stop, which the encoder adds as well.
            let help = metric.help.trim_end_matches('.');
            let mut family = encoder.encode_descriptor(&name, help, unit.as_ref(), kind)?;
            for (labels, value) in self.values(metric) {
                encode_value(family.encode_family(&labels)?, metric, value)?;
            }
        }
        self.encode_latencies(&mut encoder)?;
        self.encode_own(&mut encoder)
    }
}

fn encode_value(mut encoder: MetricEncoder<'_>, metric: &Metric, value: u64) -> fmt::Result {
    match (metric.kind, metric.unit) {
        (Kind::Gauge, _) => encoder.encode_gauge(&value),
        (Kind::Counter, Unit::Nanoseconds) => {
            encoder.encode_counter::<NoLabelSet, _, f64>(&seconds(value), None)
        }
        (Kind::Counter, _) => encoder.encode_counter::<NoLabelSet, _, f64>(&value, None),
    }
}

/// The name after the prefix, and its unit, which the encoder puts behind it.
fn name_of(metric: &Metric) -> (String, Option<registry::Unit>) {
    let scope = match metric.scope {
        Scope::Bus => "bus",
        Scope::Lane => "lane",
        Scope::Consumer => "consumer",
        Scope::Group => "group",
    };
    let cut = |suffix: &str| metric.name.strip_suffix(suffix);
    let (name, unit) = match metric.unit {
        Unit::Frames => match cut("_frames") {
            Some(name) => (name, Some(registry::Unit::Other("frames".to_owned()))),
            None => (metric.name, None),
        },
        Unit::Bytes => (cut("_bytes").unwrap_or(metric.name), Some(registry::Unit::Bytes)),
        Unit::Nanoseconds => (cut("_time").unwrap_or(metric.name), Some(registry::Unit::Seconds)),
        Unit::Count => (metric.name, None),
    };
    (format!("{scope}_{name}"), unit)
}

/// Lanes that somebody publishes on or has published on.
fn used_lanes(sample: &BusSample) -> impl Iterator<Item = &busway::LaneStat> {
    sample.stat.lanes.iter().filter(|lane| lane.producer.is_some() || lane.published > 0)
}

fn of_bus(sample: &BusSample) -> Labels {
    vec![("bus", sample.info.name.clone())]
}

fn with(mut labels: Labels, label: &'static str, value: &dyn fmt::Display) -> Labels {
    labels.push((label, value.to_string()));
    labels
}

/// How many were in each of the page's buckets, and not in the one before. A consumer's bucket counts
/// where all of it lies.
fn buckets(latency: &LatencyStat) -> Vec<(f64, u64)> {
    let ends = LATENCIES_NS.iter().copied().chain([u64::MAX]);
    let mut from = latency.buckets.iter().peekable();
    let mut buckets = Vec::with_capacity(LATENCIES_NS.len() + 1);
    for end in ends {
        let mut count = 0_u64;
        while let Some(bucket) = from.next_if(|bucket| bucket.high_ns <= end) {
            count = count.saturating_add(bucket.count);
        }
        buckets.push((if end == u64::MAX { f64::MAX } else { seconds(end) }, count));
    }
    buckets
}

fn seconds(ns: u64) -> f64 {
    // Exact up to 104 days, and by a millionth off beyond.
    #[allow(clippy::cast_precision_loss)]
    let ns = ns as f64;
    ns / 1e9
}
