//! What a writing process holds.

use std::cell::Cell;
use std::marker::PhantomData;

use super::info::TableInfo;
use super::key::{Key, Place};
use super::memory::{self, TableMemory, View};
use super::seat::{self, WriterSeat};
use super::{Table, entry, reader};
use crate::cells::Fault;
use crate::cells::bell::Bell;
use crate::cells::read::Found;
use crate::cells::write::{Entry, Writer, Written};
use crate::crash::crash_point;
use crate::error::{Error, TableError};
use crate::frame::{Frame, Raw};
use crate::layout::table::words::BELLS;
use crate::seat::process_name;
use crate::shm::alarm;
use crate::shm::mapping::Access;
use crate::shm::segment::Segment;
use crate::sync::barrier::Light;
use crate::sync::{clock, futex};

/// Tries of [`TableWriter::update`] at one key; each that fails lost to another writer's success.
const UPDATES_MAX: u32 = 1_000_000;
/// Slots looked at after a write that left the writer with fewer than it keeps.
const LOOKS: u32 = 2;

impl Table {
    /// Attaches a writer.
    pub fn writer(&self) -> WriterOptions<'_> {
        WriterOptions { table: self, name: None }
    }
}

/// How a writer attaches: from [`Table::writer`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `attach`"]
pub struct WriterOptions<'a> {
    table: &'a Table,
    name: Option<String>,
}

impl WriterOptions<'_> {
    /// The name that tools show; by default the process's. At most 32 bytes are kept.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Takes a seat and attaches, for values of bytes.
    ///
    /// Cost: a dozen system calls.
    ///
    /// # Errors
    /// [`Error::SeatsTaken`] naming who holds the seats, [`Error::Permission`], [`Error::Untrusted`],
    /// [`Error::NotFound`] when the table has been removed, [`TableError::NoSlot`].
    pub fn attach(self) -> Result<TableWriter<Raw>, Error> {
        TableWriter::new(self)
    }

    /// Takes a seat and attaches, for values of type `T`.
    ///
    /// # Errors
    /// [`Error::SchemaMismatch`] naming both types when the table carries another;
    /// [`Error::BadGeometry`] when `T` is not of its values' size; as [`attach`](Self::attach) otherwise.
    pub fn attach_typed<T: Frame>(self) -> Result<TableWriter<T>, Error> {
        self.table.check_type::<T>()?;
        TableWriter::new(self)
    }
}

/// One attached writer of a table.
///
/// It can be sent to another thread, not shared by two. Writers of different keys never touch the same
/// cache line, once each key is there; writers of one key are ordered, and each write gives the key the
/// next version. No writer ever waits: one that is killed or stopped in the middle of a write has not
/// written, and keeps nobody from it.
///
/// Cost of a write: no system call unless somebody waits who must be woken; the key's cell, the slot
/// that stood there, and a slot and a line of its own.
///
/// # Examples
/// ```
/// # let name = format!("doc-table-writer-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the table whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Table::remove(self.0); } }
/// # let _guard = Guard(&name);
/// # let table = busway::Table::options().create(&name)?;
/// use busway::TableError;
///
/// let mut writer = table.writer().name("planner").attach()?;
/// let version = writer.set_bytes(7, b"first")?;
/// assert_eq!(writer.compare_and_set_bytes(7, version, b"second")?, 2);
/// let late = writer.compare_and_set_bytes(7, version, b"lost");
/// assert_eq!(late, Err(TableError::Conflict { version: 2 }));
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Debug)]
pub struct TableWriter<T = Raw> {
    inner: Writer<TableMemory>,
    seat: WriterSeat,
    light: Light,
    info: TableInfo,
    pid: u32,
    /// Words of a value, for reading before writing.
    buffer: Vec<u64>,
    /// Closed last: it holds the lock of the seat.
    segment: Segment,
    _values: PhantomData<fn(T)>,
    /// Not `Sync`: one thread at a time.
    _one_thread: PhantomData<Cell<()>>,
}

impl<T> TableWriter<T> {
    fn new(options: WriterOptions<'_>) -> Result<Self, Error> {
        let table = &options.table.inner;
        alarm::watch_forks();
        let segment = table.segment.reopen(Access::ReadWrite)?;
        segment.check_owner()?;
        let cells = memory::cells(&segment, &table.header, View::Writer)?;
        let name = options.name.unwrap_or_else(process_name);
        let seat = WriterSeat::take(&segment, &cells, &name)?;
        let inner = Writer::new(cells, seat.tenancy);
        inner.open();
        let mut writer = Self {
            inner,
            seat,
            light: Light::register(),
            info: table.info.clone(),
            pid: std::process::id(),
            buffer: reader::buffer(&table.info),
            segment,
            _values: PhantomData,
            _one_thread: PhantomData,
        };
        // From here on dropping it gives everything back.
        writer.inner.take_free(u32::MAX);
        writer.supply()?;
        Ok(writer)
    }

