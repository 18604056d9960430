//! The watch's thread: what is looked at, when, and what is done about it.
//!
//! | when | what |
//! |---|---|
//! | a process ends | the seats it held are recovered, with growing pauses until its lock is free |
//! | every 200 ms, or when asked | new and removed segments; buses whose seats changed |
//! | every 2 s | the locks of all attached seats, for those of whom no pidfd tells |

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use busway::{Bus, Error};

use super::adopted::{Adopted, Changes};
use super::journal;
use super::listing::Listing;
use super::processes::Processes;
use super::{Counts, Shared};
use crate::segment::{self, inode};

/// Time between two looks at what exists and who is attached.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Time between two looks at the locks of those who are attached.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);
/// First pause when a dead process's lock is not yet free; each further one is twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(1);
/// Longest such pause.
const RETRY_LONGEST: Duration = Duration::from_millis(64);
/// After this long the sweep takes over. A process with hundreds of gigabytes takes that long.
const RETRY_FOR: Duration = Duration::from_secs(10);
/// Longest time between two attempts to open a segment that could not be opened.
const REOPEN_LONGEST: Duration = Duration::from_secs(5);

/// Everything that the thread owns.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    processes: Processes,
    listing: Listing,
    buses: BTreeMap<String, Adopted>,
    unreadable: BTreeMap<String, Unreadable>,
    deaths: Vec<Death>,
    next_look: Instant,
    next_sweep: Instant,
    seats_recovered: u64,
    /// What the service manager was told last.
    announced: Option<Counts>,
}

/// A segment that could not be opened; its rights may change.
struct Unreadable {
    next_try: Instant,
    pause: Duration,
    reason: String,
}

