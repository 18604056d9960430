//! The daemon's ends on the buses: attaches when something is due, writes down what comes next,
//! publishes it, and lets go of the lane when it has not been needed for a while.
//!
//! Everything happens under one lock, which the thread of the scheduler holds for the time of one
//! publish, and the keeper's thread to empty the journal. A lane is left only when the journal is empty:
//! so there is never more than one tenancy of a bus to be asked about after a death.
//!
//! Nothing here waits for a consumer: a full lane, a missing bus, or no free lane is an obstacle, and the
//! same frame is tried again after 1, 2, 4 … 1024 ms until its time to give up. (To attach may wait for a
//! second when the only free seat is just changing hands.)

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use busway::{Bus, Producer, PublishError};
use busway_schedule::{Occasion, Verdict};

use super::journal::{Intent, Journal, Tenancy};
use super::record::{Change, Outcome, Record};
use crate::segment;

/// The name that the daemon's producers have.
const NAME: &str = "busd schedules";
/// First pause after an attempt that failed; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(1);
/// Doublings of the pause at most.
const DOUBLINGS_MAX: u32 = 10;
/// How long a lane is kept after its last use: whoever has few lanes, or removes the bus, wants it back.
const LINGER: Duration = Duration::from_millis(300);
/// Longest sleep of who waits for changes.
const PARK_LONGEST: Duration = Duration::from_secs(10);

/// What is published.
#[derive(Debug)]
pub(super) struct Job {
    bus: String,
    kind: u16,
    payload: Vec<u8>,
    give_up_after: Duration,
}

/// Publishes, and remembers what came of it until the database knows.
pub(super) struct Publisher {
    state: Mutex<State>,
    /// Something is to be done by the keeper's thread.
    attention: Condvar,
}

struct State {
    journal: Journal,
    held: HashMap<String, Held>,
    tenancies: u64,
    /// What the database does not know yet, oldest first.
    changes: Vec<Change>,
    obstacles: HashMap<u64, Obstacle>,
    is_wanted: bool,
    stop: bool,
}

/// A lane of a bus.
struct Held {
    // Before the bus: the end is left first.
    producer: Producer,
    bus: Bus,
    /// Its number in the journal, once it is there.
    tenancy: Option<u64>,
    is_broken: bool,
    used: Instant,
}

/// What stands in the way of a schedule.
struct Obstacle {
    since: Instant,
    attempts: u32,
    reason: String,
}

/// Why an attempt came to nothing.
enum Refusal {
    /// Things may change.
    Now(String),
    /// They will not.
    Forever(String),
}

impl Job {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            bus: record.bus.clone(),
            kind: record.kind,
            payload: record.payload.clone(),
            give_up_after: record.give_up_after(),
        }
    }
}

impl Publisher {
    /// With an empty journal.
    pub(super) fn new(journal: Journal) -> Self {
        let state = State {
            journal,
            held: HashMap::new(),
            tenancies: 0,
            changes: Vec::new(),
            obstacles: HashMap::new(),
            is_wanted: false,
            stop: false,
        };
        Self { state: Mutex::new(state), attention: Condvar::new() }
    }

    /// One attempt to publish what is due.
    pub(super) fn hand_out(&self, job: &Job, occasion: &Occasion) -> Verdict {
        let mut state = self.lock();
        let verdict = state.attempt(job, occasion);
        state.is_wanted = true;
        drop(state);
        self.attention.notify_all();
        verdict
    }

