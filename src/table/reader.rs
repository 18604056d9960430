//! What a reading process holds.

use std::cell::Cell;
use std::marker::PhantomData;

use super::Table;
use super::entry::Entry;
use super::info::TableInfo;
use super::key::{Key, Place};
use super::memory::{self, TableMemory, View};
use crate::cells::read::{Found, Seen};
use crate::cells::{Cells, Fault};
use crate::error::{Error, TableError};
use crate::frame::{Frame, Raw};
use crate::options::Wait;
use crate::shm::alarm;
use crate::shm::mapping::Access;
use crate::shm::segment::Segment;

impl Table {
    /// Attaches a reader.
    pub fn reader(&self) -> ReaderOptions<'_> {
        ReaderOptions { table: self, wait: Wait::Adaptive }
    }
}

/// How a reader attaches: from [`Table::reader`].
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing until `attach`"]
pub struct ReaderOptions<'a> {
    table: &'a Table,
    wait: Wait,
}

impl ReaderOptions<'_> {
    /// How to wait for changes; adaptive by default.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Attaches. A reader takes no seat, and there can be any number.
    ///
    /// Cost: a dozen system calls.
    ///
    /// # Errors
    /// [`Error::Permission`] for who may not read, [`Error::Untrusted`], [`Error::NotFound`].
    pub fn attach(self) -> Result<TableReader<Raw>, Error> {
        TableReader::new(self)
    }

    /// Attaches, for values of type `T`.
    ///
    /// # Errors
    /// [`Error::SchemaMismatch`] naming both types when the table carries another;
    /// [`Error::BadGeometry`] when `T` is not of its values' size; as [`attach`](Self::attach) otherwise.
    pub fn attach_typed<T: Frame>(self) -> Result<TableReader<T>, Error> {
        self.table.check_type::<T>()?;
        TableReader::new(self)
    }
}

/// One attached reader of a table.
///
/// It can be sent to another thread, not shared by two. It stores nothing but that it waits, so nobody
/// is ever held up by it, whatever becomes of it; and it waits for no writer: a read is repeated only if
/// one writer finishes several writes of the very key while the value is copied.
///
/// # Examples
/// ```
/// use busway::Marks;
/// use std::time::Duration;
///
/// # let name = format!("doc-table-reader-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the table whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Table::remove(self.0); } }
/// # let _guard = Guard(&name);
/// # let table = busway::Table::options().create(&name)?;
/// # let mut writer = table.writer().attach()?;
/// let mut reader = table.reader().attach()?;
/// let mut marks = Marks::default();
/// writer.set_bytes(1, b"one")?;
/// writer.set_bytes(2, b"two")?;
/// let mut keys = Vec::new();
/// reader.changed_since(&mut marks, |entry| keys.push(entry.key()))?;
/// assert_eq!(keys.len(), 2);
/// // Nothing has changed since:
/// assert!(!reader.wait_any(&marks, Some(Duration::from_millis(1)))?);
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Debug)]
pub struct TableReader<T = Raw> {
    pub(super) cells: Cells<TableMemory>,
    pub(super) info: TableInfo,
    pub(super) wait: Wait,
    /// Whether it may say that it waits; else it looks again and again.
    pub(super) can_park: bool,
    pid: u32,
    /// Words of a value.
    buffer: Vec<u64>,
    pub(super) segment: Segment,
    _values: PhantomData<fn() -> T>,
    /// Not `Sync`: one thread at a time.
    _one_thread: PhantomData<Cell<()>>,
}

/// Which version of each key somebody has seen: the start of the next
/// [`changed_since`](TableReader::changed_since). The default has seen none.
///
/// Versions are counted key by key, and there is no order between keys: a counter for all would be
/// a line that all writers share. So what has changed is found by looking at each cell, one cache line
/// each; cells are at most four times as many as keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// By cell. Shorter than the cells: the rest is not seen.
    pub(super) versions: Vec<u64>,
}

impl Marks {
    /// Which version of a cell's key was seen.
    #[inline]
    pub(super) fn version(&self, cell: u32) -> u64 {
        let index = usize::try_from(cell).unwrap_or(usize::MAX);
        self.versions.get(index).copied().unwrap_or(0)
    }

