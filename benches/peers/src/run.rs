//! One scenario from its first sample to its summary: runs interleaved, so that whatever the
//! machine does meanwhile happens to all peers alike.

use serde::Serialize;

use crate::affinity::Pins;
use crate::figure::Figure;
use crate::measure::{Case, measure};
use crate::registry::Entry;
use crate::scenario::{Extent, Scenario};
use crate::stats::{self, Distance, Row, Sample};

/// Peers that the others are compared with: the first of them that takes part.
const REFERENCES: [&str; 2] = ["busway:event", "busway:bare"];

/// A case, and what each peer did in it.
#[derive(Debug, Serialize)]
pub struct Measured {
    pub case: Case,
    pub rows: Vec<Row>,
}

impl Measured {
    /// The figures of its table; the first one is compared.
    pub fn figures(&self) -> &'static [Figure] {
        self.case.kind.figures(self.case.shape.lossy)
    }
}

/// A scenario's result.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub scenario: Scenario,
    /// The peer that the others are compared with.
    pub reference: Option<&'static str>,
    /// The round trip of most samples' probes.
    pub usual_probe_ns: Option<f64>,
    pub cases: Vec<Measured>,
}

impl Outcome {
    /// Samples that went wrong.
    pub fn failures(&self) -> usize {
        let rows = self.cases.iter().flat_map(|measured| &measured.rows);
        rows.flat_map(|row| &row.samples).filter(|sample| sample.result.is_err()).count()
    }
}

/// Measures a scenario. `say` is told what is being measured.
pub fn run(
    scenario: Scenario,
    peers: &[Entry],
    extent: &Extent,
    pins: &Pins,
    runs: usize,
    mut say: impl FnMut(&str),
) -> Outcome {
    let reference = REFERENCES.into_iter().find(|name| peers.iter().any(|peer| peer.name == *name));
    let mut cases: Vec<Measured> = scenario
        .cases(extent)
        .into_iter()
        .filter(|case| extent.only.as_ref().is_none_or(|part| case.name.contains(part)))
        .map(|case| measure_case(scenario, case, peers, pins, runs, &mut say))
        .collect();
    let samples = cases.iter().flat_map(|measured| &measured.rows).flat_map(|row| &row.samples);
    let usual_probe_ns = stats::usual_probe_ns(samples);
    for measured in &mut cases {
        for sample in measured.rows.iter_mut().flat_map(|row| &mut row.samples) {
            if let (Ok(report), Some(usual_ns)) = (&sample.result, usual_probe_ns) {
                sample.distance = stats::distance(report, usual_ns);
            }
        }
        if let Some(&figure) = measured.figures().first() {
            stats::summarize(&mut measured.rows, figure, reference);
        }
    }
    Outcome { scenario, reference, usual_probe_ns, cases }
}

fn measure_case(
    scenario: Scenario,
    case: Case,
    peers: &[Entry],
    pins: &Pins,
    runs: usize,
    say: &mut impl FnMut(&str),
) -> Measured {
    let mut rows: Vec<Row> = peers
        .iter()
        .map(|peer| Row {
            peer: peer.name,
            left_out: (peer.supports)(&case.shape).err(),
            samples: Vec::new(),
            summary: None,
        })
        .collect();
    for run in 0..runs {
        for (row, &entry) in rows.iter_mut().zip(peers) {
            // What has failed once fails again, and a time-out takes a minute.
            let failed = row.samples.iter().any(|sample| sample.result.is_err());
            if row.left_out.is_some() || failed {
                continue;
            }
            say(&format!(
                "{}: {}, run {} of {runs}: {}",
                scenario.name(),
                case.name,
                run + 1,
                row.peer
            ));
            let result = measure(entry, &case, pins);
            row.samples.push(Sample { run, result, distance: Distance::Usual });
        }
    }
    Measured { case, rows }
}
