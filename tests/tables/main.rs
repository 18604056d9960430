//! Tables through the public API: what is read and written, by one process and by many, and what comes of
//! a segment that somebody scribbles on or cuts short.

mod api;
mod hostile;
mod processes;

use busway::Table;

/// A table's name that no other test uses; the table is removed when this goes.
struct Name(String);

impl Name {
    fn new(test: &str) -> Self {
        Self(format!("t-tables-{test}-{}", std::process::id()))
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // A test may have made a bus of this name instead, or removed it itself.
        let _removed = Table::remove(&self.0).or_else(|_| busway::Bus::remove(&self.0));
    }
}

/// Four equal words: a torn value shows.
fn value(number: u64) -> [u8; 32] {
    let mut value = [0; 32];
    value.as_chunks_mut::<8>().0.fill(number.to_le_bytes());
    value
}

fn number(value: &[u8]) -> u64 {
    let words = value.as_chunks::<8>().0;
    assert!(words.len() == 4 && words.iter().all(|word| *word == words[0]), "torn: {value:?}");
    u64::from_le_bytes(words[0])
}
