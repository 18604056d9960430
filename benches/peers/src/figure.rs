//! The figures that can be measured: what they are called, what unit they have, and which way is
//! better.

use serde::{Deserialize, Serialize};

/// A figure. Times are in nanoseconds, sizes in bytes, shares between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Received by the slowest consumer.
    MessagesPerS,
    /// Sent by all producers, where not all that is sent arrives.
    SentPerS,
    /// Of what was sent, not received by the slowest consumer.
    LostShare,
    /// Latencies.
    P50Ns,
    P99Ns,
    P999Ns,
    MaxNs,
    /// Processor time of a consumer that sleeps, as a share of the time.
    IdleCpuShare,
    /// Making what the ends share.
    CreateNs,
    /// Attaching a consumer.
    AttachRxNs,
    /// Attaching a producer.
    AttachTxNs,
    /// From before the first of these until the first message is received.
    FirstMessageNs,
    /// Shared memory that one consumer and one producer map.
    MappedBytes,
    /// Of that, what is present.
    ResidentBytes,
    /// A poll that finds nothing.
    EmptyPollNs,
    /// Sending and polling one message, in one thread.
    SendAndPollNs,
    /// Sending one message.
    SendNs,
}

/// How a figure is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    Nanoseconds,
    Bytes,
    Share,
}

impl Figure {
    /// Its column's head.
    pub fn title(self) -> &'static str {
        match self {
            Self::MessagesPerS => "MESSAGES/S",
            Self::SentPerS => "SENT/S",
            Self::LostShare => "LOST",
            Self::P50Ns => "P50",
            Self::P99Ns => "P99",
            Self::P999Ns => "P99.9",
            Self::MaxNs => "MAX",
            Self::IdleCpuShare => "IDLE CPU",
            Self::CreateNs => "CREATE",
            Self::AttachRxNs => "ATTACH RX",
            Self::AttachTxNs => "ATTACH TX",
            Self::FirstMessageNs => "FIRST MESSAGE",
            Self::MappedBytes => "MAPPED",
            Self::ResidentBytes => "RESIDENT",
            Self::EmptyPollNs => "EMPTY POLL",
            Self::SendAndPollNs => "SEND+POLL",
            Self::SendNs => "SEND",
        }
    }

    /// Its unit.
    pub fn unit(self) -> Unit {
        match self {
            Self::MessagesPerS | Self::SentPerS => Unit::PerSecond,
            Self::LostShare | Self::IdleCpuShare => Unit::Share,
            Self::MappedBytes | Self::ResidentBytes => Unit::Bytes,
            _ => Unit::Nanoseconds,
        }
    }

    /// Whether more is better; less is, of times, sizes and shares.
    pub fn more_is_better(self) -> bool {
        self.unit() == Unit::PerSecond
    }

    /// One figure of two ends of one kind: the slower consumer, all producers together, the longer
    /// time.
    pub fn merge(self, one: f64, other: f64) -> f64 {
        match self {
            Self::MessagesPerS => one.min(other),
            Self::SentPerS => one + other,
            _ => one.max(other),
        }
    }
}

impl Unit {
    /// A value with its unit, three significant digits.
    pub fn format(self, value: f64) -> String {
        match self {
            Self::PerSecond => scaled(value, &[(1e9, " G"), (1e6, " M"), (1e3, " k"), (1.0, "")]),
            Self::Nanoseconds => {
                scaled(value, &[(1e9, " s"), (1e6, " ms"), (1e3, " µs"), (1.0, " ns")])
            }
            Self::Bytes => scaled(
                value,
                &[(1_073_741_824.0, " GiB"), (1_048_576.0, " MiB"), (1024.0, " KiB"), (1.0, " B")],
            ),
            Self::Share => format!("{:.2} %", value * 100.0),
        }
    }
}

fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let fits = units.iter().find(|(scale, _)| value >= *scale);
    let Some((scale, name)) = fits.or(units.last()) else {
        return value.to_string();
    };
    let scaled = value / scale;
    let digits = if scaled >= 99.95 { 0 } else { usize::from(scaled < 9.995) + 1 };
    format!("{scaled:.digits$}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits_and_a_unit() {
        assert_eq!(Unit::PerSecond.format(12_345_678.0), "12.3 M");
        assert_eq!(Unit::PerSecond.format(999.0), "999");
        assert_eq!(Unit::Nanoseconds.format(81.4), "81.4 ns");
        assert_eq!(Unit::Nanoseconds.format(0.5), "0.50 ns");
        assert_eq!(Unit::Bytes.format(1_048_576.0), "1.00 MiB");
        assert_eq!(Unit::Share.format(0.125), "12.50 %");
    }
}
