//! The door of the fuzz targets to what is private: the parsers of everything that people type.
//!
//! Built only with `--cfg fuzzing`, which cargo-fuzz sets. Nothing is executed, opened or printed.

use crate::cli::Cli;
use crate::verbs::input::{Input, StdinFormat};
use crate::{handover, units};
use busway::Schema;
use clap::{Command, CommandFactory as _, FromArgMatches as _};
use std::ffi::OsString;
use std::sync::LazyLock;

static COMMAND: LazyLock<Command> =
    LazyLock::new(|| crate::negative_numbers_are_values(Cli::command()));

/// Reads a command line, the program's name first. The message of one that is wrong, or the help
/// that it asks for.
///
/// # Errors
/// That text.
pub fn parse(arguments: &[OsString]) -> Result<(), String> {
    let rest = arguments.get(1..).unwrap_or_default();
    let _word = handover::meant_for_systemd(rest);
    let _color = crate::clap_color(arguments);
    let matches = COMMAND.clone().try_get_matches_from(arguments);
    match matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches)) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.render().to_string()),
    }
}

/// Reads one value in every way that a flag reads values, and checks what must hold of it.
///
/// # Panics
/// When a value that was accepted is not what the parser's documentation promises.
pub fn value(text: &str) {
    if let Ok(size) = units::parse_size(text) {
        let narrow = units::parse_size_u32(text).ok();
        assert_eq!(narrow, u32::try_from(size).ok());
        assert_eq!(units::parse_size(&size.to_string()), Ok(size));
    }
    if let Ok(count) = units::parse_count(text) {
        assert_eq!(units::parse_count_from_one(text).is_ok(), count > 0);
        assert_eq!(units::parse_count(&count.to_string()), Ok(count));
    }
    if let Ok(number) = units::in_range::<u16>(3, 500)(text) {
        assert!((3..=500).contains(&number));
    }
    if let Ok(units::Rate::Hz(hz)) = units::parse_rate(text) {
        assert!(hz.is_finite() && hz > 0.0);
    }
    if let Ok(interval) = units::parse_interval(text) {
        assert!(!interval.is_zero());
        // A deadline that far away must exist.
        assert!(std::time::Instant::now().checked_add(interval).is_some());
    }
    let _processor = units::parse_processor(text);
    let _mode = text.parse::<busd::api::FileMode>();
    let _group = text.parse::<busd::api::GroupName>();
}

/// Writes numbers in every way that a table shows them.
#[must_use]
pub fn formats(number: u64, fraction: f64) -> [String; 7] {
    [
        units::format_bytes(number),
        units::format_count(number),
        units::format_frames(number),
        units::format_ns(number),
        units::format_unix_ns(number),
        units::format_byte_rate(fraction),
        units::format_rate(fraction),
    ]
}

/// Reads a line that `pub --stdin` was given: in hexadecimal, or as JSON by a schema.
///
/// # Errors
/// The message, for a line that is refused.
pub fn frame_line(schema: Option<&Schema>, hex: bool, line: &str) -> Result<Vec<u8>, String> {
    let format = if hex { StdinFormat::Hex } else { StdinFormat::Jsonl };
    let decoded = Input::decode(format, schema.cloned(), line);
    decoded.map(|(_, payload)| payload).map_err(|failure| failure.message().to_owned())
}
