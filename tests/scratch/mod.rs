//! Bus names of a test's own, taken away again whatever the test does.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use busway::{Bus, Table};

/// A bus name that no other test uses; the bus is removed when this goes.
#[derive(Debug)]
pub struct Name(String);

impl Name {
    /// The next name of this process.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("t-{}-{number}", std::process::id()))
    }

    /// The bus's file.
    #[allow(dead_code)] // not every test looks at the file
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/shm/busway.{}", self.0))
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // Already gone when the test removed it itself.
        let _removed = Bus::remove(&self.0);
    }
}

/// A table's name; the table is removed when this goes.
#[allow(dead_code)] // not every test has a table
pub struct TableName(pub Name);

impl Drop for TableName {
    fn drop(&mut self) {
        // As of a bus.
        let _removed = Table::remove(&self.0);
    }
}

/// A table of 64 keys with values of eight bytes.
#[allow(dead_code)] // not every test has a table
pub fn table() -> (TableName, Table) {
    let name = TableName(Name::new());
    let table = Table::options().keys(64).value_bytes(8).create(&name.0).unwrap();
    (name, table)
}