    /// Writes a value. Returns its version: 1 for the first of its key, one more for each that follows.
    ///
    /// # Errors
    /// [`TableError::Full`] for a new key of a table that holds no more; [`TableError::TooLarge`],
    /// [`TableError::WrongLength`] on a table with a schema; [`TableError::WrongKey`],
    /// [`TableError::BadKey`], [`TableError::Removed`].
    #[inline]
    pub fn set_bytes<'k>(
        &mut self,
        key: impl Into<Key<'k>>,
        value: &[u8],
    ) -> Result<u64, TableError> {
        self.write(Aim::Key(key.into()), Some(value), None)
    }

    /// Writes a value where its key was found before: the shortest way.
    ///
    /// # Errors
    /// As [`set_bytes`](Self::set_bytes); [`TableError::WrongKey`] for a place in another table.
    #[inline]
    pub fn set_bytes_at(&mut self, place: Place, value: &[u8]) -> Result<u64, TableError> {
        self.write(Aim::Place(place), Some(value), None)
    }

    /// Writes a value if the key's version is the expected one; 0 for a key that was never written.
    ///
    /// # Errors
    /// [`TableError::Conflict`] with the version that stands; as [`set_bytes`](Self::set_bytes)
    /// otherwise.
    pub fn compare_and_set_bytes<'k>(
        &mut self,
        key: impl Into<Key<'k>>,
        expected: u64,
        value: &[u8],
    ) -> Result<u64, TableError> {
        self.write(Aim::Key(key.into()), Some(value), Some(expected))
    }

    /// The same where the key was found before.
    ///
    /// # Errors
    /// As [`compare_and_set_bytes`](Self::compare_and_set_bytes).
    #[inline]
    pub fn compare_and_set_bytes_at(
        &mut self,
        place: Place,
        expected: u64,
        value: &[u8],
    ) -> Result<u64, TableError> {
        self.write(Aim::Place(place), Some(value), Some(expected))
    }

    /// Takes a key's value away: who reads finds none. The key keeps its cell and goes on counting
    /// versions, of which this is one. Returns it; 0 when the key was never written.
    ///
    /// # Errors
    /// As [`set_bytes`](Self::set_bytes).
    pub fn remove<'k>(&mut self, key: impl Into<Key<'k>>) -> Result<u64, TableError> {
        match self.place(key)? {
            Some(place) => self.write(Aim::Place(place), None, None),
            None => Ok(0),
        }
    }

    /// Writes what `update` makes of the present value (`None`: there is none), as one step: if somebody
    /// else writes meanwhile, `update` is asked again. Returns the version.
    ///
    /// # Errors
    /// [`TableError::Contested`] after a million tries; as [`set_bytes`](Self::set_bytes) otherwise.
    pub fn update_bytes<'k>(
        &mut self,
        key: impl Into<Key<'k>>,
        mut update: impl FnMut(Option<&[u8]>) -> Vec<u8>,
    ) -> Result<u64, TableError> {
        let key = key.into();
        for _ in 0..UPDATES_MAX {
            self.check()?;
            let mut seen = None;
            if let Some(place) = self.place(key)? {
                let cells = &self.inner.cells;
                seen = cells.read(place.cell, &mut self.buffer).map_err(|f| self.fault(f))?;
            }
            let (version, value) = match seen {
                Some(seen) => (seen.version, entry::value(&seen, &self.buffer)),
                None => (0, None),
            };
            let value = update(value);
            match self.write(Aim::Key(key), Some(&value), Some(version)) {
                Err(TableError::Conflict { .. }) => {}
                result => return result,
            }
        }
        Err(TableError::Contested)
    }

    /// Where a key is; `None` when it was never written. Keys never move, so it need be asked once.
    ///
    /// # Errors
    /// [`TableError::WrongKey`], [`TableError::BadKey`].
    pub fn place<'k>(&self, key: impl Into<Key<'k>>) -> Result<Option<Place>, TableError> {
        self.check()?;
        let key = key.into().words(self.info.key_kind)?;
        match self.inner.cells.find(&key).map_err(|fault| self.fault(fault))? {
            Found::At(cell, _) => Ok(Some(Place { cell, key, instance: self.info.instance })),
            Found::Absent(_) | Found::NoCell => Ok(None),
        }
    }

    /// Its seat.
    #[must_use]
    pub fn seat(&self) -> u32 {
        self.seat.index
    }

    /// What the table is.
    #[must_use]
    pub fn info(&self) -> &TableInfo {
        &self.info
    }

    #[inline]
    fn write(
        &mut self,
        aim: Aim<'_>,
        value: Option<&[u8]>,
        expected: Option<u64>,
    ) -> Result<u64, TableError> {
        self.check()?;
        self.check_length(value)?;
        if self.inner.cells.memory.is_removed() {
            return Err(TableError::Removed);
        }
        let (key, at) = match aim {
            Aim::Key(key) => (key.words(self.info.key_kind)?, None),
            Aim::Place(place) if place.instance == self.info.instance => {
                (place.key, Some(place.cell))
            }
            Aim::Place(_) => return Err(TableError::WrongKey { want: self.info.key_kind.name() }),
        };
        if !self.inner.has_slot() {
            self.supply()?;
        }
        let time_ns = if self.info.timestamps { clock::monotonic_ns() } else { 0 };
        let entry = Entry { key, time_ns, pid: self.pid, value };
        let written = self.inner.put(&entry, at, expected).map_err(|fault| self.fault(fault))?;
        if !self.inner.is_supplied() {
            self.inner.take_free(LOOKS);
        }
        self.light.barrier();
        self.wake(written);
        Ok(written.version)
    }

    /// Wakes whoever waits for what was written.
    #[inline]
    fn wake(&self, written: Written) {
        let words = &self.inner.cells.memory.words;
        let bell =
            usize::try_from(written.cell).ok().and_then(|cell| words.bells.get(cell % BELLS));
        if let Some(bell) = bell.map(Bell::of).filter(|bell| bell.is_awaited()) {
            ring(bell);
        }
        let any = Bell::of_any(words);
        if any.is_awaited() {
            ring(any);
        }
    }

    /// Finds slots when there is none: those of writers that are gone, dead ones among them.
    #[cold]
    fn supply(&mut self) -> Result<(), TableError> {
        if self.inner.has_slot() {
            return Ok(());
        }
        // Without the right to, or when the table is gone, there is nobody to give back.
        let _reclaimed = seat::reclaim(&self.segment);
        let memory = self.inner.cells.memory.clone();
        let taken = self.inner.take_from_the_gone(|owner| seat::is_gone(&memory, owner));
        taken.map_err(|fault| self.fault(fault))?;
        if self.inner.has_slot() { Ok(()) } else { Err(TableError::NoSlot) }
    }

    /// Whether the memory is still there and this process's.
    #[inline]
    fn check(&self) -> Result<(), TableError> {
        if alarm::is_raised() { self.check_alarm() } else { Ok(()) }
    }

    #[cold]
    fn check_alarm(&self) -> Result<(), TableError> {
        if std::process::id() != self.pid {
            return Err(TableError::Forked);
        }
        if self.inner.cells.memory.health.is_broken() {
            return Err(TableError::Truncated);
        }
        Ok(())
    }

    #[inline]
    fn check_length(&self, value: Option<&[u8]>) -> Result<(), TableError> {
        let max = usize::try_from(self.info.value_bytes).unwrap_or(0);
        match value {
            Some(value) if value.len() > max => Err(TableError::TooLarge { len: value.len(), max }),
            Some(value) if self.info.schema_hash != 0 && value.len() != max => {
                Err(TableError::WrongLength { len: value.len(), want: max })
            }
            _ => Ok(()),
        }
    }

    #[cold]
    fn fault(&self, fault: Fault) -> TableError {
        // What reads as nonsense because it was cut off is not somebody's store.
        if let Err(error) = self.check() {
            return error;
        }
        if fault == Fault::Corrupt {
            self.inner.cells.memory.note_corruption();
        }
        self.info.error_of(fault)
    }
}

