//! Text ↔ numbers with units: what the command line reads (`4k`, `500ms`, `max`) and what its
//! tables show.
//!
//! Two families of suffixes: bytes and capacities are powers of two (`k` = 1024), counts and rates
//! are decimal (`k` = 1000). JSON output never goes through here: it carries raw integers.

#![allow(clippy::cast_precision_loss, reason = "figures for people have three digits")]

use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::str::FromStr;
use std::time::Duration;

/// The longest duration that is accepted: beyond it, deadlines would leave the clock's range.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Frames a second that `--rate` accepts.
const RATE_MAX_HZ: f64 = 1e9;

/// How fast `pub` publishes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Without a pause.
    Max,
    /// So many frames a second.
    Hz(f64),
}

/// Reads one of the library's choices by name; help and completions list the names.
pub fn choice<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = busway::Error> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// Reads a size: `64`, `4k`, `1M`, `1G`, in powers of 1024.
pub fn parse_size(text: &str) -> Result<u64, String> {
    parse_scaled(text, 1024)
        .ok_or_else(|| format!("{text:?} is not a size; write a whole number such as 64, 4k or 1M"))
}

/// Reads a size that has to fit 32 bits.
pub fn parse_size_u32(text: &str) -> Result<u32, String> {
    let size = parse_size(text)?;
    u32::try_from(size).map_err(|_| format!("{text} is out of range; allowed: 0 to {}", u32::MAX))
}

/// Reads a count: `10`, `5k`, `2M`, in powers of 1000.
pub fn parse_count(text: &str) -> Result<u64, String> {
    parse_scaled(text, 1000).ok_or_else(|| {
        format!("{text:?} is not a count; write a whole number such as 10, 5k or 2M")
    })
}

/// Reads a count of at least one.
pub fn parse_count_from_one(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        0 => Err(String::from("0 is out of range; allowed: 1 or more")),
        count => Ok(count),
    }
}

/// Reads a whole number from `least` to `most`.
pub fn in_range<T: TryFrom<u64>>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse::<u64>().ok().filter(|number| (least..=most).contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("{text} is out of range; allowed: {least} to {most}"))
    }
}

/// Reads the number of a processor.
pub fn parse_processor(text: &str) -> Result<usize, String> {
    let problem = || format!("{text:?} is not a processor; write their numbers, such as 0,1");
    text.parse().map_err(|_| problem())
}

/// Reads a duration: `500ms`, `2s`, `1m`, `1h 30m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => Err(format!("{text:?} is out of range; allowed: 0s to 366days")),
        Err(_) => Err(format!("{text:?} is not a duration; write 500ms, 2s or 1m")),
    }
}

/// Reads a duration that is not zero: an interval.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err(format!("{text:?} is out of range; allowed: 1ms and more")),
        interval => Ok(interval),
    }
}

/// Reads a rate: `max`, or frames a second such as `100`, `0.5` or `10k`.
pub fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let (number, scale) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |number| (number, 1e6)),
    };
    match number.parse::<f64>() {
        Ok(hz) if hz * scale > 0.0 && hz * scale <= RATE_MAX_HZ => Ok(Rate::Hz(hz * scale)),
        _ => Err(format!(
            "{text:?} is not a rate; allowed: max, or frames a second above 0 and up to 1000M"
        )),
    }
}

fn parse_scaled(text: &str, base: u64) -> Option<u64> {
    let (digits, power) = match text.chars().last()? {
        'k' | 'K' => (text.strip_suffix(['k', 'K'])?, 1),
        'M' => (text.strip_suffix('M')?, 2),
        'G' => (text.strip_suffix('G')?, 3),
        _ => (text, 0),
    };
    // `u64::from_str` takes a plus sign; a size has none.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(base.checked_pow(power)?)
}

/// `1536` → `1.5 KiB`.
pub fn format_bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// `1536.4` → `1.50 KiB/s`.
pub fn format_byte_rate(bytes_per_s: f64) -> String {
    scaled(bytes_per_s, 1024.0, &["B/s", "KiB/s", "MiB/s", "GiB/s", "TiB/s"])
}

