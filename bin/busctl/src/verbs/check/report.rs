//! What `check` found: its parts, the verdict, and how they are told.

use super::limit::{Amount, Limit, State};
use super::look::{Seen, Silence};
use crate::exit::Failure;
use crate::output::{Out, Paint};
use crate::units::format_count;
use busway::{ConsumerStat, CursorStat, Participant};
use serde::Serialize;

/// Everything that was found.
pub struct Report {
    bus: String,
    parts: Vec<Part>,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Part {
    check: &'static str,
    state: State,
    /// `null` where nothing is counted.
    value: Option<Amount>,
    unit: Option<&'static str>,
    warning: Option<Amount>,
    critical: Option<Amount>,
    /// Whose value it is.
    participant: Option<Who>,
    message: String,
}

/// Who has the greatest value.
#[derive(Clone, Serialize)]
struct Who {
    name: String,
    /// 0 of a group, which is no process.
    pid: u32,
    seat: u32,
    group: bool,
    /// The lane on which most of it is.
    lane: Option<u32>,
}

/// The document of `check --format json`.
#[derive(Serialize)]
pub struct Document<'a> {
    bus: &'a str,
    state: State,
    checks: &'a [Part],
}

impl Report {
    /// Nothing found yet.
    pub fn new(bus: &str) -> Self {
        Self { bus: bus.to_owned(), parts: Vec::new() }
    }

    /// The worst state of all parts.
    pub fn state(&self) -> State {
        self.parts.iter().map(|part| part.state).max().unwrap_or(State::Ok)
    }

    /// What a bus should be whatever its load.
    pub fn health(&mut self, seen: &Seen) {
        let stat = &seen.stat;
        let mut wrong = Vec::new();
        if stat.removed {
            wrong.push(String::from("the bus was removed"));
        }
        if seen.is_truncated {
            wrong.push(String::from("its segment was cut short"));
        }
        if stat.corruptions > 0 {
            let count = format_count(stat.corruptions);
            wrong.push(format!("impossible words were met, so far: {count}"));
        }
        for dead in &seen.dead {
            wrong.push(format!(
                "{} seat {} ({:?}, pid {}) is held by the dead",
                dead.role, dead.seat, dead.name, dead.pid
            ));
        }
        let (state, message) = if wrong.is_empty() {
            (State::Ok, String::from("healthy"))
        } else {
            (State::Critical, wrong.join(", "))
        };
        self.parts.push(Part {
            check: "health",
            state,
            value: None,
            unit: None,
            warning: None,
            critical: None,
            participant: None,
            message,
        });
    }

    /// The consumer or group that is the furthest behind.
    pub fn lag(&mut self, seen: &Seen, limit: Option<Limit>) {
        let worst = seen.stat.consumers.iter().max_by_key(|consumer| consumer.lag);
        let who = worst.filter(|one| one.lag > 0).map(|one| Who::new(one, |lane| lane.lag));
        let value = Amount::Frames(worst.map_or(0, |consumer| consumer.lag));
        self.measured("lag", value, limit, who, "");
    }

    /// The consumer that has lost the most.
    pub fn loss(&mut self, seen: &Seen, limit: Option<Limit>) {
        let worst = seen.stat.consumers.iter().max_by_key(|consumer| consumer.lost);
        let who = worst.filter(|one| one.lost > 0).map(|one| Who::new(one, |lane| lane.lost));
        let value = Amount::Frames(worst.map_or(0, |consumer| consumer.lost));
        self.measured("lost", value, limit, who, "");
    }

    /// How long nothing came, if that was asked.
    pub fn age(&mut self, seen: &Seen, limit: Option<Limit>) {
        let (ns, why) = match seen.silence {
            None => return,
            Some(Silence::SinceFrame(ns)) => (ns, ""),
            Some(Silence::SinceCreation(ns)) => (ns, " without a frame since it was made"),
            Some(Silence::Watched { waited_ns, came: true }) => (waited_ns, " until a frame came"),
            Some(Silence::Watched { waited_ns, came: false }) => {
                (waited_ns, " watched, and no frame came")
            }
        };
        self.measured("age", Amount::Age(ns), limit, None, why);
    }

