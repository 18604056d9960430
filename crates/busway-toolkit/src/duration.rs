//! Durations as text: `1s 500ms`, `20us`.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};

/// Reads one.
pub(crate) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map_err(|error| {
        D::Error::custom(format!(
            "{text:?} is no duration such as \"20us\", \"5ms\", \"1s\": {error}"
        ))
    })
}

/// Reads one that may be absent.
pub(crate) fn read_some<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    read(from).map(Some)
}
