//! A table by name: create it, open it, ask about it, attach to it.
//!
//! * `options`: a new table and its making. * `info`: what a table is and how it stands.
//! * `memory`: the segment's regions as the words of the protocol (`cells`).
//! * `seat`: writers' places, and giving back those of the dead.
//! * `writer`, `reader`, `wait`, `watch`: what users hold.
//! * `key`: keys, and where they are. * `entry`: values.

mod entry;
mod info;
mod key;
mod memory;
mod options;
mod reader;
mod seat;
mod wait;
mod watch;
mod writer;

use std::sync::Arc;

pub use entry::{Entry, OwnedEntry};
pub use info::{TableInfo, TableStat, WriterStat};
pub use key::{Key, OwnedKey, Place};
pub use options::TableOptions;
pub use reader::{Marks, ReaderOptions, TableReader};
pub use watch::TableWatch;
pub use writer::{TableWriter, WriterOptions};

use crate::cells::bell::Bell;
use crate::cells::{Cells, Fault};
use crate::crash::crash_point;
use crate::error::{Error, TableError};
use crate::frame::Frame;
use crate::layout::table::header::Header;
use crate::layout::table::words::REMOVED;
use crate::participant::{Participant, Reclaimed};
use crate::schema::Schema;
use crate::shm::mapping::Access;
use crate::shm::name;
use crate::shm::segment::{self, Segment};
use crate::sync::{Ordering, clock, futex};
use memory::{TableMemory, View};

/// An open table: keyed cells in shared memory that hold the latest value of each key.
///
/// Any number of processes read, and up to 256 writers write, without a lock: a reader waits for
/// nobody, two writers of one key are ordered, and a writer that is killed or stopped anywhere leaves
/// the previous value and keeps nobody from writing the key. Values are whole or not there.
///
/// Cheap to clone and to send between threads. It holds no seat; each end that is attached through it
/// opens the segment for itself and outlives it.
///
/// # Examples
/// ```
/// use busway::Table;
///
/// # let name = format!("doc-table-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the table whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Table::remove(self.0); } }
/// # let _guard = Guard(&name);
/// let table = Table::options().keys(100).text_keys().value_bytes(16).create(&name)?;
/// let mut writer = table.writer().attach()?;
/// let mut reader = table.reader().attach()?;
/// assert_eq!(writer.set_bytes("motor/rpm", b"1200")?, 1);
/// assert_eq!(writer.set_bytes("motor/rpm", b"1250")?, 2);
/// let entry = reader.get("motor/rpm")?.expect("it was written");
/// assert_eq!((entry.version(), entry.bytes()), (2, b"1250".as_slice()));
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    segment: Segment,
    header: Header,
    info: TableInfo,
    schema: Option<Schema>,
    cells: Cells<TableMemory>,
}

impl Table {
    /// The options of a table that is to be created.
    pub fn options() -> TableOptions {
        TableOptions::new()
    }

    /// Opens an existing table.
    ///
    /// Everything in its header is checked once, here, into memory of this process.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when the name stands for a bus; otherwise as of
    /// [`Bus::open`](crate::Bus::open).
    pub fn open(name: &str) -> Result<Self, Error> {
        name::check_name(name)?;
        Self::from_segment(Segment::open(name, Access::Look)?)
    }

    /// Opens an existing table that has to belong to this user; see
    /// [`Bus::open_owned_by`](crate::Bus::open_owned_by).
    ///
    /// # Errors
    /// [`Error::Untrusted`] when it is another's; as [`open`](Self::open) otherwise.
    pub fn open_owned_by(name: &str, owner_uid: u32) -> Result<Self, Error> {
        name::check_name(name)?;
        let mut segment = Segment::open(name, Access::Look)?;
        segment.expect_owner(owner_uid)?;
        Self::from_segment(segment)
    }

    fn from_segment(segment: Segment) -> Result<Self, Error> {
        let (header, document) = segment.table_header()?;
        let schema = schema_of(&segment.name, &header, &document)?;
        let cells = memory::cells(&segment, &header, View::Look)?;
        let info = TableInfo::of(&segment.name, &header);
        Ok(Self { inner: Arc::new(Inner { segment, header, info, schema, cells }) })
    }

    /// Removes a table: takes its name away, and tells whoever writes or waits.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when the name stands for a bus, which is left as it is;
    /// [`Error::BadName`], [`Error::NotFound`], [`Error::Permission`].
    pub fn remove(name: &str) -> Result<(), Error> {
        name::check_name(name)?;
        // Telling those attached takes write access to a valid segment; removing does not.
        let opened = Segment::open(name, Access::ReadWrite).and_then(|segment| {
            let (header, _) = segment.table_header()?;
            memory::cells(&segment, &header, View::Reader)
        });
        let cells = match opened {
            Err(error @ Error::WrongKind { .. }) => return Err(error),
            opened => opened.ok(),
        };
        segment::unlink(name)?;
        crash_point!(SegmentUnlinked);
        if let Some(cells) = cells {
            let words = &cells.memory.words;
            // ORDERING: release, pairs with the acquire load in `TableMemory::is_removed`.
            words.attention.fetch_or(REMOVED, Ordering::Release);
            let all = words.bells.iter().map(Bell::of).chain([Bell::of_any(words)]);
            for bell in all {
                bell.ring();
                futex::wake(bell.doorbell);
            }
            cells.memory.note_change();
        }
        Ok(())
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.info.name
    }