/// A process that has ended and whose seats are not yet recovered.
struct Death {
    pid: u32,
    since: Instant,
    next_try: Instant,
    pause: Duration,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            processes: Processes::new(&shared.waker)?,
            shared,
            listing: Listing::default(),
            buses: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            deaths: Vec::new(),
            next_look: now,
            next_sweep: now + SWEEP_INTERVAL,
            seats_recovered: 0,
            announced: None,
        })
    }

    /// The first look, before anybody is served.
    pub(super) fn adopt_all(&mut self) {
        self.look();
        self.recover_due();
        self.report();
    }

    /// Watches until told to stop.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            let retries = self.deaths.iter().map(|death| death.next_try);
            let next = retries.chain([self.next_look]).min().unwrap_or(now);
            let woken = self.processes.wait(&self.shared.waker, next.duration_since(now));
            if self.shared.lock().stop {
                return;
            }
            for pid in woken.ended {
                self.note_death(pid);
            }
            if woken.asked || Instant::now() >= self.next_look {
                self.look();
            }
            self.recover_due();
            self.report();
        }
    }

    fn look(&mut self) {
        let now = Instant::now();
        self.next_look = now + LOOK_INTERVAL;
        self.drop_broken();
        if self.listing.may_have_changed() {
            self.relist();
        }
        self.retry_unreadable(now);
        let mut is_changed = false;
        for (name, adopted) in &mut self.buses {
            is_changed |= look_at(name, adopted, &mut self.seats_recovered);
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_INTERVAL;
            for (name, adopted) in &mut self.buses {
                if adopted.attached().next().is_some() {
                    let changes = adopted.look_closely();
                    is_changed |= act_on(&changes, name, adopted, &mut self.seats_recovered);
                }
            }
        }
        if is_changed {
            self.watch_processes();
        }
    }

    /// Adopts what is new, forgets what is gone.
    fn relist(&mut self) {
        let names: BTreeSet<String> = match Bus::list() {
            Ok(names) => names.into_iter().collect(),
            Err(error) => {
                tracing::warn!(%error, "cannot list the segments");
                return;
            }
        };
        self.unreadable.retain(|name, _| names.contains(name));
        let gone = |name: &String, adopted: &Adopted| inode(name) != Some(adopted.inode);
        let removed: Vec<String> = self
            .buses
            .iter()
            .filter(|(name, adopted)| gone(name, adopted))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &removed {
            self.buses.remove(name);
            tracing::info!(bus = name, "bus is gone");
        }
        for name in names {
            if !self.buses.contains_key(&name) && !self.unreadable.contains_key(&name) {
                self.adopt(name);
            }
        }
        if !removed.is_empty() {
            self.watch_processes();
        }
    }

    /// Stops to watch buses whose segment somebody cut short. What is there by now, if it can be
    /// opened, is adopted like any other.
    fn drop_broken(&mut self) {
        let before = self.buses.len();
        self.buses.retain(|name, adopted| {
            let is_whole = !adopted.is_truncated();
            if !is_whole {
                tracing::warn!(bus = name, "its segment was cut short while it was watched");
            }
            is_whole
        });
        if self.buses.len() != before {
            self.listing.forget();
            self.watch_processes();
        }
    }

    fn adopt(&mut self, name: String) {
        let before = inode(&name);
        let opened = segment::open(&name);
        match (opened, before) {
            (Ok(bus), Some(found)) if inode(&name) == before => {
                let adopted = Adopted::new(bus, found);
                tracing::info!(bus = name, bytes = adopted.segment_bytes(), "watching");
                self.unreadable.remove(&name);
                self.buses.insert(name, adopted);
            }
            // Gone or replaced while we looked: the directory has changed, so the next look lists
            // again. Or a table: its writers need nobody to give back what they leave.
            (Ok(_) | Err(Error::NotFound { .. } | Error::WrongKind { .. }), _) => {
                self.unreadable.remove(&name);
            }
            (Err(error), _) => self.note_unreadable(name, error.to_string()),
        }
    }

    /// Says so at once and whenever the reason changes, and tries again with growing pauses.
    fn note_unreadable(&mut self, name: String, reason: String) {
        let pause = match self.unreadable.get(&name) {
            Some(known) if known.reason == reason => (known.pause * 2).min(REOPEN_LONGEST),
            _ => {
                tracing::warn!(bus = name, reason, "cannot open this segment");
                LOOK_INTERVAL
            }
        };
        let next_try = Instant::now() + pause;
        self.unreadable.insert(name, Unreadable { next_try, pause, reason });
    }

    fn retry_unreadable(&mut self, now: Instant) {
        let due: Vec<String> = self
            .unreadable
            .iter()
            .filter(|(_, unreadable)| now >= unreadable.next_try)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.adopt(name);
        }
    }

    /// Watches the processes that are attached now; those that have ended already are dead.
    fn watch_processes(&mut self) {
        let pids = self.buses.values().flat_map(Adopted::attached).map(|who| who.pid).collect();
        for pid in self.processes.watch_only(&pids) {
            self.note_death(pid);
        }
    }

    fn note_death(&mut self, pid: u32) {
        let now = Instant::now();
        if self.deaths.iter().all(|death| death.pid != pid) {
            self.deaths.push(Death { pid, since: now, next_try: now, pause: RETRY_FIRST });
        }
    }

    /// Recovers the seats of dead processes whose next attempt is due.
    fn recover_due(&mut self) {
        let now = Instant::now();
        let mut is_changed = false;
        let mut deaths = std::mem::take(&mut self.deaths);
        deaths.retain_mut(|death| {
            if now < death.next_try {
                return true;
            }
            let mut is_left = false;
            for (name, adopted) in &mut self.buses {
                let holds = |adopted: &Adopted| adopted.attached().any(|who| who.pid == death.pid);
                if holds(adopted) {
                    is_changed |= look_at(name, adopted, &mut self.seats_recovered);
                    is_changed |= recover(name, adopted, &mut self.seats_recovered);
                    is_left |= holds(adopted);
                }
            }
            if is_left && now.duration_since(death.since) > RETRY_FOR {
                let pid = death.pid;
                tracing::warn!(pid, "ended, and its seats are still locked; looking on slowly");
                return false;
            }
            death.next_try = now + death.pause;
            death.pause = (death.pause * 2).min(RETRY_LONGEST);
            is_left
        });
        self.deaths.append(&mut deaths);
        if is_changed {
            self.watch_processes();
        }
    }

    /// Tells the handles, and the service manager when something changed.
    fn report(&mut self) {
        let participants: usize = self.buses.values().map(|bus| bus.attached().count()).sum();
        let counts = Counts {
            buses: self.buses.len() as u64,
            unreadable: self.unreadable.len() as u64,
            participants: participants as u64,
            seats_recovered: self.seats_recovered,
        };
        let mut state = self.shared.lock();
        state.counts = counts;
        state.looked = Instant::now();
        drop(state);
        if self.announced != Some(counts) {
            self.announced = Some(counts);
            let status = format!("{} buses, {participants} participants", counts.buses);
            // Without a service manager this does nothing; one that does not listen is no reason
            // to stop.
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&status)]);
        }
    }
}

/// Looks at one bus and logs what changed. Says whether anything did.
fn look_at(name: &str, adopted: &mut Adopted, seats_recovered: &mut u64) -> bool {
    match adopted.look() {
        Some(changes) => act_on(&changes, name, adopted, seats_recovered),
        None => false,
    }
}

/// Logs what changed and recovers the seats of the dead. Says whether anybody came or went.
fn act_on(changes: &Changes, name: &str, adopted: &mut Adopted, seats_recovered: &mut u64) -> bool {
    journal::tell(changes, name, adopted.info());
    let is_recovered = changes.any_dead && recover(name, adopted, seats_recovered);
    is_recovered || !changes.attached.is_empty() || !changes.gone.is_empty()
}

/// Gives back the seats of the dead of one bus and logs each. Says whether there were any.
fn recover(name: &str, adopted: &mut Adopted, seats_recovered: &mut u64) -> bool {
    let recovered = match adopted.recover() {
        Ok(recovered) => recovered,
        Err(error) => {
            tracing::debug!(bus = name, %error, "cannot recover seats");
            return false;
        }
    };
    for seat in &recovered {
        *seats_recovered += 1;
        journal::tell_recovery(name, seat);
    }
    !recovered.is_empty()
}
