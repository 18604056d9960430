//! What was handed out, noted by everybody in one file; and the buses of a test.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use busway::{Bus, Group, GroupMember};

/// How long anything may take before the test gives up. Nothing is asserted about time.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The environment variable that says what a worker is to do.
pub const ROLE: &str = "BUSWAY_TEST_GROUP_ROLE";

/// A bus with its group, letters and journal, all of which are removed, whatever happens.
pub struct Scratch {
    pub name: String,
    pub journal: PathBuf,
}

impl Scratch {
    pub fn new(what: &str) -> Self {
        let name = format!("t-groups-{what}-{}", std::process::id());
        let journal = std::env::temp_dir().join(format!("{name}.journal"));
        Self { name, journal }
    }

    pub fn spawn(&self, role: &str) -> Leashed {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["worker_runs", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, format!("{} {} {role}", self.name, self.journal.display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Leashed(child)
    }

    /// How often each frame is in the journal.
    pub fn read(&self) -> BTreeMap<u64, u32> {
        let bytes = std::fs::read(&self.journal).unwrap_or_default();
        let mut counts = BTreeMap::new();
        for number in bytes.chunks_exact(8) {
            *counts.entry(u64::from_le_bytes(number.try_into().unwrap())).or_default() += 1;
        }
        counts
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = Bus::remove(&self.name);
        let _dead = Bus::remove(&format!("{}.g.dead", self.name));
        let _other = Bus::remove(&format!("{}.h.dead", self.name));
        let _journal = std::fs::remove_file(&self.journal);
    }
}

/// A child that is ended, whatever happens.
pub struct Leashed(pub Child);

impl Drop for Leashed {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _waited = self.0.wait();
    }
}

pub fn open_journal(path: &str) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// Takes what there is until the group has nothing left to do, noting what it acknowledges.
pub fn finish(
    group: &Group,
    member: &mut GroupMember,
    scratch: &Scratch,
    refuses: fn(u64) -> bool,
) {
    let mut journal = open_journal(scratch.journal.to_str().unwrap());
    let deadline = std::time::Instant::now() + PATIENCE;
    while group.stat().unwrap().backlog > 0 {
        assert!(std::time::Instant::now() < deadline, "{:?}", group.stat());
        let Some(taken) = member.receive(Duration::from_millis(20)).unwrap() else {
            continue;
        };
        let number = u64::from_le_bytes(taken.frame().payload().try_into().unwrap());
        let receipt = taken.receipt();
        if refuses(number) {
            // One that came too late is somebody else's to refuse.
            let _refused = member.nack(receipt, Duration::ZERO);
        } else {
            journal.write_all(&number.to_le_bytes()).unwrap();
            let _acknowledged = member.ack(receipt);
        }
    }
}

/// The numbers of a group's dead letters.
pub fn letters(group: &Group) -> Vec<u64> {
    let Some(letters) = group.dead_letters().unwrap() else {
        return Vec::new();
    };
    let list = letters.list().unwrap();
    list.iter().map(|one| u64::from_le_bytes(one.payload[..].try_into().unwrap())).collect()
}