impl<T: Frame> TableWriter<T> {
    /// Writes a value. Returns its version.
    ///
    /// # Errors
    /// As [`set_bytes`](Self::set_bytes).
    #[inline]
    pub fn set<'k>(&mut self, key: impl Into<Key<'k>>, value: &T) -> Result<u64, TableError> {
        self.set_bytes(key, value.as_bytes())
    }

    /// Writes a value where its key was found before.
    ///
    /// # Errors
    /// As [`set_bytes_at`](Self::set_bytes_at).
    #[inline]
    pub fn set_at(&mut self, place: Place, value: &T) -> Result<u64, TableError> {
        self.set_bytes_at(place, value.as_bytes())
    }

    /// Writes a value if the key's version is the expected one.
    ///
    /// # Errors
    /// As [`compare_and_set_bytes`](Self::compare_and_set_bytes).
    pub fn compare_and_set<'k>(
        &mut self,
        key: impl Into<Key<'k>>,
        expected: u64,
        value: &T,
    ) -> Result<u64, TableError> {
        self.compare_and_set_bytes(key, expected, value.as_bytes())
    }

    /// Writes what `update` makes of the present value, as one step. A value that is not whole, which
    /// only a writer without types can leave, counts as none.
    ///
    /// # Errors
    /// As [`update_bytes`](Self::update_bytes).
    pub fn update<'k>(
        &mut self,
        key: impl Into<Key<'k>>,
        mut update: impl FnMut(Option<T>) -> T,
    ) -> Result<u64, TableError> {
        self.update_bytes(key, |value| {
            let value = value.and_then(|bytes| T::read_from_bytes(bytes).ok());
            update(value).as_bytes().to_vec()
        })
    }
}

impl<T> Drop for TableWriter<T> {
    fn drop(&mut self) {
        if alarm::is_raised() && std::process::id() != self.pid {
            return;
        }
        self.inner.give_back();
        crash_point!(BitsCleared);
        self.seat.leave(&self.segment, &self.inner.cells.memory);
    }
}

/// Where to write.
#[derive(Clone, Copy)]
enum Aim<'k> {
    Key(Key<'k>),
    Place(Place),
}

#[cold]
fn ring(bell: Bell<'_>) {
    bell.ring();
    crash_point!(BellRung);
    futex::wake(bell.doorbell);
}
