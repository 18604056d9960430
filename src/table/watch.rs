//! Watching a table: what has changed since it was last looked at, one value after the other.

use std::time::{Duration, Instant};

use super::entry::Entry;
use super::key::{Key, OwnedKey};
use super::reader::{Marks, TableReader};
use super::wait::{NAP, group_of};
use crate::error::TableError;
use crate::frame::Raw;
use crate::park::{Bed, PARK};
use crate::waits::Waits;

/// How often one that waits with others asks whether the table still has its name.
const PROBE: Duration = Duration::from_millis(20);

/// A reader, and what of the table it has seen: hands out each change once.
///
/// From [`TableReader::watch`], for all keys, or [`TableReader::watch_key`], for one. It begins with what
/// is there. Each key comes with its latest value; versions in between are not seen, and
/// [`Entry::version`] tells how many there were. A key that was removed comes without value
/// ([`Entry::is_removed`]).
///
/// It can be waited for together with others in a [`WaitSet`](crate::WaitSet), and with the feature
/// `async` be a stream. A change that was made before a look is never missed.
///
/// Cost: watching all keys, a cache line per cell for a look that finds nothing, and keys have their turn
/// one after the other, so that one that changes all the time does not keep others back. Watching one
/// key, one load.
///
/// # Examples
/// ```
/// # let name = format!("doc-table-watch-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the table whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Table::remove(self.0); } }
/// # let _guard = Guard(&name);
/// # let table = busway::Table::options().create(&name)?;
/// # let mut writer = table.writer().attach()?;
/// let mut watch = table.reader().attach()?.watch();
/// writer.set_bytes(1, b"one")?;
/// let entry = watch.poll()?.expect("it was set");
/// assert_eq!((entry.key(), entry.bytes()), (1.into(), b"one".as_slice()));
/// assert!(watch.poll()?.is_none());
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Debug)]
pub struct TableWatch<T = Raw> {
    reader: TableReader<T>,
    scope: Scope,
    bed: Bed,
    probe_at: Option<Instant>,
    /// The table had lost its name when it was last asked for.
    is_unlinked: bool,
}

/// What is watched, and what of it was handed out.
#[derive(Debug)]
enum Scope {
    /// All keys; and the cell to begin at.
    All { marks: Marks, next: u32 },
    /// One; where it is, once it was written.
    One { key: OwnedKey, cell: Option<u32>, version: u64 },
}

impl<T> TableReader<T> {
    /// Watches all keys.
    #[must_use]
    pub fn watch(self) -> TableWatch<T> {
        let mut marks = Marks::default();
        marks.versions.resize(usize::try_from(self.cells.plan.cells).unwrap_or(0), 0);
        TableWatch::new(self, Scope::All { marks, next: 0 })
    }

    /// Watches one key, which need not have been written yet.
    ///
    /// # Errors
    /// [`TableError::WrongKey`], [`TableError::BadKey`]; as [`get`](Self::get) otherwise.
    pub fn watch_key<'k>(self, key: impl Into<Key<'k>>) -> Result<TableWatch<T>, TableError> {
        let key = key.into();
        let cell = self.find(key)?;
        Ok(TableWatch::new(self, Scope::One { key: key.into(), cell, version: 0 }))
    }
}

impl<T> TableWatch<T> {
    fn new(reader: TableReader<T>, scope: Scope) -> Self {
        let cell = match &scope {
            Scope::All { .. } => None,
            Scope::One { cell, .. } => *cell,
        };
        let bed = bed(&reader, cell);
        Self { reader, scope, bed, probe_at: None, is_unlinked: false }
    }

