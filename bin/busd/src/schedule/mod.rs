//! Schedules: frames that the daemon publishes at their time, kept across its death.
//!
//! ```text
//! state_dir   where they are kept
//! record      one schedule, as it is stored
//! store       the database: what was confirmed is in it
//! journal     what is about to be published, written down before it is
//! publisher   the daemon's ends on the buses; attempts, pauses, giving up
//! settle      after a death: what of the journal was published
//! keeper      all of that together, and the thread that brings the database up to date
//! ```
//!
//! **Once, whatever dies when.** A frame is published by one store to its lane's head, in memory that
//! outlives the daemon. So what has to be known after a death is where that head stood. Before the store,
//! the journal says "schedule 7 is to stand at position 41 of lane 0, in its 3rd tenancy"; after a
//! death the bus says where that tenancy ended (`Bus::tenancy_end`), whoever has published on the lane
//! since. Position 41 before the end: it was published, and the database is told. Otherwise it was not,
//! and it is still due. The database itself is written after the fact, at leisure, so that no disk stands
//! between an event and its time.
//!
//! What cannot be known is not guessed: when the bus is gone, or another producer that asks for the same
//! has had the lane, the schedule is marked `doubtful` and left to a person. `docs/scheduling.md` has the
//! argument at length.
//!
//! Nothing is made, opened or started before there is a schedule.

mod journal;
mod keeper;
mod publisher;
mod record;
mod settle;
mod state_dir;
mod store;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::{CreateSchedule, Schedule};
use crate::lock::LockError;
use keeper::Keeper;
pub(crate) use state_dir::StateDir;
use state_dir::StateDirError;
use store::StoreError;

/// The schedules of this daemon, opened when first needed. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Schedules {
    shared: Arc<Shared>,
}

struct Shared {
    state_dir: StateDir,
    keeper: Mutex<Option<Arc<Keeper>>>,
}

/// Why something cannot be done with a schedule.
#[derive(Debug)]
pub(crate) enum ScheduleError {
    /// What is asked for makes no sense.
    Bad(String),
    /// The bus is not there, or cannot be used.
    Bus(busway::Error),
    /// There is no such schedule (any more).
    NotFound(u64),
    /// There are as many as there may be.
    TooMany(String),
    /// Where they are kept cannot be used.
    StateDir(StateDirError),
    /// Another daemon keeps its schedules there.
    Locked(LockError),
    /// The database failed.
    Store(StoreError),
    /// The system gave no thread or descriptor.
    Io { action: &'static str, source: io::Error },
}

impl Schedules {
    /// Those that are kept in this directory.
    pub(crate) fn new(state_dir: StateDir) -> Self {
        Self { shared: Arc::new(Shared { state_dir, keeper: Mutex::new(None) }) }
    }

    /// Takes up what an earlier daemon left, if it left anything. One that cannot is none the worse as
    /// a daemon; it tries again when somebody asks.
    pub(crate) fn resume(&self) {
        if let Err(error) = self.existing() {
            tracing::error!(%error, "cannot take up the schedules");
        }
    }

    /// Ends the threads, and brings the database up to date.
    pub(crate) fn stop(&self) {
        if let Some(keeper) = self.lock().take() {
            keeper.stop();
        }
    }

    pub(crate) fn create(
        &self,
        wish: &CreateSchedule,
        uid: u32,
    ) -> Result<Schedule, ScheduleError> {
        self.keeper()?.create(wish, uid)
    }

    pub(crate) fn list(&self) -> Result<Vec<Schedule>, ScheduleError> {
        self.existing()?.map_or_else(|| Ok(Vec::new()), |keeper| keeper.list())
    }

    pub(crate) fn show(&self, id: u64) -> Result<Schedule, ScheduleError> {
        let found = self.list()?.into_iter().find(|schedule| schedule.id == id);
        found.ok_or(ScheduleError::NotFound(id))
    }

    pub(crate) fn cancel(&self, id: u64) -> Result<Schedule, ScheduleError> {
        self.existing()?.ok_or(ScheduleError::NotFound(id))?.cancel(id)
    }

    /// The keeper, if there is anything to keep.
    fn existing(&self) -> Result<Option<Arc<Keeper>>, ScheduleError> {
        if self.lock().is_none() && !self.shared.state_dir.is_in_use() {
            return Ok(None);
        }
        self.keeper().map(Some)
    }

    fn keeper(&self) -> Result<Arc<Keeper>, ScheduleError> {
        let mut slot = self.lock();
        if let Some(keeper) = &*slot {
            return Ok(Arc::clone(keeper));
        }
        let keeper = Arc::new(Keeper::open(&self.shared.state_dir)?);
        *slot = Some(Arc::clone(&keeper));
        Ok(keeper)
    }

    /// Held while the keeper is being opened; whoever panicked then has left none.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Keeper>>> {
        self.shared.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(message) | Self::TooMany(message) => f.pad(message),
            Self::Bus(error) => error.fmt(f),
            Self::NotFound(id) => {
                write!(f, "there is no schedule {id}: it was published, cancelled, or never made")
            }
            Self::StateDir(error) => error.fmt(f),
            Self::Locked(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Io { action, source } => write!(f, "cannot {action}: {source}"),
        }
    }
}

impl std::error::Error for ScheduleError {}

impl From<StoreError> for ScheduleError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