    /// What the database does not know yet.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.lock().changes.clone()
    }

    /// How often a schedule was tried in vain at its present time, and why it was.
    pub(super) fn attempts(&self, id: u64) -> Option<(u32, String)> {
        let state = self.lock();
        state.obstacles.get(&id).map(|obstacle| (obstacle.attempts, obstacle.reason.clone()))
    }

    /// Forgets what stood in the way of a schedule that was cancelled.
    pub(super) fn forget(&self, id: u64) {
        self.lock().obstacles.remove(&id);
    }

    /// Waits until there is something to do; gives what the database is to be told, and whether that is
    /// all that will come.
    pub(super) fn wait_for_changes(&self) -> (Vec<Change>, bool) {
        let state = self.lock();
        let longest = if state.held.is_empty() { PARK_LONGEST } else { LINGER };
        let is_idle = |state: &mut State| !state.is_wanted && !state.stop;
        let waited = self.attention.wait_timeout_while(state, longest, is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.is_wanted = false;
        (state.changes.clone(), state.stop)
    }

    /// The database knows the first `count` changes. If that is all, the journal is emptied, and lanes
    /// that are not needed are left.
    pub(super) fn settle(&self, count: usize) {
        let mut state = self.lock();
        let count = count.min(state.changes.len());
        state.changes.drain(..count);
        if state.changes.is_empty() && state.clear_journal() {
            let is_needed = |held: &Held| !held.is_broken && held.used.elapsed() < LINGER;
            let all = !state.stop;
            state.held.retain(|_, held| all && is_needed(held));
        }
    }

    /// Tells who waits that nothing more will come.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.attention.notify_all();
    }

    /// Whoever panicked with it has left a journal that says at least what was published.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn attempt(&mut self, job: &Job, occasion: &Occasion) -> Verdict {
        let id = occasion.id;
        let outcome = match self.publish(job, occasion) {
            Ok(()) => Outcome::Published,
            Err(Refusal::Forever(reason)) => Outcome::Failed(reason),
            Err(Refusal::Now(reason)) => {
                let obstacle = self.obstacles.entry(id).or_insert_with(|| Obstacle {
                    since: Instant::now(),
                    attempts: 0,
                    reason: String::new(),
                });
                obstacle.attempts = obstacle.attempts.saturating_add(1);
                if obstacle.since.elapsed() < job.give_up_after {
                    obstacle.reason = reason;
                    let doublings = (obstacle.attempts - 1).min(DOUBLINGS_MAX);
                    return Verdict::Again(PAUSE_FIRST * (1 << doublings));
                }
                let attempts = obstacle.attempts;
                Outcome::Failed(format!("{reason}; given up after {attempts} attempts"))
            }
        };
        self.obstacles.remove(&id);
        if let Outcome::Failed(reason) = &outcome {
            tracing::warn!(id, bus = job.bus, reason, "scheduled frame was not published");
        } else {
            tracing::debug!(id, bus = job.bus, late_ns = occasion.late.as_nanos(), "published");
        }
        self.changes.push(Change { id, occurrence: occasion.occurrence, outcome });
        Verdict::Done
    }

    fn publish(&mut self, job: &Job, occasion: &Occasion) -> Result<(), Refusal> {
        self.hold(&job.bus)?;
        let Some(held) = self.held.get_mut(&job.bus) else {
            return Err(Refusal::Now("no lane".to_owned()));
        };
        let journal = |error| Refusal::Now(format!("cannot write the journal: {error}"));
        let tenancy = if let Some(number) = held.tenancy {
            number
        } else {
            self.tenancies += 1;
            let tenancy = held.tenancy(self.tenancies);
            self.journal.open_tenancy(&tenancy).map_err(journal)?;
            held.tenancy = Some(self.tenancies);
            self.tenancies
        };
        let position = held.producer.position();
        let (id, occurrence) = (occasion.id, occasion.occurrence);
        self.journal.intend(Intent { tenancy, position, id, occurrence }).map_err(journal)?;
        held.used = Instant::now();
        let Err(error) = held.producer.try_publish_bytes(job.kind, &job.payload) else {
            return Ok(());
        };
        self.journal.retract();
        match error {
            PublishError::TooLarge { .. } | PublishError::WrongLength { .. } => {
                Err(Refusal::Forever(error.to_string()))
            }
            PublishError::Full | PublishError::TimedOut => Err(Refusal::Now(error.to_string())),
            _ => {
                held.is_broken = true;
                Err(Refusal::Now(error.to_string()))
            }
        }
    }

    /// Makes sure of a lane of the bus that stands under this name now.
    fn hold(&mut self, name: &str) -> Result<(), Refusal> {
        if let Some(held) = self.held.get(name) {
            if !held.is_broken && !held.bus.is_removed() {
                return Ok(());
            }
            // Of the next tenancy the journal may speak only when it is done with this one.
            if !self.changes.is_empty() || !self.clear_journal() {
                return Err(Refusal::Now("the lane was lost; it is being left".to_owned()));
            }
            self.held.remove(name);
        }
        let wait = |error: busway::Error| Refusal::Now(error.to_string());
        let bus = segment::open(name).map_err(wait)?;
        let producer = bus.producer().name(NAME).keep_end(true).attach().map_err(wait)?;
        let used = Instant::now();
        let held = Held { producer, bus, tenancy: None, is_broken: false, used };
        self.held.insert(name.to_owned(), held);
        Ok(())
    }

    /// Empties the journal, whose every intent has an outcome that the database knows. Whether it is.
    fn clear_journal(&mut self) -> bool {
        if self.journal.is_empty() {
            return true;
        }
        if let Err(error) = self.journal.clear() {
            tracing::warn!(%error, "cannot empty the journal of schedules");
            return false;
        }
        self.held.values_mut().for_each(|held| held.tenancy = None);
        true
    }
}

impl Held {
    fn tenancy(&self, number: u64) -> Tenancy {
        let info = self.bus.info();
        Tenancy {
            number,
            bus: info.name.clone(),
            instance: info.instance,
            lane: self.producer.lane(),
            epoch: self.producer.epoch(),
        }
    }
}
