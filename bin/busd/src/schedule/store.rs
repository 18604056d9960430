//! The database: what was confirmed is in it, on disk, until it is done.
//!
//! One table of schedules by number, as JSON, and the number that is given out next, which never goes
//! back: the journal may still speak of the last one. Each change is a transaction that is on disk
//! when it returns (`redb::Durability::Immediate`).
//!
//! After an error of the disk redb refuses all further work until the file is opened again, so that is
//! done; whether the change that failed is in it is then a matter of looking.

#![allow(clippy::result_large_err, reason = "redb's errors are large; here they become texts")]

use std::fmt;
use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{Database, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::record::{Change, Record};

const SCHEDULES: TableDefinition<u64, &[u8]> = TableDefinition::new("schedules");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
const NEXT_ID: &str = "next_id";

/// Memory for pages; the whole database is small.
const CACHE_BYTES: usize = 1 << 20;

/// Schedules at a time.
pub(super) const SCHEDULES_MAX: u64 = 10_000;

/// The database.
pub(super) struct Store {
    path: PathBuf,
    /// `None` after an error, until it is needed again.
    database: Mutex<Option<Database>>,
}

/// Why the database failed.
#[derive(Debug)]
pub(crate) struct StoreError {
    path: PathBuf,
    reason: String,
}

/// What stands under a number.
enum Entry {
    Good(Box<Record>),
    /// Something that this build cannot read.
    Bad,
}

impl Store {
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let store = Self { path, database: Mutex::new(None) };
        if !store.path.exists() {
            let made = make(&store.path).map_err(|error| store.error(error.to_string()))?;
            *store.lock() = Some(made);
        }
        // Whether it can be read is to be known now.
        store.with(|database| {
            let _readable = database.begin_read()?;
            Ok(())
        })?;
        Ok(store)
    }

    /// Keeps a schedule, and gives its number.
    pub(super) fn insert(&self, record: &Record) -> Result<Option<u64>, StoreError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            let id = {
                let mut numbers = transaction.open_table(NUMBERS)?;
                let mut schedules = transaction.open_table(SCHEDULES)?;
                if schedules.len()? >= SCHEDULES_MAX {
                    return Ok(None);
                }
                let id = numbers.get(NEXT_ID)?.map_or(1, |next| next.value());
                numbers.insert(NEXT_ID, id.saturating_add(1))?;
                schedules.insert(id, encode(record).as_slice())?;
                id
            };
            transaction.commit()?;
            Ok(Some(id))
        })
    }

    /// Forgets a schedule; gives what it was.
    pub(super) fn remove(&self, id: u64) -> Result<Option<Record>, StoreError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            let removed = {
                let mut schedules = transaction.open_table(SCHEDULES)?;
                let removed = schedules.remove(id)?;
                removed.and_then(|bytes| decode(bytes.value()).into_record())
            };
            transaction.commit()?;
            Ok(removed)
        })
    }

    /// Takes note of changes, all or none of them.
    pub(super) fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            {
                let mut schedules = transaction.open_table(SCHEDULES)?;
                for change in changes {
                    let found = schedules.get(change.id)?.map(|bytes| decode(bytes.value()));
                    let Some(mut record) = found.and_then(Entry::into_record) else {
                        continue;
                    };
                    if record.apply(change) {
                        schedules.insert(change.id, encode(&record).as_slice())?;
                    } else {
                        schedules.remove(change.id)?;
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// One schedule.
    pub(super) fn get(&self, id: u64) -> Result<Option<Record>, StoreError> {
        self.with(|database| {
            let schedules = database.begin_read()?.open_table(SCHEDULES)?;
            let found = schedules.get(id)?.map(|bytes| decode(bytes.value()));
            Ok(found.and_then(Entry::into_record))
        })
    }

    /// Every schedule, by number. What this build cannot read is left out, and left alone.
    pub(super) fn all(&self) -> Result<Vec<(u64, Record)>, StoreError> {
        self.with(|database| {
            let schedules = database.begin_read()?.open_table(SCHEDULES)?;
            let mut all = Vec::new();
            for entry in schedules.iter()? {
                let (id, bytes) = entry?;
                match decode(bytes.value()) {
                    Entry::Good(record) => all.push((id.value(), *record)),
                    Entry::Bad => tracing::warn!(id = id.value(), "cannot read this schedule"),
                }
            }
            Ok(all)
        })
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut slot = self.lock();
        let known = slot.take();
        // A damaged file can make redb break off; this daemon has other things to do as well.
        let worked = panic::catch_unwind(AssertUnwindSafe(|| {
            let database = match known {
                Some(database) => database,
                None => builder().open(&self.path)?,
            };
            work(&database).map(|done| (done, database))
        }));
        match worked {
            Ok(Ok((done, database))) => {
                *slot = Some(database);
                Ok(done)
            }
            Ok(Err(error)) => Err(self.error(error.to_string())),
            Err(_) => Err(self.error("redb broke off; the file is damaged".to_owned())),
        }
    }

    /// Whoever panicked with it left none, and the next opens it.
    fn lock(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, reason: String) -> StoreError {
        StoreError { path: self.path.clone(), reason }
    }
}

/// Makes an empty database, whole or not at all: a file that a death has left half made is not one that
/// redb opens. So it gets its name last, and the name is on disk as well.
fn make(path: &Path) -> Result<Database, redb::Error> {
    let unnamed = path.with_extension("new");
    match fs::remove_file(&unnamed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let database = builder().create(&unnamed)?;
    let transaction = database.begin_write()?;
    transaction.open_table(SCHEDULES)?;
    transaction.open_table(NUMBERS)?;
    transaction.commit()?;
    fs::rename(&unnamed, path)?;
    if let Some(directory) = path.parent() {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(database)
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).create_with_file_format_v3(true);
    builder
}

impl Entry {
    fn into_record(self) -> Option<Record> {
        match self {
            Self::Good(record) => Some(*record),
            Self::Bad => None,
        }
    }
}

fn encode(record: &Record) -> Vec<u8> {
    // Numbers and texts: there is nothing in it that JSON does not have.
    serde_json::to_vec(record).unwrap_or_default()
}

fn decode(bytes: &[u8]) -> Entry {
    serde_json::from_slice(bytes).map_or(Entry::Bad, |record| Entry::Good(Box::new(record)))
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schedules database {}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    use super::super::record::Outcome;
    use super::super::record::tests::record;
    use super::*;

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn numbers_are_never_given_twice_and_changes_are_all_there_after_reopening() {
        let path = std::env::temp_dir().join(format!("t-{}-store.redb", std::process::id()));
        let scratch = Scratch(path);
        let store = Store::open(scratch.0.clone()).unwrap();
        assert_eq!(store.insert(&record(None)).unwrap(), Some(1));
        assert_eq!(store.insert(&record(Some(5))).unwrap(), Some(2));
        assert_eq!(store.remove(2).unwrap(), Some(record(Some(5))));
        assert_eq!(store.remove(2).unwrap(), None);
        drop(store);
        let store = Store::open(scratch.0.clone()).unwrap();
        assert_eq!(store.insert(&record(Some(9))).unwrap(), Some(3), "2 is over");
        let published = |id, occurrence| Change { id, occurrence, outcome: Outcome::Published };
        store
            .apply(&[published(1, 0), published(2, 0), published(3, 4), published(99, 0)])
            .unwrap();
        let all = store.all().unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].0, all[0].1.occurrence), (3, 5));
    }

    #[test]
    fn file_that_is_no_database_is_an_error_that_names_it() {
        let path = std::env::temp_dir().join(format!("t-{}-junk.redb", std::process::id()));
        let scratch = Scratch(path);
        std::fs::write(&scratch.0, vec![7; 9000]).unwrap();
        let Err(error) = Store::open(scratch.0.clone()) else { panic!("it is none") };
        assert!(error.to_string().contains("junk.redb"), "{error}");
    }
}