    /// This version of a cell's key was seen.
    pub(super) fn note(&mut self, cell: u32, version: u64) {
        let index = usize::try_from(cell).unwrap_or(usize::MAX);
        if let Some(mark) = self.versions.get_mut(index) {
            *mark = version;
        }
    }
}

impl<T> TableReader<T> {
    fn new(options: ReaderOptions<'_>) -> Result<Self, Error> {
        let table = &options.table.inner;
        alarm::watch_forks();
        // To say that it waits takes the right to write.
        let (segment, view) = match table.segment.reopen(Access::ReadWrite) {
            Err(Error::Permission { .. }) => {
                (table.segment.reopen(Access::Read)?, View::ReaderOnly)
            }
            segment => (segment?, View::Reader),
        };
        segment.check_owner()?;
        Ok(Self {
            cells: memory::cells(&segment, &table.header, view)?,
            info: table.info.clone(),
            wait: options.wait,
            can_park: view == View::Reader,
            pid: std::process::id(),
            buffer: buffer(&table.info),
            segment,
            _values: PhantomData,
            _one_thread: PhantomData,
        })
    }

    /// The latest value of a key; `None` when there is none.
    ///
    /// # Errors
    /// [`TableError::WrongKey`], [`TableError::BadKey`]; [`TableError::Corrupt`] when the segment holds
    /// what nobody honest stores; [`TableError::Truncated`].
    #[inline]
    pub fn get<'k>(&mut self, key: impl Into<Key<'k>>) -> Result<Option<Entry<'_>>, TableError> {
        let cell = self.find(key.into())?;
        cell.map_or(Ok(None), |cell| self.entry(cell))
    }

    /// The same, also when the value was taken away ([`Entry::is_removed`]); `None` when the key was
    /// never written.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn latest<'k>(&mut self, key: impl Into<Key<'k>>) -> Result<Option<Entry<'_>>, TableError> {
        let cell = self.find(key.into())?;
        cell.map_or(Ok(None), |cell| self.any_entry(cell))
    }

    /// The latest value where its key was found before.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`TableError::WrongKey`] for a place in another table.
    #[inline]
    pub fn get_at(&mut self, place: Place) -> Result<Option<Entry<'_>>, TableError> {
        self.check()?;
        self.check_place(place)?;
        self.entry(place.cell)
    }

    /// The version of a key; 0 when it was never written. A removal is a version as well.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[inline]
    pub fn version<'k>(&self, key: impl Into<Key<'k>>) -> Result<u64, TableError> {
        match self.find(key.into())? {
            Some(cell) => self.version_of(cell),
            None => Ok(0),
        }
    }

    /// The version of a key that was found before: one load.
    ///
    /// # Errors
    /// As [`get_at`](Self::get_at).
    #[inline]
    pub fn version_at(&self, place: Place) -> Result<u64, TableError> {
        self.check()?;
        self.check_place(place)?;
        self.version_of(place.cell)
    }

    /// Where a key is; `None` when it was never written. Keys never move, so it need be asked once.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn place<'k>(&self, key: impl Into<Key<'k>>) -> Result<Option<Place>, TableError> {
        let key = key.into();
        let Some(cell) = self.find(key)? else {
            return Ok(None);
        };
        let key = key.words(self.info.key_kind)?;
        Ok(Some(Place { cell, key, instance: self.info.instance }))
    }

    /// Calls `read` with each key that has another version than `marks` say, and moves the marks.
    /// Returns how many there were. A key that was removed comes with no value
    /// ([`Entry::is_removed`]).
    ///
    /// Each key comes with its latest value; versions in between are not seen. A change that is
    /// finished before the call is never missed, one made meanwhile comes now or the next time. Cost: a
    /// cache line per cell, and two more for each that has changed.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn changed_since(
        &mut self,
        marks: &mut Marks,
        mut read: impl FnMut(Entry<'_>),
    ) -> Result<usize, TableError> {
        self.check()?;
        let mut changed = 0;
        marks.versions.resize(usize::try_from(self.cells.plan.cells).unwrap_or(0), 0);
        for (cell, mark) in (0..).zip(&mut marks.versions) {
            if self.version_of(cell)? == *mark {
                continue;
            }
            let seen = self.cells.read(cell, &mut self.buffer);
            if let Some(seen) = seen.map_err(|fault| self.fault(fault))? {
                *mark = seen.version;
                changed += 1;
                read(Entry { seen, words: &self.buffer, kind: self.info.key_kind });
            }
        }
        self.check()?;
        Ok(changed)
    }

    /// Calls `read` with every key that has a value. Cost: a cache line per cell, two more a key.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn for_each(&mut self, mut read: impl FnMut(Entry<'_>)) -> Result<(), TableError> {
        self.changed_since(&mut Marks::default(), |entry| {
            if !entry.is_removed() {
                read(entry);
            }
        })
        .map(|_| ())
    }

    /// What the table is.
    #[must_use]
    pub fn info(&self) -> &TableInfo {
        &self.info
    }

    #[inline]
    pub(super) fn find(&self, key: Key<'_>) -> Result<Option<u32>, TableError> {
        self.check()?;
        let key = key.words(self.info.key_kind)?;
        match self.cells.find(&key).map_err(|fault| self.fault(fault))? {
            Found::At(cell, _) => Ok(Some(cell)),
            Found::Absent(_) | Found::NoCell => Ok(None),
        }
    }

    #[inline]
    pub(super) fn version_of(&self, cell: u32) -> Result<u64, TableError> {
        Ok(self.cells.load(cell).map_err(|fault| self.fault(fault))?.version())
    }

    #[inline]
    fn entry(&mut self, cell: u32) -> Result<Option<Entry<'_>>, TableError> {
        Ok(self.any_entry(cell)?.filter(|entry| !entry.is_removed()))
    }

    #[inline]
    fn any_entry(&mut self, cell: u32) -> Result<Option<Entry<'_>>, TableError> {
        let seen = self.cells.read(cell, &mut self.buffer).map_err(|fault| self.fault(fault))?;
        self.check()?;
        let (words, kind) = (&self.buffer, self.info.key_kind);
        Ok(seen.map(|seen| Entry { seen, words, kind }))
    }

    /// Copies what a cell holds; `None`: nothing yet.
    pub(super) fn copy(&mut self, cell: u32) -> Result<Option<Seen>, TableError> {
        let seen = self.cells.read(cell, &mut self.buffer).map_err(|fault| self.fault(fault))?;
        self.check()?;
        Ok(seen)
    }

    /// What was copied last.
    #[inline]
    pub(super) fn copied(&self, seen: Seen) -> Entry<'_> {
        Entry { seen, words: &self.buffer, kind: self.info.key_kind }
    }

    #[inline]
    fn check_place(&self, place: Place) -> Result<(), TableError> {
        if place.instance == self.info.instance {
            Ok(())
        } else {
            Err(TableError::WrongKey { want: self.info.key_kind.name() })
        }
    }

    /// Whether the memory is still there and this process's.
    #[inline]
    pub(super) fn check(&self) -> Result<(), TableError> {
        if alarm::is_raised() { self.check_alarm() } else { Ok(()) }
    }

    #[cold]
    fn check_alarm(&self) -> Result<(), TableError> {
        if std::process::id() != self.pid {
            return Err(TableError::Forked);
        }
        if self.cells.memory.health.is_broken() {
            return Err(TableError::Truncated);
        }
        Ok(())
    }

    #[cold]
    fn fault(&self, fault: Fault) -> TableError {
        // What reads as nonsense because it was cut off is not somebody's store.
        if let Err(error) = self.check() {
            return error;
        }
        if fault == Fault::Corrupt && self.can_park {
            self.cells.memory.note_corruption();
        }
        self.info.error_of(fault)
    }
}

impl<T: Frame> TableReader<T> {
    /// The latest value of a key, as its type; `None` when there is none.
    ///
    /// # Errors
    /// [`TableError::WrongLength`] when a writer without types has left a value of another length; as
    /// [`get`](Self::get) otherwise.
    #[inline]
    pub fn value<'k>(&mut self, key: impl Into<Key<'k>>) -> Result<Option<T>, TableError> {
        self.get(key)?.map(|entry| entry.value()).transpose()
    }

    /// The latest value where its key was found before, as its type.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    #[inline]
    pub fn value_at(&mut self, place: Place) -> Result<Option<T>, TableError> {
        self.get_at(place)?.map(|entry| entry.value()).transpose()
    }
}

/// A buffer for one value.
pub(super) fn buffer(info: &TableInfo) -> Vec<u64> {
    vec![0; usize::try_from(info.value_bytes.div_ceil(8)).unwrap_or(0)]
}
