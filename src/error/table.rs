//! Why a table was not written to or read from.

use std::fmt;

/// Why an operation on a table failed. Whatever the variant, nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// The table has as many keys as it holds, and this one is none of them.
    Full {
        /// Keys that it holds.
        keys: u64,
    },
    /// The value is longer than the table's values are.
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes that fit.
        max: usize,
    },
    /// A value of a table with a schema is always whole.
    WrongLength {
        /// Bytes given, or found.
        len: usize,
        /// Bytes of every value.
        want: usize,
    },
    /// A key of the other kind than the table's: a text where keys are numbers, or the reverse.
    WrongKey {
        /// What the table's keys are: `u64` or `text`.
        want: &'static str,
    },
    /// A text that cannot be a key: empty, longer than 32 bytes, or with a NUL in it.
    BadKey,
    /// The key's version is not the expected one: somebody else wrote first.
    Conflict {
        /// The version that stands; 0 when the key was never written.
        version: u64,
    },
    /// The key was written 2^44 times, which is as often as a key can be. Use another key, or create
    /// the table anew.
    UsedUp,
    /// Other writers came first more often than any honest schedule explains.
    Contested,
    /// Every slot is held by a writer that is attached or stopped in the middle of something.
    NoSlot,
    /// The table was removed: what is written now reaches nobody who comes later.
    Removed,
    /// A shared word holds what no honest participant writes.
    Corrupt,
    /// This writer has lost its seat, which no honest participant takes away. Drop it.
    Evicted,
    /// This process is a forked child of the one that attached. Attach anew.
    Forked,
    /// Somebody cut the table's segment short. It has to be removed and created again.
    Truncated,
}

impl TableError {
    /// A stable `snake_case` name of the kind of error, for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Full { .. } => "table_full",
            Self::TooLarge { .. } => "too_large",
            Self::WrongLength { .. } => "wrong_length",
            Self::WrongKey { .. } => "wrong_key",
            Self::BadKey => "bad_key",
            Self::Conflict { .. } => "conflict",
            Self::UsedUp => "used_up",
            Self::Contested => "contested",
            Self::NoSlot => "no_slot",
            Self::Removed => "removed",
            Self::Corrupt => "corrupt",
            Self::Evicted => "evicted",
            Self::Forked => "forked",
            Self::Truncated => "truncated",
        }
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { keys } => write!(f, "table holds {keys} keys and all are taken"),
            Self::TooLarge { len, max } => {
                write!(f, "value of {len} bytes is longer than the table's {max}")
            }
            Self::WrongLength { len, want } => {
                write!(f, "value of {len} bytes; every value of this table is {want}")
            }
            Self::WrongKey { want } => write!(f, "keys of this table are of kind {want}"),
            Self::BadKey => f.write_str("a text key is 1 to 32 bytes without NUL"),
            Self::Conflict { version } => {
                write!(f, "key is at version {version}, which is not the expected one")
            }
            Self::UsedUp => f.write_str("key was written 2^44 times and takes no more"),
            Self::Contested => f.write_str("cell is being interfered with"),
            Self::NoSlot => f.write_str("no slot is free; are stopped writers attached?"),
            Self::Removed => f.write_str("table was removed"),
            Self::Corrupt => f.write_str("a word of the table is impossible"),
            Self::Evicted => f.write_str("writer has lost its seat"),
            Self::Forked => f.write_str("a forked child cannot use its parent's table"),
            Self::Truncated => f.write_str("segment of the table was cut short; remove the table"),
        }
    }
}

impl std::error::Error for TableError {}
