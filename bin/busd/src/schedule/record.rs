//! One schedule, as it is stored, and what happens to it.

use std::time::Duration;

use busway_schedule::{Due, Now, Plan};
use serde::{Deserialize, Serialize};

use crate::api::{Schedule, ScheduleClock, ScheduleState, hex};

/// A schedule. In the database as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) bus: String,
    pub(super) kind: u16,
    #[serde(with = "hex")]
    pub(super) payload: Vec<u8>,
    /// When it is due for the first time, by the clock that it is due by.
    pub(super) first_unix_ns: u64,
    /// The same since the machine's start, and of which start, of one that is due after a while.
    pub(super) after: Option<Elapsed>,
    pub(super) every_ns: Option<u64>,
    /// The next of its times.
    pub(super) occurrence: u64,
    pub(super) give_up_after_ns: u64,
    pub(super) created_unix_ns: u64,
    pub(super) uid: u32,
    pub(super) state: State,
    pub(super) published: u64,
    pub(super) skipped: u64,
    pub(super) failed: u64,
    pub(super) doubtful: u64,
    pub(super) last_error: Option<String>,
}

/// A time since the machine's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Elapsed {
    pub(super) first_ns: u64,
    pub(super) boot_id: String,
}

/// What is to come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// It is to be published.
    Pending,
    /// It could not be published in its time.
    Failed,
    /// Nobody knows whether it was.
    Doubtful,
}

/// Something that has happened to one of a schedule's times, for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) id: u64,
    pub(super) occurrence: u64,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Published,
    Failed(String),
    Doubtful(String),
}

impl Record {
    /// Takes note of a change. What has been noted already changes nothing: a journal may be read
    /// twice. `false`: there is nothing left of the schedule.
    pub(super) fn apply(&mut self, change: &Change) -> bool {
        if change.occurrence < self.occurrence || self.state != State::Pending {
            return true;
        }
        self.skipped = self.skipped.saturating_add(change.occurrence - self.occurrence);
        self.occurrence = change.occurrence.saturating_add(1);
        match &change.outcome {
            Outcome::Published => {
                self.published = self.published.saturating_add(1);
                return self.every_ns.is_some();
            }
            Outcome::Failed(reason) => {
                self.failed = self.failed.saturating_add(1);
                self.last_error = Some(reason.clone());
                self.end(State::Failed);
            }
            Outcome::Doubtful(reason) => {
                self.doubtful = self.doubtful.saturating_add(1);
                self.last_error = Some(reason.clone());
                self.end(State::Doubtful);
            }
        }
        true
    }

    /// One that is due once stays as it ended, to be seen; one that is periodic goes on.
    fn end(&mut self, state: State) {
        if self.every_ns.is_none() {
            self.state = state;
        }
    }

    /// When it is due. A time since another start of the machine is taken by the wall clock.
    pub(super) fn plan(&self, boot_id: &str) -> Plan {
        let first = match &self.after {
            Some(after) if after.boot_id == boot_id => Due::Elapsed(after.first_ns),
            _ => Due::Wall(self.first_unix_ns),
        };
        Plan { first, every_ns: self.every_ns, occurrence: self.occurrence }
    }

    pub(super) fn give_up_after(&self) -> Duration {
        Duration::from_nanos(self.give_up_after_ns)
    }

    pub(super) fn is_pending(&self) -> bool {
        self.state == State::Pending
    }

    /// As it is shown. `attempts` are those at its present time.
    pub(super) fn show(
        &self,
        id: u64,
        boot_id: &str,
        now: Now,
        attempts: Option<(u32, String)>,
    ) -> Schedule {
        let plan = self.plan(boot_id);
        let due_unix_ns = match plan.due() {
            Due::Wall(due) => due,
            Due::Elapsed(due) => now.wall_ns.saturating_add(due).saturating_sub(now.elapsed_ns),
        };
        let state = match self.state {
            State::Pending if attempts.is_some() => ScheduleState::Retrying,
            State::Pending => ScheduleState::Pending,
            State::Failed => ScheduleState::Failed,
            State::Doubtful => ScheduleState::Doubtful,
        };
        let (attempts, reason) = attempts.map_or((0, None), |(count, why)| (count, Some(why)));
        Schedule {
            id,
            bus: self.bus.clone(),
            kind: self.kind,
            payload_bytes: self.payload.len() as u64,
            state,
            due_unix_ns: (self.state == State::Pending).then_some(due_unix_ns),
            clock: match plan.first {
                Due::Wall(_) => ScheduleClock::Wall,
                Due::Elapsed(_) => ScheduleClock::Elapsed,
            },
            every_ns: self.every_ns,
            give_up_after_ns: self.give_up_after_ns,
            attempts,
            last_error: reason.or_else(|| self.last_error.clone()),
            published_count: self.published,
            skipped_count: self.skipped,
            failed_count: self.failed,
            doubtful_count: self.doubtful,
            created_unix_ns: self.created_unix_ns,
            uid: self.uid,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn record(every_ns: Option<u64>) -> Record {
        Record {
            bus: "t-none".to_owned(),
            kind: 7,
            payload: vec![1, 2, 255],
            first_unix_ns: 1_000,
            after: Some(Elapsed { first_ns: 50, boot_id: "this".to_owned() }),
            every_ns,
            occurrence: 0,
            give_up_after_ns: 5,
            created_unix_ns: 1,
            uid: 0,
            state: State::Pending,
            published: 0,
            skipped: 0,
            failed: 0,
            doubtful: 0,
            last_error: None,
        }
    }

    fn change(occurrence: u64, outcome: Outcome) -> Change {
        Change { id: 1, occurrence, outcome }
    }

    #[test]
    fn what_is_noted_twice_is_noted_once() {
        let mut periodic = record(Some(10));
        for _ in 0..2 {
            assert!(periodic.apply(&change(4, Outcome::Published)));
            assert_eq!((periodic.occurrence, periodic.published, periodic.skipped), (5, 1, 4));
        }
        for _ in 0..2 {
            assert!(periodic.apply(&change(5, Outcome::Failed("full".to_owned()))));
            assert_eq!((periodic.occurrence, periodic.failed), (6, 1));
            assert_eq!(periodic.state, State::Pending, "it goes on");
        }
        let mut once = record(None);
        assert!(once.apply(&change(0, Outcome::Doubtful("gone".to_owned()))));
        assert!(once.apply(&change(0, Outcome::Published)), "too late");
        assert_eq!((once.state, once.published, once.doubtful), (State::Doubtful, 0, 1));
        assert!(!record(None).apply(&change(0, Outcome::Published)), "nothing is left");
    }

    #[test]
    fn time_since_another_start_of_the_machine_is_one_of_the_wall_clock() {
        let record = record(Some(10));
        assert_eq!(record.plan("this").first, Due::Elapsed(50));
        assert_eq!(record.plan("another").first, Due::Wall(1_000));
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.contains("\"0102ff\""), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
