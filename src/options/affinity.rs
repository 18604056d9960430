//! Which frames of a consumer group have one key, and so go to the same member.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Which frames of a consumer group go to the same member: those of one key.
///
/// Spelled `off`, `kind`, `lane` and `payload:OFFSET:LEN` by the command line, in JSON and in messages.
///
/// # Examples
/// ```
/// use busway::Affinity;
///
/// let affinity: Affinity = "payload:0:8".parse()?;
/// assert_eq!(affinity, Affinity::Payload { offset: 0, len: 8 });
/// assert_eq!(affinity.to_string(), "payload:0:8");
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Affinity {
    /// None: a frame goes to whoever asks. The default.
    #[default]
    Off,
    /// The key is the frame's kind.
    Kind,
    /// The key is the lane that it was published on.
    Lane,
    /// The key is these bytes of its payload; of a payload that ends before them, those that it has.
    Payload {
        /// Where they begin.
        offset: u32,
        /// How many: 1 to 64.
        len: u32,
    },
}

impl Affinity {
    /// Bytes of a key at most.
    pub(crate) const KEY_BYTES_MAX: u32 = 64;

    /// What the header of a group says: which, where its bytes begin, and how many they are.
    pub(crate) const fn numbers(self) -> [u32; 3] {
        match self {
            Self::Off => [0, 0, 0],
            Self::Kind => [1, 0, 0],
            Self::Lane => [2, 0, 0],
            Self::Payload { offset, len } => [3, offset, len],
        }
    }

    /// The choice that those stand for, if any.
    pub(crate) const fn from_numbers(numbers: [u32; 3]) -> Option<Self> {
        match numbers {
            [0, 0, 0] => Some(Self::Off),
            [1, 0, 0] => Some(Self::Kind),
            [2, 0, 0] => Some(Self::Lane),
            [3, offset, len @ 1..=Self::KEY_BYTES_MAX] => Some(Self::Payload { offset, len }),
            _ => None,
        }
    }
}

impl std::fmt::Display for Affinity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.pad("off"),
            Self::Kind => f.pad("kind"),
            Self::Lane => f.pad("lane"),
            Self::Payload { offset, len } => f.pad(&format!("payload:{offset}:{len}")),
        }
    }
}

impl std::str::FromStr for Affinity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = |text: &str| {
            let (offset, len) = text.strip_prefix("payload:")?.split_once(':')?;
            Self::from_numbers([3, offset.parse().ok()?, len.parse().ok()?])
        };
        let named = match text {
            "off" => Some(Self::Off),
            "kind" => Some(Self::Kind),
            "lane" => Some(Self::Lane),
            text => bytes(text),
        };
        named.ok_or_else(|| Error::BadOption {
            option: "affinity",
            value: text.to_owned(),
            allowed: "off, kind, lane, payload:OFFSET:LEN with a LEN of 1 to 64".to_owned(),
        })
    }
}

impl TryFrom<String> for Affinity {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Affinity> for String {
    fn from(affinity: Affinity) -> Self {
        affinity.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_comes_back_as_it_was_spelled_and_numbered() {
        for text in ["off", "kind", "lane", "payload:0:8", "payload:4294967295:64"] {
            let affinity: Affinity = text.parse().unwrap();
            assert_eq!(affinity.to_string(), text);
            assert_eq!(Affinity::from_numbers(affinity.numbers()), Some(affinity));
        }
        for bad in
            ["", "key", "payload", "payload:1", "payload:0:0", "payload:0:65", "payload:-1:8"]
        {
            assert_eq!(bad.parse::<Affinity>().unwrap_err().code(), "bad_option", "{bad}");
        }
        assert_eq!(Affinity::from_numbers([2, 0, 1]), None);
    }
}