    /// What the table is; never changes.
    #[must_use]
    pub fn info(&self) -> &TableInfo {
        &self.inner.info
    }

    /// What its values mean, if it was created with a schema.
    #[must_use]
    pub fn schema(&self) -> Option<&Schema> {
        self.inner.schema.as_ref()
    }

    /// How the table stands now. Reads only, never waits; the parts are not of one instant.
    ///
    /// Cost: a cache line per cell, a system call per attached writer.
    #[must_use]
    pub fn stat(&self) -> TableStat {
        info::snapshot(&self.inner.segment, &self.inner.cells)
    }

    /// The writers that are attached now. Cost: one system call each.
    #[must_use]
    pub fn participants(&self) -> Vec<Participant> {
        seat::writers(&self.inner.segment, &self.inner.cells.memory)
    }

    /// Grows by one whenever a writer attaches, detaches or is recovered, or the table is removed.
    #[must_use]
    pub fn seat_changes(&self) -> u32 {
        // ORDERING: acquire, pairs with the release in `TableMemory::note_change`.
        self.inner.cells.memory.words.seat_changes.load(Ordering::Acquire)
    }

    /// Whether the table has been removed.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.inner.cells.memory.is_removed() || !self.inner.segment.is_linked()
    }

    /// Whether somebody cut the table's segment short; see [`Bus::is_truncated`](crate::Bus).
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.inner.cells.memory.health.is_broken()
    }

    /// Gives back the seats and slots of writers that are provably dead, and says whose they were.
    /// Nothing needs it: who attaches, or runs out of slots, does the same.
    ///
    /// # Errors
    /// [`Error::Permission`], or [`Error::NotFound`] when the table was removed.
    pub fn reclaim(&self) -> Result<Vec<Reclaimed>, Error> {
        seat::reclaim(&self.inner.segment)
    }

    /// Now, on the clock of the values' times: `CLOCK_MONOTONIC` in nanoseconds.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        clock::monotonic_ns()
    }

    /// Refuses a value type whose layout is not the table's.
    fn check_type<T: Frame>(&self) -> Result<(), Error> {
        if let Some(schema) = self.schema()
            && schema.hash() != T::SCHEMA_HASH
        {
            return Err(Error::SchemaMismatch {
                name: self.name().to_owned(),
                bus_type: (schema.name.clone(), schema.hash()),
                asked_type: (T::NAME.to_owned(), T::SCHEMA_HASH),
            });
        }
        let have = self.info().value_bytes;
        if usize::try_from(have) != Ok(size_of::<T>()) {
            return Err(Error::BadGeometry {
                what: "value type's size",
                value: u64::try_from(size_of::<T>()).unwrap_or(u64::MAX),
                allowed: format!("{have} bytes on table {:?}", self.name()),
            });
        }
        Ok(())
    }
}

/// Whether the name stands for a table: `Some(true)`, for a bus: `Some(false)`, or for nothing that can
/// be told.
///
/// # Examples
/// ```
/// assert_eq!(busway::is_table("no-such-name"), None);
/// ```
#[must_use]
pub fn is_table(name: &str) -> Option<bool> {
    name::check_name(name).ok()?;
    let segment = Segment::open(name, Access::Look).ok()?;
    match segment.table_header() {
        Ok(_) => Some(true),
        Err(Error::WrongKind { .. }) => Some(false),
        Err(_) => None,
    }
}

/// The schema that a table carries, if its document is what its header says.
fn schema_of(name: &str, header: &Header, document: &[u8]) -> Result<Option<Schema>, Error> {
    if document.is_empty() {
        return Ok(None);
    }
    let corrupt = |reason: String| Error::Corrupt { name: name.to_owned(), reason };
    let schema = Schema::from_json(document)
        .map_err(|error| corrupt(format!("its schema is wrong: {error}")))?;
    if schema.hash() != header.schema_hash {
        return Err(corrupt("its schema does not have the hash it states".to_owned()));
    }
    Ok(Some(schema))
}

impl TableInfo {
    /// A fault of the protocol, as users see it.
    #[cold]
    fn error_of(&self, fault: Fault) -> TableError {
        match fault {
            Fault::Full => TableError::Full { keys: self.keys },
            Fault::NoSlot => TableError::NoSlot,
            Fault::Conflict(version) => TableError::Conflict { version },
            Fault::UsedUp => TableError::UsedUp,
            Fault::Contested => TableError::Contested,
            Fault::Corrupt => TableError::Corrupt,
        }
    }
}