    /// How fast frames come, if that was asked.
    pub fn rate(&mut self, seen: &Seen, limit: Option<Limit>) {
        if let Some(hz) = seen.rate_hz {
            self.measured("rate", Amount::Rate(hz), limit, None, "");
        }
    }

    fn measured(
        &mut self,
        check: &'static str,
        value: Amount,
        limit: Option<Limit>,
        participant: Option<Who>,
        why: &str,
    ) {
        let state = limit.map_or(State::Ok, |limit| limit.state(value));
        let side = if matches!(value, Amount::Rate(_)) { "least" } else { "most" };
        let allowed = limit.map(|limit| format!(" (at {side} {})", limit.at(state).text()));
        let whose = participant.as_ref().map(|who| format!(": {}", who.text()));
        let message =
            [value.text(), why.to_owned(), allowed.unwrap_or_default(), whose.unwrap_or_default()]
                .concat();
        self.parts.push(Part {
            check,
            state,
            value: Some(value),
            unit: Some(value.unit()),
            warning: limit.and_then(|limit| limit.warning),
            critical: limit.map(|limit| limit.critical),
            participant,
            message,
        });
    }

    /// A line for each part, for people.
    pub fn print(&self, out: &Out) -> Result<(), Failure> {
        for part in &self.parts {
            let paint = match part.state {
                State::Ok => Paint::Green,
                State::Warning => Paint::Yellow,
                State::Critical => Paint::Red,
            };
            let state = out.paint(paint, format_args!("{:<8}", part.state.name()));
            out.line(format_args!("{state} {:<6} {}", part.check, part.message))?;
        }
        Ok(())
    }

    /// All of it, for programs.
    pub fn document(&self) -> Document<'_> {
        Document { bus: &self.bus, state: self.state(), checks: &self.parts }
    }

    /// The line of a monitoring plugin: the verdict, what is wrong or else everything, and after the bar
    /// the performance data.
    pub fn plugin_line(&self) -> String {
        let worst = self.state();
        // What is wrong; of a bus with which nothing is, all of it.
        let told = self.parts.iter().filter(|part| worst == State::Ok || part.state != State::Ok);
        let told: Vec<String> = told.map(Part::words).collect();
        let text = one_line(&format!("{}: {}", self.bus, told.join(", ")));
        let data: Vec<String> = self.parts.iter().filter_map(Part::performance).collect();
        format!("BUSWAY {} - {text} | {}", worst.name().to_uppercase(), data.join(" "))
    }
}

impl Part {
    /// What it says, with what it is of where that does not say so by itself.
    fn words(&self) -> String {
        match self.value {
            Some(_) => format!("{} {}", self.check, self.message),
            None => self.message.clone(),
        }
    }

    /// `label=value;warning;critical;least`.
    fn performance(&self) -> Option<String> {
        let range = |limit: Option<Amount>| limit.map(Amount::range).unwrap_or_default();
        let value = self.value?.measured();
        Some(format!("{}={value};{};{};0", self.check, range(self.warning), range(self.critical)))
    }
}

impl Who {
    fn new(consumer: &ConsumerStat, counted: impl Fn(&CursorStat) -> u64) -> Self {
        let Participant { name, pid, seat, group, .. } = &consumer.participant;
        let lane = consumer.lanes.iter().max_by_key(|lane| counted(lane)).map(|lane| lane.lane);
        Self { name: name.clone(), pid: *pid, seat: *seat, group: *group, lane }
    }

    fn text(&self) -> String {
        let lane = self.lane.map(|lane| format!(", most on lane {lane}")).unwrap_or_default();
        if self.group {
            format!("group {:?}{lane}", self.name)
        } else {
            format!("consumer {:?}, pid {}{lane}", self.name, self.pid)
        }
    }
}

/// Text that stays before the bar of a plugin's line: names on a bus are what participants wrote there.
pub fn one_line(text: &str) -> String {
    let kept = |letter: char| match letter {
        '|' => '/',
        letter if letter.is_control() => ' ',
        letter => letter,
    };
    text.chars().map(kept).collect()
}
