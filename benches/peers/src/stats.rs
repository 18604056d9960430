//! What is made of samples: their middle and ends, which of them may be compared, and how they
//! compare with busway's of the same run.

use std::collections::BTreeMap;

use crate::figure::Figure;
use crate::plan::Report;

/// Probes that differ by more than this factor from the majority mark a sample.
const LIKE_FACTOR: f64 = 1.5;

/// Middle, least and greatest of one figure.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The middle one; of an even number the mean of the two.
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min, max })
    }
}

/// How far apart the cores of a sample were, against the majority of all samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// As for most samples, or not probed.
    Usual,
    /// Nearer, before and after.
    Nearer,
    /// Farther, before and after.
    Farther,
    /// They moved meanwhile.
    Moved,
}

/// One sample of one peer.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Sample {
    /// Which run it belongs to, from 0.
    pub run: usize,
    /// What was measured, or what went wrong.
    pub result: Result<Report, String>,
    /// Known when all samples are.
    pub distance: Distance,
}

/// All that is known about a peer in a case.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Row {
    /// The peer's name.
    pub peer: &'static str,
    /// Why it is left out, if it is.
    pub left_out: Option<String>,
    /// What was measured.
    pub samples: Vec<Sample>,
    /// What is made of it, once all is measured.
    pub summary: Option<Summary>,
}

/// What is printed for a peer in a case.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Summary {
    /// Of the samples of this distance.
    pub distance: Distance,
    /// How many those are.
    pub samples: usize,
    /// The figures.
    pub figures: BTreeMap<Figure, Spread>,
    /// The median of the first figure's ratios to busway's, run by run, at the same distance.
    pub ratio: Option<f64>,
    /// The middle of the probes.
    pub probe_ns: Option<f64>,
}

/// The round trip of most samples' probes; `None` when there was no probe.
pub fn usual_probe_ns<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Option<f64> {
    let probes = samples.into_iter().filter_map(|sample| sample.result.as_ref().ok()?.probes_ns);
    Spread::of(probes.flatten()).map(|spread| spread.median)
}

/// Tells the distance of a sample from its probes.
pub fn distance(report: &Report, usual_ns: f64) -> Distance {
    let Some(probes) = report.probes_ns else {
        return Distance::Usual;
    };
    let [before, after] = probes.map(|probe_ns| {
        if probe_ns > usual_ns * LIKE_FACTOR {
            Distance::Farther
        } else if probe_ns < usual_ns / LIKE_FACTOR {
            Distance::Nearer
        } else {
            Distance::Usual
        }
    });
    if before == after { before } else { Distance::Moved }
}

/// Makes the summaries of a case's rows. `figure` is the one that is compared, `reference` the
/// peer that all others are compared with.
pub fn summarize(rows: &mut [Row], figure: Figure, reference: Option<&str>) {
    let ours: Vec<Sample> = rows
        .iter()
        .find(|row| Some(row.peer) == reference)
        .map(|row| row.samples.clone())
        .unwrap_or_default();
    for row in rows {
        row.summary = summary(&row.samples, figure, &ours);
    }
}

fn summary(samples: &[Sample], figure: Figure, ours: &[Sample]) -> Option<Summary> {
    let distance = most_common(samples)?;
    let like: Vec<(usize, &Report)> = of_distance(samples, distance).collect();
    let mut names: Vec<Figure> =
        like.iter().flat_map(|(_, report)| report.figures.keys().copied()).collect();
    names.sort_unstable();
    names.dedup();
    let value = |report: &Report, figure| report.figures.get(&figure).copied();
    let figures = names.into_iter().filter_map(|name| {
        let values = like.iter().filter_map(|(_, report)| value(report, name));
        Some((name, Spread::of(values)?))
    });
    let ratios = like.iter().filter_map(|(run, report)| {
        let (_, other) = of_distance(ours, distance).find(|(other, _)| other == run)?;
        Some(value(report, figure)? / value(other, figure)?)
    });
    let probes = like.iter().filter_map(|(_, report)| report.probes_ns).flatten();
    Some(Summary {
        distance,
        samples: like.len(),
        figures: figures.collect(),
        ratio: Spread::of(ratios).map(|spread| spread.median),
        probe_ns: Spread::of(probes).map(|spread| spread.median),
    })
}

fn of_distance(samples: &[Sample], distance: Distance) -> impl Iterator<Item = (usize, &Report)> {
    let like = samples.iter().filter(move |sample| sample.distance == distance);
    like.filter_map(|sample| Some((sample.run, sample.result.as_ref().ok()?)))
}

/// The distance of most of the samples that succeeded; the usual one where they are even.
fn most_common(samples: &[Sample]) -> Option<Distance> {
    let mut counts = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.result.is_ok()) {
        *counts.entry(sample.distance).or_insert(0_usize) += 1;
    }
    counts
        .into_iter()
        .max_by_key(|&(distance, count)| (count, std::cmp::Reverse(distance)))
        .map(|(distance, _)| distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(run: usize, rate: f64, probes_ns: [f64; 2]) -> Sample {
        let report = Report {
            probes_ns: Some(probes_ns),
            figures: [(Figure::MessagesPerS, rate)].into_iter().collect(),
        };
        let distance = distance(&report, 100.0);
        Sample { run, result: Ok(report), distance }
    }

    fn row(peer: &'static str, samples: Vec<Sample>) -> Row {
        Row { peer, left_out: None, samples, summary: None }
    }

    #[test]
    fn a_spread_is_the_middle_and_the_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 2.0]).map(|spread| spread.median), Some(3.0));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_distance_follows_from_both_probes() {
        assert_eq!(sample(0, 1.0, [90.0, 110.0]).distance, Distance::Usual);
        assert_eq!(sample(0, 1.0, [400.0, 390.0]).distance, Distance::Farther);
        assert_eq!(sample(0, 1.0, [50.0, 50.0]).distance, Distance::Nearer);
        assert_eq!(sample(0, 1.0, [100.0, 400.0]).distance, Distance::Moved);
    }

    #[test]
    fn ratios_are_of_the_same_run_and_the_same_distance() {
        let (usual, far) = ([100.0, 100.0], [400.0, 400.0]);
        let mut rows = [
            row("busway:event", vec![sample(0, 10.0, usual), sample(1, 4.0, far)]),
            row("even", vec![sample(0, 20.0, usual), sample(1, 2.0, far)]),
            row("far", vec![sample(0, 1.0, far), sample(1, 2.0, far)]),
            row("nowhere", vec![sample(0, 1.0, [50.0, 50.0])]),
        ];
        summarize(&mut rows, Figure::MessagesPerS, Some("busway:event"));
        let ratios = rows.map(|row| row.summary.and_then(|summary| summary.ratio));
        assert_eq!(ratios, [Some(1.0), Some(2.0), Some(0.5), None]);
    }
}
