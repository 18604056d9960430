//! `torture request`: a server and its callers that are killed and stopped at random and at named points,
//! beside a caller that is not.
//!
//! | promise | how it is broken |
//! |---|---|
//! | a call ends once, at its time at the latest | it ends twice, or was not in flight, or late |
//! | a reply is that of its call | it is another's, or nobody was handed the request |
//! | what was not sent is not carried out | a server was handed it |
//! | a request is carried out once at most | two are handed it, or one twice |
//! | nothing leaks | at the end not every seat can be had, and a call is not answered |
//!
//! Which points a worker comes to, and when it is killed, is drawn from the seed. Workers use
//! `busway_crashable`; the conductor, which is the caller that is not killed, uses `busway`.

mod calls;
pub mod work;

use super::herd::{self, Blows, Worker};
use super::random::Random;
use crate::bench::{Janitor, Litter};
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::signal::Stop;
use crate::units::{format_count, in_range};
use busway::{Call, Caller, Service};
use busway_crashable::CrashPoint;
use calls::{BODY_BYTES, End, JournalFile, LIVES, Mapping, Noted, answer, question};
use serde::Serialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use work::{BYSTANDER, CALL_MAX, LATE_MAX};

/// Callers' seats beyond those at work: of the bystander, and of the dead that are not known to be.
const SPARE_SEATS: u32 = 6;
/// Violations that are told; the first tell the most.
const TOLD_MAX: usize = 20;
/// How long the conductor sleeps between looks.
const TICK: Duration = Duration::from_micros(800);

/// Arguments of `torture request`.
#[derive(Debug, clap::Args)]
pub struct RequestArgs {
    /// How long it runs
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = in_range::<u64>(1, super::SECONDS_MAX))]
    seconds: u64,
    /// Callers at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = in_range::<u32>(1, super::ENDS_MAX))]
    callers: u32,
    /// Draws the schedule: who is killed or stopped, and where; random unless given
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Has workers break a promise, to see that it is noticed
    #[arg(long, hide = true, value_name = "KIND")]
    sabotage: Option<Sabotage>,
}

/// How workers break a promise, so that it is seen to be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// A server is handed a request twice.
    Twice,
    /// A server replies to another call.
    Swap,
    /// A caller says that a call which was answered was not sent.
    Deny,
}

/// The document of `torture request --json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    seed: u64,
    elapsed_s: u64,
    #[serde(flatten)]
    blows: Blows,
    calls: u64,
    replied: u64,
    refused: u64,
    not_sent: u64,
    not_known: u64,
    /// Their callers died before them.
    without_end: u64,
    handed_out: u64,
    replies_to_the_bystander: u64,
    violations: Vec<String>,
}

/// Tortures.
pub fn run(args: &RequestArgs, out: &Out) -> Result<ExitCode, Failure> {
    let stop = Stop::on_signals()?;
    let seed = args.seed.unwrap_or_else(super::conduct::any_seed);
    let mut janitor = Janitor::hire()?;
    let name = format!("torture-request-{}", std::process::id());
    let litter = ["req", "rep"].map(|half| Litter::Bus(format!("{name}.{half}")));
    for half in &litter {
        janitor.expect(half.clone())?;
    }
    let bytes = u32::try_from(BODY_BYTES).unwrap_or(0);
    let options = Service::options().request_bytes(bytes).reply_bytes(bytes);
    let options = options.callers(args.callers + SPARE_SEATS).requests_frames(64);
    let service = options.replies_frames(1_024).create(&name)?;
    let mut conductor = Conductor::new(&service, &name, seed, args.sabotage)?;
    let start = Instant::now();
    let (mut servers, mut callers) = (Vec::new(), Vec::new());
    while start.elapsed() < Duration::from_secs(args.seconds)
        && !stop.requested()
        && conductor.report.violations.is_empty()
    {
        if servers.is_empty() {
            servers.push(conductor.start("server")?);
        }
        while callers.len() < args.callers as usize {
            callers.push(conductor.start("caller")?);
        }
        conductor.ask();
        for workers in [&mut servers, &mut callers] {
            let Report { blows, violations, .. } = &mut conductor.report;
            herd::torment(workers, &mut conductor.random, blows, violations)?;
        }
        std::thread::sleep(TICK);
    }
    drop((servers, callers));
    let mut report = conductor.finish(&service, args.callers + SPARE_SEATS)?;
    report.elapsed_s = start.elapsed().as_secs();
    for half in &litter {
        janitor.clear(half)?;
    }
    show(&report, out)?;
    Ok(if report.violations.is_empty() { Exit::Ok } else { Exit::Loss }.code())
}

