//! The schedules of one directory: database, journal, clock and publisher put together.
//!
//! | step | what a death right after it leaves |
//! |---|---|
//! | create: database, on disk | a schedule that nobody was told of; it is published |
//! | create: answer | a schedule |
//! | due: intent in the journal | not published: the head says so |
//! | due: published | published: the head says so |
//! | later: database, on disk | the same, and the journal says it once more |
//! | later: journal emptied | nothing to settle |
//! | cancel: out of the queue | a schedule: nobody was told that it is cancelled |
//! | cancel: database, on disk; answer | nothing |

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use busway::{FrameLayout, PublishError};
use busway_schedule::{Clock, Scheduler, SystemClock};

use super::journal::Journal;
use super::publisher::{Job, Publisher};
use super::record::{Change, Elapsed, Record, State};
use super::store::{SCHEDULES_MAX, Store};
use super::{ScheduleError, StateDir, settle};
use crate::api::{CreateSchedule, Schedule};
use crate::lock::DaemonLock;
use crate::segment;

/// Changes that come within this time go to the database together.
const GATHER: Duration = Duration::from_millis(20);
/// Pause after an error of the database.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time for the last word to the database when the daemon ends. What is not said then is in the
/// journal.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest payload: schedules are kept in memory too, 160 MB of them at most.
const PAYLOAD_BYTES_MAX: usize = 16 << 10;
/// The shortest period: each time is two writes to a disk, in the long run.
const EVERY_NS_MIN: u64 = 10_000_000;
/// How long a frame that cannot be published is tried again, unless the wish says otherwise.
const GIVE_UP_AFTER_NS: u64 = 600_000_000_000;

/// Keeps schedules, from opening to [`stop`](Self::stop).
pub(super) struct Keeper {
    store: Arc<Store>,
    publisher: Arc<Publisher>,
    clock: SystemClock,
    /// Tells this start of the machine from others.
    boot_id: String,
    /// `None` when it has been stopped.
    running: Mutex<Option<Running>>,
    _lock: DaemonLock,
}

struct Running {
    scheduler: Scheduler<Job>,
    writer: JoinHandle<()>,
}

impl Keeper {
    /// Opens what is there, settles what a death has left open, and goes on with the rest.
    pub(super) fn open(state_dir: &StateDir) -> Result<Self, ScheduleError> {
        let io = |action| move |source| ScheduleError::Io { action, source };
        state_dir.prepare().map_err(ScheduleError::StateDir)?;
        let lock = DaemonLock::take(&state_dir.lock()).map_err(ScheduleError::Locked)?;
        let store = Arc::new(Store::open(state_dir.database())?);
        let (mut journal, contents) =
            Journal::open(&state_dir.journal()).map_err(io("open the journal of schedules"))?;
        store.apply(&settle::judge(&contents))?;
        journal.clear().map_err(io("empty the journal of schedules"))?;
        let publisher = Arc::new(Publisher::new(journal));
        let clock = SystemClock::new().map_err(io("get a clock for schedules"))?;
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_or_else(|_| String::new(), |id| id.trim().to_owned());
        let sink = Arc::clone(&publisher);
        let scheduler =
            Scheduler::start(move |job: &mut Job, occasion| sink.hand_out(job, occasion))
                .map_err(io("start the thread of schedules"))?;
        let pending: Vec<_> =
            store.all()?.into_iter().filter(|(_, one)| one.is_pending()).collect();
        let (own_store, own_publisher) = (Arc::clone(&store), Arc::clone(&publisher));
        let writer = thread::Builder::new()
            .name("schedule-store".to_owned())
            .spawn(move || keep_up(&own_store, &own_publisher))
            .map_err(io("start the thread of the schedules' database"))?;
        for (id, record) in &pending {
            scheduler.schedule_as(*id, record.plan(&boot_id), Job::of(record));
        }
        tracing::info!(pending = pending.len(), "schedules");
        let running = Mutex::new(Some(Running { scheduler, writer }));
        Ok(Self { store, publisher, clock, boot_id, running, _lock: lock })
    }

    /// Takes a schedule on. When this returns it is on disk.
    pub(super) fn create(
        &self,
        wish: &CreateSchedule,
        uid: u32,
    ) -> Result<Schedule, ScheduleError> {
        let record = self.record(wish, uid)?;
        check_fits(&record)?;
        let id = self.store.insert(&record)?.ok_or_else(|| {
            ScheduleError::TooMany(format!("there are {SCHEDULES_MAX} schedules already"))
        })?;
        self.schedule(id, &record)?;
        Ok(self.show(id, &record))
    }

    /// Every schedule, as it stands.
    pub(super) fn list(&self) -> Result<Vec<Schedule>, ScheduleError> {
        // What is not in the database yet comes first: noted twice it changes nothing.
        let changes = self.publisher.changes();
        let all = self.store.all()?.into_iter();
        let shown = all.filter_map(|(id, mut record)| {
            apply_all(id, &mut record, &changes).then(|| self.show(id, &record))
        });
        Ok(shown.collect())
    }

