//! A value as it was read: borrowed from the reader's copy, or owned.

use zerocopy::IntoBytes;

use super::key::OwnedKey;
use crate::cells::read::Seen;
use crate::error::TableError;
use crate::frame::Frame;
use crate::layout::table::words::seat_and_epoch;
use crate::options::KeyKind;

/// The value of a key, copied whole, and who wrote it when.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub(super) seen: Seen,
    pub(super) words: &'a [u64],
    pub(super) kind: KeyKind,
}

impl<'a> Entry<'a> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> OwnedKey {
        OwnedKey::of(self.seen.key, self.kind)
    }

    /// How often the key was written, this value included.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.seen.version
    }

    /// The value.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        value(&self.seen, self.words).unwrap_or_default()
    }

    /// The value as a type.
    ///
    /// # Errors
    /// [`TableError::WrongLength`] when it is not of the type's size.
    #[inline]
    pub fn value<T: Frame>(&self) -> Result<T, TableError> {
        typed(self.bytes())
    }

    /// Whether the value was taken away: there are no bytes.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.seen.meta.removed
    }

    /// When it was written, on the clock of [`Table::now_ns`](crate::Table::now_ns); 0 on a table without
    /// times.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.seen.time_ns
    }

    /// The seat of the writer that wrote it, and the seat's epoch: which of its holders that was.
    #[must_use]
    pub fn writer(&self) -> (u32, u64) {
        seat_and_epoch(self.seen.writer)
    }

    /// The process that wrote it, as it saw itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.seen.meta.pid
    }

    /// A copy that outlives the borrow.
    #[must_use]
    pub fn to_owned(&self) -> OwnedEntry {
        OwnedEntry {
            key: self.key(),
            value: value(&self.seen, self.words).map(Into::into),
            seen: self.seen,
        }
    }
}

/// The value of a key, owned: from [`Entry::to_owned`].
#[derive(Clone, Debug)]
pub struct OwnedEntry {
    key: OwnedKey,
    /// `None`: it was taken away.
    value: Option<Box<[u8]>>,
    seen: Seen,
}

impl OwnedEntry {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &OwnedKey {
        &self.key
    }

    /// How often the key was written, this value included.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.seen.version
    }

    /// The value.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    /// The value as a type.
    ///
    /// # Errors
    /// As [`Entry::value`].
    pub fn value<T: Frame>(&self) -> Result<T, TableError> {
        typed(self.bytes())
    }

    /// Whether the value was taken away; see [`Entry::is_removed`].
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.value.is_none()
    }

    /// When it was written; see [`Entry::time_ns`].
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.seen.time_ns
    }

    /// Who wrote it; see [`Entry::writer`].
    #[must_use]
    pub fn writer(&self) -> (u32, u64) {
        seat_and_epoch(self.seen.writer)
    }

    /// The process that wrote it, as it saw itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.seen.meta.pid
    }
}

fn typed<T: Frame>(bytes: &[u8]) -> Result<T, TableError> {
    T::read_from_bytes(bytes)
        .map_err(|_| TableError::WrongLength { len: bytes.len(), want: size_of::<T>() })
}

/// The bytes of a value that was copied; `None` when it was taken away.
#[inline]
pub(super) fn value<'a>(seen: &Seen, words: &'a [u64]) -> Option<&'a [u8]> {
    let len = usize::try_from(seen.meta.len).unwrap_or(0);
    (!seen.meta.removed).then(|| words.as_bytes().get(..len).unwrap_or_default())
}
