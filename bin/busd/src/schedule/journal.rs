//! What is about to be published, written down before it is.
//!
//! A file of lines of JSON, appended to by one pwrite(2) each and emptied whenever the database knows
//! the outcome of all of them. It has to outlive the process and not the machine: a bus is gone with the
//! machine as well. So nothing is synced, and a line costs some microseconds.
//!
//! ```text
//! {"tenancy":{"number":1,"bus":"alarms","instance":…,"lane":0,"epoch":3}}
//! {"intent":{"tenancy":1,"position":41,"id":7,"occurrence":0}}
//! ```
//!
//! An intent that came to nothing is taken back; if that fails, the next one for the same position
//! takes its place. A line that a death has cut short is the last one, and nothing was published on the
//! strength of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// A longer journal is not written: the database has to be brought up to date first.
const BYTES_MAX: u64 = 4 << 20;

/// A lane that the daemon publishes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tenancy {
    /// Tells it from others in this journal.
    pub(super) number: u64,
    pub(super) bus: String,
    /// The bus's random number, which another bus of the same name does not have.
    pub(super) instance: u64,
    pub(super) lane: u32,
    pub(super) epoch: u64,
}

/// A frame that is to stand at a position of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    pub(super) tenancy: u64,
    pub(super) position: u64,
    pub(super) id: u64,
    pub(super) occurrence: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Tenancy(Tenancy),
    Intent(Intent),
}

/// The file, open for this process alone.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    len: u64,
    /// Where the last line begins.
    last: u64,
}

/// What a journal says: each tenancy with what was to stand where.
pub(super) type Contents = Vec<(Tenancy, BTreeMap<u64, Intent>)>;

impl Journal {
    /// Opens the journal, and reads what an earlier process has left in it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Contents)> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)?;
        let mut bytes = Vec::new();
        // Twice what is ever written: more is not ours.
        Read::by_ref(&mut file).take(2 * BYTES_MAX).read_to_end(&mut bytes)?;
        let contents = read(&bytes);
        let len = bytes.len() as u64;
        Ok((Self { file, len, last: len }, contents))
    }

    /// Writes down a lane that is published on from now on.
    pub(super) fn open_tenancy(&mut self, tenancy: &Tenancy) -> io::Result<()> {
        self.append(&Line::Tenancy(tenancy.clone()))
    }

    /// Writes down what comes next.
    pub(super) fn intend(&mut self, intent: Intent) -> io::Result<()> {
        self.append(&Line::Intent(intent))
    }

    /// Takes the last intent back: it came to nothing.
    pub(super) fn retract(&mut self) {
        if self.file.set_len(self.last).is_ok() {
            self.len = self.last;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        (self.len, self.last) = (0, 0);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        if self.len + bytes.len() as u64 > BYTES_MAX {
            return Err(io::Error::other("the journal of schedules is full"));
        }
        if let Err(error) = self.file.write_all_at(&bytes, self.len) {
            // Half a line would end what is read of the journal. Where it cannot be cut off either, the
            // next line is written over it.
            let _cut = self.file.set_len(self.len);
            return Err(error);
        }
        self.last = self.len;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// Everything up to the first line that is none.
fn read(bytes: &[u8]) -> Contents {
    let mut contents = Contents::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.ends_with(b"\n").then(|| serde_json::from_slice(line)) {
            Some(Ok(Line::Tenancy(tenancy))) => contents.push((tenancy, BTreeMap::new())),
            Some(Ok(Line::Intent(intent))) => {
                let its = |(tenancy, _): &&mut (Tenancy, _)| tenancy.number == intent.tenancy;
                if let Some((_, intents)) = contents.iter_mut().find(its) {
                    intents.insert(intent.position, intent);
                }
            }
            Some(Err(_)) | None => break,
        }
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(word: &str) -> Self {
            Self(std::env::temp_dir().join(format!("t-{}-{word}.journal", std::process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn tenancy(number: u64) -> Tenancy {
        Tenancy { number, bus: "a".to_owned(), instance: u64::MAX, lane: 3, epoch: 9 }
    }

    fn intent(tenancy: u64, position: u64, id: u64) -> Intent {
        Intent { tenancy, position, id, occurrence: 0 }
    }

    #[test]
    fn later_intent_takes_the_place_of_one_for_the_same_position() {
        let scratch = Scratch::new("place");
        let (mut journal, before) = Journal::open(&scratch.0).unwrap();
        assert_eq!((before, journal.is_empty()), (Vec::new(), true));
        journal.open_tenancy(&tenancy(1)).unwrap();
        journal.intend(intent(1, u64::MAX, 7)).unwrap();
        journal.intend(intent(1, 0, 8)).unwrap();
        journal.intend(intent(1, 0, 9)).unwrap();
        journal.intend(intent(1, 1, 10)).unwrap();
        journal.retract();
        journal.open_tenancy(&tenancy(2)).unwrap();
        journal.intend(intent(5, 0, 11)).unwrap();
        drop(journal);
        let (mut journal, left) = Journal::open(&scratch.0).unwrap();
        let positions = [(u64::MAX, intent(1, u64::MAX, 7)), (0, intent(1, 0, 9))];
        let expected = vec![(tenancy(1), BTreeMap::from(positions)), (tenancy(2), BTreeMap::new())];
        assert_eq!(left, expected);
        journal.clear().unwrap();
        assert_eq!(Journal::open(&scratch.0).unwrap().1, Vec::new());
    }

    #[test]
    fn journal_that_was_cut_short_anywhere_is_read_up_to_there() {
        let scratch = Scratch::new("cut");
        let (mut journal, _) = Journal::open(&scratch.0).unwrap();
        journal.open_tenancy(&tenancy(1)).unwrap();
        journal.intend(intent(1, 5, 7)).unwrap();
        let bytes = std::fs::read(&scratch.0).unwrap();
        let whole = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for len in 0..=bytes.len() {
            let contents = read(&bytes[..len]);
            let intents = contents.first().map_or(0, |(_, intents)| intents.len());
            let expected = (usize::from(len >= whole), usize::from(len == bytes.len()));
            assert_eq!((contents.len(), intents), expected, "{len} bytes");
        }
        assert_eq!(read(b"\0\0\n{}\nnot a line\n"), Vec::new());
    }

    #[test]
    fn journal_that_is_full_refuses_and_keeps_what_it_has() {
        let scratch = Scratch::new("full");
        let (mut journal, _) = Journal::open(&scratch.0).unwrap();
        journal.len = BYTES_MAX - 10;
        let error = journal.intend(intent(1, 5, 7)).unwrap_err();
        assert!(error.to_string().contains("is full"), "{error}");
        assert_eq!(journal.len, BYTES_MAX - 10);
    }
}