    /// Takes a schedule back. When this returns it is off the disk, and is not published any more.
    pub(super) fn cancel(&self, id: u64) -> Result<Schedule, ScheduleError> {
        // From here on nothing of it is published.
        let was_pending = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.as_ref().is_some_and(|running| running.scheduler.cancel(id))
        };
        let changes = self.publisher.changes();
        let found = self.store.get(id).and_then(|found| {
            self.store.remove(id)?;
            Ok(found)
        });
        let mut record = match found {
            Ok(found) => found.ok_or(ScheduleError::NotFound(id))?,
            Err(error) => {
                if was_pending {
                    self.put_back(id, &changes);
                }
                return Err(error.into());
            }
        };
        let attempts = self.publisher.attempts(id);
        self.publisher.forget(id);
        if !apply_all(id, &mut record, &changes) {
            return Err(ScheduleError::NotFound(id));
        }
        Ok(record.show(id, &self.boot_id, self.clock.now(), attempts))
    }

    /// Ends the threads. What the database has not been told then is in the journal.
    pub(super) fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { scheduler, writer }) = running else {
            return;
        };
        drop(scheduler);
        self.publisher.stop();
        let start = Instant::now();
        while !writer.is_finished() {
            if start.elapsed() > STOP_TIMEOUT {
                tracing::warn!("the schedules' database is slow; the journal has the rest");
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if writer.join().is_err() {
            tracing::error!("the thread of the schedules' database had broken off");
        }
    }

    /// Whether or not the database has lost it, nobody was told that it is cancelled.
    fn put_back(&self, id: u64, changes: &[Change]) {
        if let Ok(Some(mut record)) = self.store.get(id)
            && apply_all(id, &mut record, changes)
            && let Err(error) = self.schedule(id, &record)
        {
            tracing::warn!(id, %error, "cannot put a schedule back");
        }
    }

    fn schedule(&self, id: u64, record: &Record) -> Result<(), ScheduleError> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = &*running else {
            let source = std::io::Error::other("the daemon is ending");
            return Err(ScheduleError::Io { action: "schedule it before the next start", source });
        };
        running.scheduler.schedule_as(id, record.plan(&self.boot_id), Job::of(record));
        Ok(())
    }

    fn show(&self, id: u64, record: &Record) -> Schedule {
        record.show(id, &self.boot_id, self.clock.now(), self.publisher.attempts(id))
    }

    fn record(&self, wish: &CreateSchedule, uid: u32) -> Result<Record, ScheduleError> {
        let bad = |message: &str| Err(ScheduleError::Bad(message.to_owned()));
        let now = self.clock.now();
        let (first_unix_ns, after) = match (wish.at_unix_ns, wish.after_ns) {
            (Some(at), None) => (at, None),
            (None, Some(delay)) => {
                let first_ns = now.elapsed_ns.saturating_add(delay);
                let after = Elapsed { first_ns, boot_id: self.boot_id.clone() };
                (now.wall_ns.saturating_add(delay), Some(after))
            }
            _ => return bad("give one of \"at_unix_ns\" and \"after_ns\""),
        };
        if wish.every_ns.is_some_and(|every| every < EVERY_NS_MIN) {
            return bad("\"every_ns\" is at least 10000000, ten milliseconds");
        }
        if wish.payload_hex.len() > 2 * PAYLOAD_BYTES_MAX {
            return bad("\"payload_hex\" has more than 16384 bytes");
        }
        let Some(payload) = crate::api::hex::decode(&wish.payload_hex) else {
            return bad("\"payload_hex\" is not an even number of hexadecimal digits");
        };
        Ok(Record {
            bus: wish.bus.clone(),
            kind: wish.kind,
            payload,
            first_unix_ns,
            after,
            every_ns: wish.every_ns,
            occurrence: 0,
            give_up_after_ns: wish.give_up_after_ns.unwrap_or(GIVE_UP_AFTER_NS),
            created_unix_ns: now.wall_ns,
            uid,
            state: State::Pending,
            published: 0,
            skipped: 0,
            failed: 0,
            doubtful: 0,
            last_error: None,
        })
    }
}

/// The bus has to be there now, and the payload to fit: a slip in a name is told at once and not when the
/// time has come. Later it may go and come back.
fn check_fits(record: &Record) -> Result<(), ScheduleError> {
    busway::check_name(&record.bus).map_err(ScheduleError::Bus)?;
    let bus = segment::open(&record.bus).map_err(ScheduleError::Bus)?;
    let (len, max) = (record.payload.len(), bus.info().payload_bytes as usize);
    let error = match bus.info().frames {
        FrameLayout::Bare if len != max => PublishError::WrongLength { len, want: max },
        FrameLayout::Event if len > max => PublishError::TooLarge { len, max },
        _ => return Ok(()),
    };
    Err(ScheduleError::Bad(error.to_string()))
}

/// `false`: there is nothing left of it.
fn apply_all(id: u64, record: &mut Record, changes: &[Change]) -> bool {
    changes.iter().filter(|change| change.id == id).all(|change| record.apply(change))
}

/// The writer's thread: tells the database what has happened, until there is nothing more to come.
fn keep_up(store: &Store, publisher: &Publisher) {
    loop {
        let (changes, is_last) = publisher.wait_for_changes();
        if !changes.is_empty()
            && let Err(error) = store.apply(&changes)
        {
            tracing::error!(%error, "cannot keep the schedules up to date; trying again");
            if is_last {
                return;
            }
            thread::sleep(PAUSE);
            continue;
        }
        publisher.settle(changes.len());
        if is_last {
            return;
        }
        thread::sleep(GATHER);
    }
}