struct Conductor {
    name: String,
    random: Random,
    file: JournalFile,
    journal: Mapping,
    sabotage: Option<Sabotage>,
    /// Callers so far.
    lives: u64,
    caller: Caller,
    /// The bystander's call in flight, its number, and since when.
    asked: Option<(Call, u64, Instant)>,
    questions: u64,
    report: Report,
}

impl Conductor {
    fn new(
        service: &Service,
        name: &str,
        seed: u64,
        sabotage: Option<Sabotage>,
    ) -> Result<Self, Failure> {
        let file = JournalFile::create()?;
        Ok(Self {
            name: name.to_owned(),
            random: Random::of(seed, &[]),
            journal: Mapping::open(file.number())?,
            file,
            sabotage,
            lives: 0,
            caller: service.caller().name("bystander").attach()?,
            asked: None,
            questions: 0,
            report: Report { seed, ..Report::default() },
        })
    }

    /// Starts a worker that may be about to die or stop at a point.
    fn start(&mut self, part: &str) -> Result<Worker, Failure> {
        let life = self.lives;
        if part == "caller" {
            self.lives += 1;
            // Whoever had the place before is long dead.
            self.audit(life);
        }
        let points = [
            CrashPoint::SeatLocked,
            CrashPoint::SeatTaken,
            CrashPoint::LaneNotOpen,
            CrashPoint::JoinBegun,
            CrashPoint::CreditAnnounced,
            CrashPoint::OverwriteAnnounced,
            CrashPoint::FrameHalfWritten,
            CrashPoint::HeadNotStored,
            CrashPoint::HeadStored,
            CrashPoint::CursorNotStored,
            CrashPoint::CursorStored,
            CrashPoint::BitsCleared,
            CrashPoint::SeatFreed,
            CrashPoint::RecoveryBegun,
            CrashPoint::DeadFreed,
        ];
        let sabotage = self.sabotage.map_or("-", |kind| match kind {
            Sabotage::Twice => "twice",
            Sabotage::Swap => "swap",
            Sabotage::Deny => "deny",
        });
        let mut words = vec![part.to_owned(), self.name.clone(), self.file.number().to_string()];
        words.extend([life.to_string(), sabotage.to_owned()]);
        words.extend(herd::fate(&mut self.random, &points, |point, draw| match point {
            CrashPoint::FrameHalfWritten
            | CrashPoint::HeadNotStored
            | CrashPoint::HeadStored
            | CrashPoint::CursorNotStored
            | CrashPoint::CursorStored => 1 + draw % 2_000,
            CrashPoint::CreditAnnounced | CrashPoint::OverwriteAnnounced => 1 + draw % 50,
            _ => 1 + draw % 2,
        }));
        herd::start("request-worker", &words, &mut self.report.blows)
    }

    /// The bystander's own call: asks, and looks at the answer.
    fn ask(&mut self) {
        let Some((call, number, since)) = self.asked else {
            self.questions += 1;
            let sent = self.caller.send(1, &question(BYSTANDER, self.questions), Some(CALL_MAX));
            self.asked = sent.ok().map(|call| (call, self.questions, Instant::now()));
            return;
        };
        let Some(ended) = self.caller.poll() else {
            if since.elapsed() > CALL_MAX + LATE_MAX {
                self.violated(format!("a call of the bystander has not ended in {LATE_MAX:?}"));
            }
            return;
        };
        let (is_asked, what) = (ended.call == call, format!("{:?}", ended.result));
        let is_right = ended.result.map(|reply| reply.payload() == answer(BYSTANDER, number));
        self.asked = None;
        if !is_asked || is_right == Ok(false) {
            self.violated(format!("the bystander's question {number} is answered by {what}"));
        }
        self.report.replies_to_the_bystander += u64::from(is_right == Ok(true));
    }

