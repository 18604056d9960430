//! Times as people write them.

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, ZonedDateTime};

/// When something shall happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At a time of the wall clock.
    At(SystemTime),
    /// After a while.
    After(Duration),
}

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeTextError {
    text: String,
    reason: &'static str,
}

/// Reads a time. `now` says what today is, and in which time zone.
///
/// | text | means |
/// |---|---|
/// | `2026-12-01T10:30:00Z`, `2026-12-01 10:30:00.25+01:00` | that moment (RFC 3339) |
/// | `2026-12-01T10:30[Europe/Berlin]` | when the clocks there show it |
/// | `2026-12-01T10:30`, `2026-12-01 10:30`, `2026-12-01` | in the time zone of `now` |
/// | `10:30`, `10:30:15` | the next time that the clock shows it: today, else tomorrow |
/// | `now` | at once |
/// | `+5s`, `+1h 30m` | so much later, whatever the clock is set to |
///
/// # Errors
/// When the text is none of these, or lies outside of what a clock can show.
///
/// # Examples
/// ```
/// use busway_schedule::{When, parse_time};
/// use std::time::{Duration, SystemTime};
///
/// let now: jiff::ZonedDateTime = "2026-11-30T09:00[UTC]".parse()?;
/// let ten = SystemTime::try_from("2026-11-30T10:00:00Z".parse::<jiff::Timestamp>()?)?;
/// assert_eq!(parse_time("10:00", &now)?, When::At(ten));
/// assert_eq!(parse_time("2026-11-30T11:00:00+01:00", &now)?, When::At(ten));
/// assert_eq!(parse_time("+5s", &now)?, When::After(Duration::from_secs(5)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parse_time(text: &str, now: &ZonedDateTime) -> Result<When, TimeTextError> {
    let text = text.trim();
    let wrong = |reason| TimeTextError { text: text.to_owned(), reason };
    let outside = || wrong("is outside of what a clock can show");
    if let Some(rest) = text.strip_prefix('+') {
        let delay = humantime::parse_duration(rest);
        return delay.map(When::After).map_err(|_| wrong("is no duration after its plus sign"));
    }
    let moment = if text == "now" {
        now.timestamp()
    } else if let Ok(moment) = text.parse::<Timestamp>() {
        moment
    } else if let Ok(zoned) = text.parse::<ZonedDateTime>() {
        zoned.timestamp()
    } else if let Ok(local) = text.parse::<DateTime>() {
        let zoned = local.to_zoned_datetime(now.time_zone().clone());
        zoned.map_err(|_| outside())?.timestamp()
    } else if let Ok(time) = text.parse::<Time>() {
        next(time, now).ok_or_else(outside)?
    } else {
        return Err(wrong("is not a time"));
    };
    moment.try_into().map(When::At).map_err(|_| outside())
}

/// The next moment at which the clock shows this time. (At a change to summer time, what is skipped
/// counts as an hour later.)
fn next(time: Time, now: &ZonedDateTime) -> Option<Timestamp> {
    let on =
        |date: jiff::civil::Date| date.to_datetime(time).to_zoned_datetime(now.time_zone().clone());
    let today = on(now.date()).ok()?.timestamp();
    if today >= now.timestamp() {
        return Some(today);
    }
    Some(on(now.date().tomorrow().ok()?).ok()?.timestamp())
}

impl fmt::Display for TimeTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, reason } = self;
        write!(
            f,
            "{text:?} {reason}; write 10:30, 2026-12-01 10:30, 2026-12-01T10:30:00Z, +5s or now"
        )
    }
}

impl std::error::Error for TimeTextError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> ZonedDateTime {
        "2026-11-30T09:30:00+01:00[+01:00]".parse().unwrap()
    }

    fn at(text: &str) -> When {
        When::At(text.parse::<Timestamp>().unwrap().try_into().unwrap())
    }

    #[test]
    fn times_of_day_are_the_next_ones() {
        for (text, moment) in [
            ("10:30", "2026-11-30T09:30:00Z"),
            ("09:30", "2026-11-30T08:30:00Z"),
            ("09:29:59", "2026-12-01T08:29:59Z"),
            ("2026-12-01 10:30", "2026-12-01T09:30:00Z"),
            ("2026-12-01T10:30:00.25", "2026-12-01T09:30:00.25Z"),
            ("2026-12-01", "2026-11-30T23:00:00Z"),
            ("2026-12-01T10:30:00Z", "2026-12-01T10:30:00Z"),
            ("2026-12-01 10:30:00-05:00", "2026-12-01T15:30:00Z"),
            ("2026-12-01T10:30-05:00[-05:00]", "2026-12-01T15:30:00Z"),
            (" now ", "2026-11-30T08:30:00Z"),
            ("1969-12-31T23:00:00Z", "1969-12-31T23:00:00Z"),
        ] {
            assert_eq!(parse_time(text, &now()), Ok(at(moment)), "{text}");
        }
        assert_eq!(parse_time("+1m 30s", &now()), Ok(When::After(Duration::from_secs(90))));
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is_one() {
        for text in [
            "",
            "soon",
            "25:00",
            "10:61",
            "+",
            "+5",
            "+fast",
            "-5s",
            "2026-13-01",
            "2026-02-30 10:00",
        ] {
            let error = parse_time(text, &now()).expect_err(text).to_string();
            assert!(error.starts_with(&format!("{text:?} ")), "{error}");
            assert!(error.contains("write 10:30"), "{error}");
        }
    }
}
