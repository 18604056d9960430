//! One look at a set of buses, and what two looks say together: the rates.

use crate::process::process_name;
use crate::verbs::participants::Named;
use busd::api::{self, BusDetail};
use busway::Bus;
use serde::Serialize;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A snapshot of several buses.
pub struct Look {
    at: Instant,
    details: Vec<BusDetail>,
}

/// What `stat` shows: the later of two looks, with rates since the earlier.
#[derive(Serialize)]
pub struct Shown<'a> {
    /// When the later look was taken.
    pub time_unix_ns: u64,
    /// What the rates are taken over.
    pub interval_ns: u64,
    /// The buses, by name or as asked for.
    pub buses: Vec<ShownBus<'a>>,
}

/// A bus with its rates.
#[derive(Serialize)]
pub struct ShownBus<'a> {
    /// Geometry, policies, totals.
    pub bus: &'a api::Bus,
    /// The stored schema document, if any.
    pub frame: Option<&'a serde_json::Value>,
    /// All lanes together; `null` when the bus was not there at the earlier look.
    pub published_frames_per_s: Option<f64>,
    /// By index.
    pub lanes: Vec<ShownLane<'a>>,
    /// By seat.
    pub consumers: Vec<ShownConsumer<'a>>,
    /// Who holds a consumer's seat and holds up nobody.
    pub bystanders: Vec<Named<'a>>,
    /// The order ring; `null` unless `ordered`.
    pub order: Option<&'a api::Order>,
    /// Seats of dead participants that were ever given back.
    pub recoveries: u64,
    /// Entries of the order ring that were punched.
    pub punches: u64,
    /// Live participants that were made to leave.
    pub evictions: u64,
    /// Impossible words that participants met.
    pub corruptions: u64,
}

/// A lane with its rate.
#[derive(Serialize)]
pub struct ShownLane<'a> {
    /// As the daemon shows it.
    #[serde(flatten)]
    pub lane: &'a api::Lane,
    /// The kernel's name of the producer's process.
    pub process_name: Option<String>,
    /// Frames published a second.
    pub published_frames_per_s: Option<f64>,
}

/// A consumer with its rate.
#[derive(Serialize)]
pub struct ShownConsumer<'a> {
    /// As the daemon shows it.
    #[serde(flatten)]
    pub consumer: &'a api::Consumer,
    /// The kernel's name of its process.
    pub process_name: String,
    /// How far it is: frames that it has passed since the bus began, over all lanes.
    pub passed_frames: u64,
    /// Frames passed a second, read or lost.
    pub passed_frames_per_s: Option<f64>,
}

impl Look {
    /// Reads all of these now.
    pub fn new(buses: &[Bus]) -> Self {
        Self { at: Instant::now(), details: buses.iter().map(BusDetail::read).collect() }
    }

    /// This look with rates since an earlier one.
    pub fn since<'a>(&'a self, earlier: &Self) -> Shown<'a> {
        let interval = self.at.duration_since(earlier.at);
        let seconds = interval.as_secs_f64();
        let buses = self.details.iter().map(|now| {
            // The instance tells a bus from another one that took its name meanwhile.
            let before =
                earlier.details.iter().find(|before| before.bus.instance == now.bus.instance);
            shown_bus(now, before, seconds)
        });
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Shown {
            time_unix_ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            interval_ns: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            buses: buses.collect(),
        }
    }
}

fn shown_bus<'a>(now: &'a BusDetail, before: Option<&BusDetail>, seconds: f64) -> ShownBus<'a> {
    let lanes = now.lanes.iter().enumerate().map(|(index, lane)| {
        let before = before.and_then(|before| before.lanes.get(index));
        let frames = before.map(|before| lane.position.wrapping_sub(before.position));
        ShownLane {
            lane,
            process_name: lane.producer.as_ref().map(|producer| process_name(producer.pid)),
            published_frames_per_s: frames.map(|frames| per_second(frames, seconds)),
        }
    });
    let consumers = now.consumers.iter().map(|consumer| {
        let same = |before: &&api::Consumer| {
            let (a, b) = (&before.participant, &consumer.participant);
            (a.seat, a.epoch) == (b.seat, b.epoch)
        };
        let before = before.and_then(|before| before.consumers.iter().find(same));
        let passed_frames = passed(consumer, now.bus.origin_position);
        let frames = before
            .map(|before| passed_frames.wrapping_sub(passed(before, now.bus.origin_position)));
        ShownConsumer {
            consumer,
            process_name: process_name(consumer.participant.pid),
            passed_frames,
            passed_frames_per_s: frames.map(|frames| per_second(frames, seconds)),
        }
    });
    let frames =
        before.map(|before| now.bus.published_frames.wrapping_sub(before.bus.published_frames));
    ShownBus {
        bus: &now.bus,
        frame: now.schema.as_ref(),
        published_frames_per_s: frames.map(|frames| per_second(frames, seconds)),
        lanes: lanes.collect(),
        consumers: consumers.collect(),
        bystanders: now.bystanders.iter().map(Named::new).collect(),
        order: now.order.as_ref(),
        recoveries: now.recoveries,
        punches: now.punches,
        evictions: now.evictions,
        corruptions: now.corruptions,
    }
}

/// How many frames a consumer has behind it; positions wrap at 2^64.
fn passed(consumer: &api::Consumer, origin: u64) -> u64 {
    let each = consumer.lanes.iter().map(|cursor| cursor.position.wrapping_sub(origin));
    each.fold(0, u64::wrapping_add)
}

#[allow(clippy::cast_precision_loss, reason = "a rate is rounded for people anyway")]
fn per_second(frames: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { frames as f64 / seconds } else { 0.0 }
}