    /// Adds up the calls of a caller that is gone, and looks whether each ended as it was carried out.
    fn audit(&mut self, life: u64) {
        let noted: Vec<_> = self.journal.take(life).collect();
        for (number, noted) in noted.into_iter().filter(|(_, noted)| *noted != Noted::default()) {
            let report = &mut self.report;
            report.calls += 1;
            report.handed_out += u64::from(noted.handed > 0);
            *match noted.end {
                Some(End::Replied) => &mut report.replied,
                Some(End::Refused) => &mut report.refused,
                Some(End::Unsent) => &mut report.not_sent,
                Some(End::Unknown) => &mut report.not_known,
                None => &mut report.without_end,
            } += 1;
            if let Some(fault) = noted.fault() {
                self.violated(format!("call {number} of {life} {fault}: {noted:?}"));
            }
        }
    }

    /// Everybody is dead: whether everything can be had again, and what became of each call.
    fn finish(mut self, service: &Service, callers: u32) -> Result<Report, Failure> {
        let lives = u64::try_from(LIVES).unwrap_or(u64::MAX);
        for life in self.lives.saturating_sub(lives)..self.lives {
            self.audit(life);
        }
        for bus in [service.requests(), service.replies()] {
            let corruptions = bus.stat().corruptions;
            if corruptions > 0 {
                self.violated(format!("{}: {corruptions} impossible words", bus.name()));
            }
        }
        match service.server().attach() {
            Ok(mut server) => {
                let number = self.questions + 1;
                let asked = question(BYSTANDER, number);
                let Ok(call) = self.caller.send(1, &asked, Some(LATE_MAX)) else {
                    self.violated(String::from("a call cannot be sent to a new server"));
                    return Ok(self.report);
                };
                while let Some(request) = server.recv_timeout(CALL_MAX)? {
                    if request.payload() == asked {
                        request.reply(1, &answer(BYSTANDER, number))?;
                    }
                }
                if let Err(error) = self.caller.wait(call) {
                    self.violated(format!("a new server's reply does not come: {error}"));
                }
            }
            Err(error) => self.violated(format!("the server's seat has leaked: {error}")),
        }
        let seats: Result<Vec<Caller>, _> =
            (1..callers).map(|_| service.caller().attach()).collect();
        if let Err(error) = seats {
            self.violated(format!("a caller's seat has leaked: {error}"));
        }
        Ok(self.report)
    }

    fn violated(&mut self, what: String) {
        if self.report.violations.len() < TOLD_MAX {
            self.report.violations.push(what);
        }
    }
}

fn show(report: &Report, out: &Out) -> Result<(), Failure> {
    if out.json() {
        return out.document("busway.torture-request/1", report);
    }
    for violation in &report.violations {
        out.warn(violation);
    }
    let (count, blows) = (format_count, &report.blows);
    out.line(format_args!(
        "seed {}, {} s: {} workers, {} killed at points, {} at random, {} stopped, {} left\n\
         {} calls: {} replied, {} refused, {} not sent, {} of which nobody knows, {} whose callers \
         died\n\
         {} requests handed out, {} answered to a bystander\n{}",
        report.seed,
        report.elapsed_s,
        count(blows.workers),
        count(blows.killed_at_points),
        count(blows.killed_at_random),
        count(blows.stopped),
        count(blows.left),
        count(report.calls),
        count(report.replied),
        count(report.refused),
        count(report.not_sent),
        count(report.not_known),
        count(report.without_end),
        count(report.handed_out),
        count(report.replies_to_the_bystander),
        match report.violations.len() {
            0 => "no violation".to_owned(),
            violations => format!("{violations} violation(s)"),
        },
    ))
}
