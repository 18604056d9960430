//! What `check` measures, and the limits that it is held to: `CRIT`, or `WARN:CRIT`.

use crate::units::{Rate, parse_count, parse_interval, parse_rate};
use crate::units::{format_frames, format_ns, format_rate};
use serde::{Serialize, Serializer};

/// How bad something is; the worst of all is the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Within its limits, or without any.
    Ok,
    /// Beyond the first of two limits.
    Warning,
    /// Beyond the limit, or not as a healthy bus is.
    Critical,
}

impl State {
    /// The state in one lower-case word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A measured value or a limit of one.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Amount {
    /// So many frames: more is worse.
    Frames(u64),
    /// So many nanoseconds: more is worse.
    Age(u64),
    /// So many frames a second: less is worse.
    Rate(f64),
}

impl Amount {
    /// For people.
    pub fn text(self) -> String {
        match self {
            Self::Frames(frames) => format_frames(frames),
            Self::Age(ns) => format_ns(ns),
            Self::Rate(hz) => format!("{} frames/s", format_rate(hz)),
        }
    }

    /// What the number in JSON counts.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Frames(_) => "frames",
            Self::Age(_) => "ns",
            Self::Rate(_) => "frames/s",
        }
    }

    /// As a value of performance data, with its unit.
    pub fn measured(self) -> String {
        match self {
            Self::Age(_) => format!("{}s", self.bare()),
            Self::Frames(_) | Self::Rate(_) => self.bare(),
        }
    }

    /// As a range of performance data: outside of it there is an alert.
    pub fn range(self) -> String {
        match self {
            Self::Rate(_) => format!("{}:", self.bare()),
            Self::Frames(_) | Self::Age(_) => self.bare(),
        }
    }

    /// The number in the unit of performance data.
    fn bare(self) -> String {
        match self {
            Self::Frames(frames) => frames.to_string(),
            // In whole nanoseconds, and exact: no float between the two.
            Self::Age(ns) => format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000),
            Self::Rate(hz) => format!("{hz:.3}"),
        }
    }

    /// Whether this is beyond `limit`, in the direction that is worse.
    fn is_beyond(self, limit: Self) -> bool {
        match self {
            Self::Frames(_) | Self::Age(_) => self > limit,
            Self::Rate(_) => self < limit,
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Frames(number) | Self::Age(number) => serializer.serialize_u64(number),
            Self::Rate(hz) => serializer.serialize_f64(hz),
        }
    }
}

/// From where on a value is worth a warning, and from where on it is critical.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Beyond it: a warning.
    pub warning: Option<Amount>,
    /// Beyond it: critical. Never reached before the warning.
    pub critical: Amount,
}

impl Limit {
    /// How bad this value is.
    pub fn state(&self, value: Amount) -> State {
        if value.is_beyond(self.critical) {
            State::Critical
        } else if self.warning.is_some_and(|warning| value.is_beyond(warning)) {
            State::Warning
        } else {
            State::Ok
        }
    }

    /// The limit that a value in this state is held against.
    pub fn at(&self, state: State) -> Amount {
        match state {
            State::Warning => self.warning.unwrap_or(self.critical),
            State::Ok | State::Critical => self.critical,
        }
    }
}

/// Reads a limit in frames.
pub fn parse_frames_limit(text: &str) -> Result<Limit, String> {
    parse_limit(text, |text| Ok(Amount::Frames(parse_count(text)?)))
}

/// Reads a limit of time.
pub fn parse_age_limit(text: &str) -> Result<Limit, String> {
    parse_limit(text, |text| {
        let age = parse_interval(text)?;
        Ok(Amount::Age(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)))
    })
}

/// Reads a limit in frames a second.
pub fn parse_rate_limit(text: &str) -> Result<Limit, String> {
    parse_limit(text, |text| match parse_rate(text) {
        Ok(Rate::Hz(hz)) => Ok(Amount::Rate(hz)),
        Ok(Rate::Max) | Err(_) => {
            Err(format!("{text:?} is not a rate; allowed: frames a second above 0 and up to 1000M"))
        }
    })
}

fn parse_limit(
    text: &str,
    parse: impl Fn(&str) -> Result<Amount, String>,
) -> Result<Limit, String> {
    let Some((warning, critical)) = text.split_once(':') else {
        return Ok(Limit { warning: None, critical: parse(text)? });
    };
    let (warning, critical) = (parse(warning)?, parse(critical)?);
    if warning.is_beyond(critical) {
        return Err(format!(
            "{text:?} would be critical before it is worth a warning; write WARN:CRIT"
        ));
    }
    Ok(Limit { warning: Some(warning), critical })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_the_last_value_that_is_allowed() {
        let lag = parse_frames_limit("10:1k").unwrap();
        for (frames, state) in
            [(10, State::Ok), (11, State::Warning), (1000, State::Warning), (1001, State::Critical)]
        {
            assert_eq!(lag.state(Amount::Frames(frames)), state, "{frames}");
        }
        let rate = parse_rate_limit("100:50").unwrap();
        for (hz, state) in [(100.0, State::Ok), (99.9, State::Warning), (49.9, State::Critical)] {
            assert_eq!(rate.state(Amount::Rate(hz)), state, "{hz}");
        }
        assert_eq!(parse_frames_limit("0").unwrap().state(Amount::Frames(1)), State::Critical);
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_refused_by_value() {
        for text in ["", "x", ":5", "5:", "-1", "1:2:3"] {
            assert!(parse_frames_limit(text).unwrap_err().contains("is not a count"), "{text}");
        }
        assert!(parse_frames_limit("5:4").unwrap_err().contains("\"5:4\""));
        assert!(parse_rate_limit("4:5").unwrap_err().contains("WARN:CRIT"));
        assert!(parse_rate_limit("max").unwrap_err().contains("is not a rate"));
        assert!(parse_age_limit("5").unwrap_err().contains("is not a duration"));
        assert!(parse_age_limit("0s").is_err());
    }

    #[test]
    fn performance_data_has_ranges_of_what_is_good() {
        let age = Amount::Age(1_000_000_002);
        assert_eq!((age.measured(), age.range()), ("1.000000002s".into(), "1.000000002".into()));
        assert_eq!(Amount::Rate(0.5).range(), "0.500:");
        assert_eq!(Amount::Frames(7).range(), "7");
    }
}
