//! Keys as users give and get them.

use std::fmt;

use crate::cells::key::KeyWords;
use crate::error::TableError;
use crate::options::KeyKind;

/// A key of a table, given: a number, or a text of 1 to 32 bytes without NUL.
///
/// # Examples
/// ```
/// use busway::Key;
///
/// assert_eq!(Key::from(7), Key::U64(7));
/// assert_eq!(Key::from("motor/rpm"), Key::Text("motor/rpm"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// A number.
    U64(u64),
    /// A text.
    Text(&'a str),
}

impl From<u64> for Key<'_> {
    fn from(number: u64) -> Self {
        Self::U64(number)
    }
}

impl<'a> From<&'a str> for Key<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Key<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a OwnedKey> for Key<'a> {
    fn from(key: &'a OwnedKey) -> Self {
        match key {
            OwnedKey::U64(number) => Self::U64(*number),
            OwnedKey::Text(text) => Self::Text(text),
        }
    }
}

impl Key<'_> {
    /// The key as slots of a table with this kind of keys hold it.
    #[inline]
    pub(super) fn words(self, kind: KeyKind) -> Result<KeyWords, TableError> {
        match (self, kind) {
            (Self::U64(number), KeyKind::U64) => Ok(KeyWords::number(number)),
            (Self::Text(text), KeyKind::Text) => KeyWords::text(text).ok_or(TableError::BadKey),
            _ => Err(TableError::WrongKey { want: kind.name() }),
        }
    }
}

/// A key as it stands in a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnedKey {
    /// A number.
    U64(u64),
    /// A text.
    Text(String),
}

impl OwnedKey {
    pub(super) fn of(words: KeyWords, kind: KeyKind) -> Self {
        match kind {
            KeyKind::U64 => Self::U64(words.0[0]),
            KeyKind::Text => Self::Text(words.to_text()),
        }
    }
}

impl From<u64> for OwnedKey {
    fn from(number: u64) -> Self {
        Self::U64(number)
    }
}

impl From<Key<'_>> for OwnedKey {
    fn from(key: Key<'_>) -> Self {
        match key {
            Key::U64(number) => Self::U64(number),
            Key::Text(text) => Self::Text(text.to_owned()),
        }
    }
}

impl fmt::Display for OwnedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U64(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Where a key is, found once: a key that has its cell keeps it as long as the table lives, so
/// writing and reading need not look for it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) cell: u32,
    pub(super) key: KeyWords,
    /// The table that it was found in.
    pub(super) instance: u64,
}
