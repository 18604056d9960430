//! What `--fix` does, and the argument that it harms nobody.
//!
//! * **A seat is given back** when its holder is dead: the library takes the seat's lock, which the
//!   kernel held for the holder until its last mapping was gone. Anybody may, at any time.
//! * **A damaged segment is removed** when no seat in it is locked, nobody who can be looked into has
//!   it open or mapped, and it was not changed just now: then nobody is making it, and nobody can
//!   attach to it. Removing takes its name away and nothing else: should somebody have it mapped
//!   whom this user cannot see, that one keeps it.
//! * **A bus that says it was removed is removed** when no seat in it is locked: somebody has decided
//!   so already, and was cut off. Whoever looks on may, and learns no more by its name.
//!
//! Never removed: a bus that can be attached to, whoever made it and however long ago its creator
//! died, since buses outlive their creators; a segment of another version; what is not a file.

use super::usage::{Locks, Usage};
use super::{Finding, Level, file};
use busd::api::Participant;
use busway::{Bus, Error, Role};
use serde::Serialize;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

/// A file that changed less long ago may be in the making, by a program in another pid namespace.
const SETTLED: Duration = Duration::from_secs(10);

/// What can be done about a finding.
#[derive(Debug, Serialize)]
pub struct Remedy {
    #[serde(flatten)]
    action: Action,
    /// Why it harms nobody.
    proof: String,
    /// What was done; `null` without `--fix`, or when it failed.
    done: Option<String>,
    /// Why it could not be done.
    failed: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
enum Action {
    RemoveSegment {
        #[serde(skip)]
        bus: String,
        /// Whether it says itself that it was removed.
        #[serde(skip)]
        was_removed: bool,
        #[serde(skip)]
        identity: (u64, u64),
    },
    GiveBackSeat {
        #[serde(skip)]
        bus: String,
        role: Role,
        seat: u32,
        #[serde(skip)]
        epoch: u64,
    },
}

impl Remedy {
    /// Of a damaged segment, with the proof that nobody uses it.
    pub fn remove_damaged(bus: &str, meta: &Metadata, proof: String) -> Self {
        Self::remove(bus, meta, proof, false)
    }

    /// Of a bus that says it was removed, with the proof that nobody is attached.
    pub fn remove_again(bus: &str, meta: &Metadata, proof: String) -> Self {
        Self::remove(bus, meta, proof, true)
    }

    fn remove(bus: &str, meta: &Metadata, proof: String, was_removed: bool) -> Self {
        let identity = (meta.dev(), meta.ino());
        Self::new(Action::RemoveSegment { bus: bus.to_owned(), was_removed, identity }, proof)
    }

    pub fn give_back(dead: &Participant) -> Self {
        let (bus, role, seat, epoch) = (dead.bus.clone(), dead.role, dead.seat, dead.epoch);
        let proof = "the kernel has released the lock of its last mapping".to_owned();
        Self::new(Action::GiveBackSeat { bus, role, seat, epoch }, proof)
    }

    fn new(action: Action, proof: String) -> Self {
        Self { action, proof, done: None, failed: None }
    }

    /// What is said of it, before and after.
    pub fn words(&self) -> String {
        let would = match self.action {
            Action::RemoveSegment { .. } => "remove it",
            Action::GiveBackSeat { .. } => "give the seat back",
        };
        match (&self.done, &self.failed) {
            (Some(done), _) => format!("{done}: {}", self.proof),
            (None, Some(failed)) => format!("could not {would}: {failed}"),
            (None, None) => format!("--fix would {would}: {}", self.proof),
        }
    }
}

/// Why a damaged segment is of no use to anybody; `Err` with why it may be.
pub fn unused_segment(meta: &Metadata) -> Result<String, String> {
    // A time of change in the future is one that nobody can judge by.
    let age = meta.modified().ok().and_then(|changed| changed.elapsed().ok());
    if age.is_none_or(|age| age < SETTLED) {
        let seconds = SETTLED.as_secs();
        return Err(format!("it changed less than {seconds} s ago, so somebody may be at work"));
    }
    let usage = Usage::of(meta).map_err(|error| format!("/proc cannot be read: {error}"))?;
    usage.proof_of_none()
}

/// Why nobody takes part in a bus that was removed; `Err` with why somebody may.
pub fn unattached_segment(meta: &Metadata) -> Result<String, String> {
    Locks::on(meta).proof_of_none()
}

/// Does it.
pub fn apply(finding: &mut Finding) {
    let Some(remedy) = &mut finding.fix else {
        return;
    };
    let result = match &remedy.action {
        Action::RemoveSegment { bus, was_removed, identity } => {
            remove(bus, *was_removed, *identity)
        }
        Action::GiveBackSeat { bus, role, seat, epoch } => give_back(bus, *role, *seat, *epoch),
    };
    match result {
        Ok(done) => {
            remedy.done = Some(done);
            finding.level = Level::Fixed;
            finding.what_to_do = None;
        }
        Err(error) => remedy.failed = Some(error),
    }
}

fn remove(name: &str, was_removed: bool, identity: (u64, u64)) -> Result<String, String> {
    // Looked at again right before: what came in its place meanwhile is somebody's.
    match file::metadata(name) {
        None => return Ok("it is gone already".to_owned()),
        Some(now) if (now.dev(), now.ino()) != identity => {
            return Err("another file has its name by now".to_owned());
        }
        Some(now) if was_removed => drop(unattached_segment(&now)?),
        Some(now) => drop(unused_segment(&now)?),
    }
    match Bus::remove(name) {
        Ok(()) => Ok("removed it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn give_back(name: &str, role: Role, seat: u32, epoch: u64) -> Result<String, String> {
    let bus = match Bus::open(name) {
        Ok(bus) => bus,
        Err(Error::NotFound { .. }) => return Ok("the bus is gone already".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let reclaimed = bus.reclaim().map_err(|error| error.to_string())?;
    if let Some(ours) = reclaimed.iter().find(|one| (one.role, one.seat) == (role, seat)) {
        return Ok(match role {
            Role::Producer => {
                format!("gave the seat back, its lane goes on at position {}", ours.position)
            }
            Role::Consumer => "gave the seat back, it holds up nobody any more".to_owned(),
        });
    }
    let is_left =
        bus.participants().iter().any(|one| (one.role, one.seat, one.epoch) == (role, seat, epoch));
    if is_left {
        Err("somebody is giving it back just now".to_owned())
    } else {
        Ok("it has been given back by now".to_owned())
    }
}