/// `1234567.0` → `1.23 M`, for counts a second.
pub fn format_rate(per_second: f64) -> String {
    scaled(per_second, 1000.0, &["", "k", "M", "G"]).trim_end().to_owned()
}

/// `1234567` → `1,234,567`.
pub fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 frame`, `1,234 frames`.
pub fn format_frames(count: u64) -> String {
    format!("{} frame{}", format_count(count), if count == 1 { "" } else { "s" })
}

/// Nanoseconds as a duration that fits a table: `1.50 ms`, `104.2 ms`.
pub fn format_ns(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    if value < 100.0 { format!("{value:.2} {unit}") } else { format!("{value:.1} {unit}") }
}

/// A number of nanoseconds since 1970 as `2026-01-31T12:00:00Z`.
pub fn format_unix_ns(unix_ns: u64) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(unix_ns / 1_000_000_000);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// How long ago that was, in at most two units: `2h 5m`.
pub fn format_age(unix_ns: u64) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let seconds = now.saturating_sub(unix_ns / 1_000_000_000);
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m {s}s"),
        (0, h, m, _) => format!("{h}h {m}m"),
        (d, h, _, _) => format!("{d}d {h}h"),
    }
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut index = 0;
    while value >= base && index + 1 < units.len() {
        value /= base;
        index += 1;
    }
    let unit = units[index];
    if index == 0 && value.fract() == 0.0 {
        format!("{value:.0} {unit}")
    } else if value < 10.0 {
        format!("{value:.2} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_counts_decimal() {
        assert_eq!(parse_size("64"), Ok(64));
        assert_eq!(parse_size("4k"), Ok(4096));
        assert_eq!(parse_size("1M"), Ok(1 << 20));
        assert_eq!(parse_count("4k"), Ok(4000));
    }

    #[test]
    fn what_is_no_number_is_refused_by_value() {
        for text in
            ["", "k", "-1", "+1", "1.5", "4kb", "99999999999999999999", "18446744073709551615G"]
        {
            let error = parse_size(text).expect_err(text);
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_number_out_of_range_is_told_the_range() {
        let parse = in_range::<u16>(1, 256);
        assert_eq!(parse("256"), Ok(256));
        for text in ["0", "257", "-1", "x", ""] {
            let error = parse(text).expect_err(text);
            assert_eq!(error, format!("{text} is out of range; allowed: 1 to 256"));
        }
        assert!(parse_processor("x").unwrap_err().contains("\"x\" is not a processor"));
    }

    #[test]
    fn durations_need_a_unit_and_have_a_bound() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1m"), Ok(Duration::from_secs(60)));
        assert!(parse_duration("5").is_err());
        assert!(parse_duration("-1s").is_err());
        assert!(parse_duration("9999years").unwrap_err().contains("366days"));
        assert!(parse_interval("0s").is_err());
    }

    #[test]
    fn rates_are_positive_or_max() {
        assert_eq!(parse_rate("max"), Ok(Rate::Max));
        assert_eq!(parse_rate("10k"), Ok(Rate::Hz(10_000.0)));
        assert_eq!(parse_rate("0.5"), Ok(Rate::Hz(0.5)));
        for text in ["0", "-1", "nan", "inf", "fast", "2000M"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(format_bytes(48), "48 B");
        assert_eq!(format_bytes(1536), "1.50 KiB");
        assert_eq!(format_count(1_234_567), "1,234,567");
        assert_eq!(format_count(12), "12");
        assert_eq!(format_rate(1_234_567.0), "1.23 M");
        assert_eq!(format_rate(0.5), "0.50");
        assert_eq!(format_rate(0.0), "0");
        assert_eq!(format_ns(1_500_000), "1.50 ms");
        assert_eq!(format_ns(999_900_000), "999.9 ms", "eight columns, however long");
        assert_eq!(format_unix_ns(0), "1970-01-01T00:00:00Z");
    }
}