    /// The next change, if there is one. Never waits.
    ///
    /// # Errors
    /// [`TableError::Removed`] when the table was removed and every change was handed out;
    /// [`TableError::Corrupt`] for a cell that holds what nobody honest stores, which is passed over by
    /// the next call; as [`TableReader::get`] otherwise.
    pub fn poll(&mut self) -> Result<Option<Entry<'_>>, TableError> {
        // Bounded: a second turn takes a cell that was emptied, which no honest participant does.
        for _ in 0..=self.reader.cells.plan.cells {
            let found = self.find();
            if !matches!(found, Ok(None)) {
                self.pass();
            }
            let Some(cell) = found? else {
                break;
            };
            let seen = self.reader.copy(cell)?;
            self.scope.note(cell, seen.map_or(0, |seen| seen.version));
            if let Some(seen) = seen {
                return Ok(Some(self.reader.copied(seen)));
            }
        }
        if self.is_over() { Err(TableError::Removed) } else { Ok(None) }
    }

    /// The next change, or `None` when there was none for `timeout` (no timeout: for ever). Waits as the
    /// reader was attached to.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<Entry<'_>>, TableError> {
        if !self.look() {
            match &self.scope {
                Scope::All { marks, .. } => self.reader.wait_any(marks, timeout).map(|_| ())?,
                Scope::One { key, version, .. } => {
                    self.reader.wait(key, *version, timeout).map(|_| ())?;
                }
            }
        }
        self.poll()
    }

    /// Passes over what is there now: only what changes from now on is handed out.
    ///
    /// # Errors
    /// As [`TableReader::get`].
    pub fn skip(&mut self) -> Result<(), TableError> {
        self.reader.check()?;
        match &mut self.scope {
            Scope::All { marks, .. } => {
                for (cell, mark) in (0..).zip(&mut marks.versions) {
                    *mark = self.reader.version_of(cell)?;
                }
            }
            Scope::One { key, version, .. } => *version = self.reader.version(&*key)?,
        }
        Ok(())
    }

    /// The reader, for reading other keys.
    pub fn reader(&mut self) -> &mut TableReader<T> {
        &mut self.reader
    }

    /// Gives the reader back.
    #[must_use]
    pub fn into_reader(self) -> TableReader<T> {
        self.reader
    }

    /// The next cell that has changed, from where the last search ended. An error is about the cell at
    /// which this one does.
    fn find(&mut self) -> Result<Option<u32>, TableError> {
        self.reader.check()?;
        match &mut self.scope {
            Scope::All { marks, next } => {
                let (begin, cells) = (*next, self.reader.cells.plan.cells);
                for cell in (begin..cells).chain(0..begin) {
                    *next = cell;
                    if self.reader.version_of(cell)? != marks.version(cell) {
                        return Ok(Some(cell));
                    }
                }
                *next = begin;
                Ok(None)
            }
            Scope::One { key, cell, version } => {
                if cell.is_none() {
                    *cell = self.reader.find((&*key).into())?;
                    if cell.is_some() {
                        self.bed = bed(&self.reader, *cell);
                    }
                }
                let Some(cell) = *cell else {
                    return Ok(None);
                };
                Ok((self.reader.version_of(cell)? != *version).then_some(cell))
            }
        }
    }

    /// Has the next search begin after the cell at which the last one ended.
    fn pass(&mut self) {
        if let Scope::All { next, .. } = &mut self.scope {
            *next = if *next + 1 < self.reader.cells.plan.cells { *next + 1 } else { 0 };
        }
    }

    fn is_over(&self) -> bool {
        self.is_unlinked || self.reader.cells.memory.is_removed()
    }
}

impl Scope {
    /// A cell is handed out with this version; 0: it is empty.
    fn note(&mut self, cell: u32, now: u64) {
        match self {
            Self::All { marks, .. } => marks.note(cell, now),
            Self::One { version, .. } => *version = now,
        }
    }
}

/// Where a reader sleeps that waits for a key in this cell, or for any.
fn bed<T>(reader: &TableReader<T>, cell: Option<u32>) -> Bed {
    if reader.can_park {
        Bed::of_table(&reader.cells.memory.words, cell.map(group_of))
    } else {
        // To be rung for takes the right to write.
        Bed::nowhere()
    }
}

impl<T> Waits for TableWatch<T> {
    fn look(&mut self) -> bool {
        !matches!(self.find(), Ok(None)) || self.is_over()
    }

    fn bed(&self) -> &Bed {
        &self.bed
    }

    fn probe(&mut self) {
        let now = Instant::now();
        if now >= *self.probe_at.get_or_insert_with(|| now + PROBE) {
            // Who removes a table without the right to write to it tells nobody.
            self.is_unlinked = !self.reader.segment.is_linked();
            self.probe_at = Some(now + PROBE);
        }
    }

    fn longest_wait(&self) -> Duration {
        if self.reader.can_park { PARK } else { NAP }
    }

    fn pauses(&self) -> u32 {
        match self.scope {
            Scope::All { .. } => self.reader.pauses(),
            Scope::One { .. } => 1,
        }
    }
}
