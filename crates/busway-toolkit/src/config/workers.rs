//! Workers in a file: a number, or limits.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::duration;
use crate::scale::Workers;

/// The table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    min: u32,
    max: u32,
    #[serde(default = "grow_after", deserialize_with = "duration::read")]
    grow_after: Duration,
    #[serde(default = "idle_after", deserialize_with = "duration::read")]
    idle_after: Duration,
}

fn grow_after() -> Duration {
    Workers::default().grow_after
}

fn idle_after() -> Duration {
    Workers::default().idle_after
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Workers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of workers, or a table with `min` and `max`")
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Workers, E> {
        let count = u32::try_from(count);
        count.map(Workers::fixed).map_err(|_| E::custom("too many workers; allowed: 0 to 1024"))
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Workers, E> {
        let count = u64::try_from(count);
        self.visit_u64(count.map_err(|_| E::custom("fewer than no workers; allowed: 0 to 1024"))?)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Workers, A::Error> {
        let Table { min, max, grow_after, idle_after } =
            Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Workers { min, max, grow_after, idle_after })
    }
}

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}
