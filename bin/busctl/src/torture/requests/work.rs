//! The processes of `torture request`: a server that answers, refuses, forgets and is late, and callers
//! with many calls in flight.

use super::super::herd::{self, number};
use super::super::random::Random;
use super::super::worker::failed;
use super::Sabotage;
use super::calls::{CALLS, End, Mapping, answer, asked, question};
use crate::exit::Failure;
use busway_crashable::{Call, CallError, Caller, Error, PollError, ReplyTo, Server, Service};
use clap::ValueEnum as _;
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a call may take, where it has a limit.
pub const CALL_MAX: Duration = Duration::from_millis(30);

/// How much later than that it may be told that it has ended, by a process that was stopped itself.
pub const LATE_MAX: Duration = Duration::from_secs(10);

/// Who is not in the journal.
pub const BYSTANDER: u64 = u64::MAX;

/// How long who comes tries to get a seat.
const SEAT_PATIENCE: Duration = Duration::from_secs(10);

/// Calls of a caller in flight at most.
const IN_FLIGHT: usize = 24;

/// Requests that a server takes before it leaves, at most.
const REQUESTS_MAX: u64 = 60_000;

/// Requests, and calls, after which a promise is broken, if it is to be.
const SABOTAGE_AFTER: u64 = 100;

/// What both have.
struct Work {
    service: Service,
    journal: Mapping,
    random: Random,
    life: u64,
    sabotage: Option<Sabotage>,
}

/// The worker process.
pub fn run(words: &[String]) -> Result<ExitCode, Failure> {
    let [part, service, journal, life, sabotage, point, what, nth, seed, parent] = words else {
        return Err(Failure::usage(
            "PART SERVICE JOURNAL LIFE SABOTAGE POINT WHAT NTH SEED PARENT",
        ));
    };
    let random = herd::enter([point, what, nth, seed, parent])?;
    let journal = i32::try_from(number(journal)?).unwrap_or(-1);
    let mut work = Work {
        service: Service::open(service).map_err(failed("opening the service"))?,
        journal: Mapping::open(journal)?,
        random,
        life: number(life)?,
        sabotage: Sabotage::from_str(sabotage, false).ok(),
    };
    match part.as_str() {
        "server" => serve(&mut work)?,
        _ => ask(&mut work)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Attaches, again and again while the seats are taken: the one before may not be dead for certain yet.
fn attach<T>(attach: impl Fn() -> Result<T, Error>) -> Result<T, Failure> {
    let deadline = Instant::now() + SEAT_PATIENCE;
    loop {
        match attach() {
            Err(error) if error.code() == "seats_taken" && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            attached => return attached.map_err(failed("attaching to the service")),
        }
    }
}

/// A request that was taken, and whose call it is.
type Kept = (ReplyTo, u64, u64);

fn serve(work: &mut Work) -> Result<(), Failure> {
    let mut server = attach(|| work.service.server().attach())?;
    let mut kept: Vec<Kept> = Vec::new();
    for taken in 0..work.random.any_size(REQUESTS_MAX) {
        let lies = taken == SABOTAGE_AFTER;
        let request = server.recv_timeout(Duration::from_millis(2));
        let request = request.map_err(|error: PollError| failed("taking")(error.into()))?;
        let Some(request) = request else {
            reply_late(work, &mut server, &mut kept)?;
            continue;
        };
        let Some((life, call)) = asked(request.payload()) else {
            let payload = request.payload();
            return Err(Failure::failed(format!("a request that nobody sent: {payload:?}")));
        };
        let is_noted = life != BYSTANDER;
        if is_noted {
            let mut noted = work.journal.hand_out(life, call);
            if lies && work.sabotage == Some(Sabotage::Twice) {
                noted = work.journal.hand_out(life, call);
            }
            if noted.handed > 1 {
                let what = format!("call {call} of {life} was handed out twice: {noted:?}");
                return Err(Failure::failed(what));
            }
        }
        let way = work.random.within(0, 99);
        if is_noted && !(5..25).contains(&way) {
            work.journal.reply(life, call);
        }
        let sent = match way {
            0..5 => request.refuse("not today"),
            // Its caller learns that when this server leaves, or by its time.
            5..10 => Ok(true),
            10..25 => {
                kept.push((request.reply_to(), life, call));
                Ok(true)
            }
            _ if lies && work.sabotage == Some(Sabotage::Swap) => {
                request.reply(1, &answer(life, call ^ 1))
            }
            _ => request.reply(1, &answer(life, call)),
        };
        sent.map_err(|error| failed("replying")(error.into()))?;
        if kept.len() > IN_FLIGHT {
            reply_late(work, &mut server, &mut kept)?;
        }
    }
    Ok(())
}

/// Replies to one of those that were kept, in no order.
fn reply_late(work: &mut Work, server: &mut Server, kept: &mut Vec<Kept>) -> Result<(), Failure> {
    let index = work.random.next().checked_rem(u64::try_from(kept.len()).unwrap_or(0));
    let Some(index) = index.and_then(|index| usize::try_from(index).ok()) else {
        return Ok(());
    };
    let (to, life, call) = kept.swap_remove(index);
    if life != BYSTANDER {
        work.journal.reply(life, call);
    }
    let sent = server.reply(to, 1, &answer(life, call));
    sent.map(drop).map_err(|error| failed("replying late")(error.into()))
}

/// A call in flight.
struct InFlight {
    number: u64,
    since: Instant,
    has_limit: bool,
}

fn ask(work: &mut Work) -> Result<(), Failure> {
    let mut caller = attach(|| work.service.caller().in_flight(IN_FLIGHT).attach())?;
    let mut flying: HashMap<Call, InFlight> = HashMap::new();
    let depth = usize::try_from(work.random.any_size(IN_FLIGHT as u64)).unwrap_or(1);
    let calls = u64::try_from(CALLS).unwrap_or(0);
    for number in 0..work.random.within(calls / 8, calls) {
        while caller.in_flight() >= depth {
            // What has no limit ends when its server does, which may not be soon.
            if !take_end(work, &mut caller, &mut flying, CALL_MAX)? {
                cancel_one(work, &mut caller, &mut flying);
            }
        }
        let has_limit = work.random.percent(90);
        let since = Instant::now();
        let limit = has_limit.then_some(CALL_MAX);
        match caller.send(1, &question(work.life, number), limit) {
            Ok(call) => {
                if number == SABOTAGE_AFTER && work.sabotage == Some(Sabotage::Deny) {
                    deny(work, &mut caller, call, number);
                    continue;
                }
                if flying.insert(call, InFlight { number, since, has_limit }).is_some() {
                    return Err(Failure::failed(format!("{call:?} is two calls")));
                }
            }
            Err(error) if error.is_unsent() => {
                work.journal.end(work.life, number, End::Unsent);
                if error == CallError::NoServer {
                    caller.wait_for_server(CALL_MAX);
                }
            }
            Err(error) => return Err(Failure::failed(format!("sending ends with {error}"))),
        }
        match work.random.within(0, 99) {
            0..2 => cancel_one(work, &mut caller, &mut flying),
            2..40 => {
                take_end(work, &mut caller, &mut flying, Duration::ZERO)?;
            }
            _ => {}
        }
    }
    while !flying.is_empty() {
        if !take_end(work, &mut caller, &mut flying, CALL_MAX)? {
            cancel_one(work, &mut caller, &mut flying);
        }
    }
    Ok(())
}

/// Waits for the end of a call, and says that it was never sent.
fn deny(work: &Work, caller: &mut Caller, call: Call, number: u64) {
    let denied = match caller.wait(call) {
        Ok(_) => End::Unsent,
        Err(_) => End::Unknown,
    };
    work.journal.end(work.life, number, denied);
}

/// Takes the end of one call, and looks whether it is right. `false`: none has ended for that time.
fn take_end(
    work: &Work,
    caller: &mut Caller,
    flying: &mut HashMap<Call, InFlight>,
    patience: Duration,
) -> Result<bool, Failure> {
    let Some(ended) = caller.recv(patience) else {
        return Ok(false);
    };
    let Some(InFlight { number, since, has_limit }) = flying.remove(&ended.call) else {
        return Err(Failure::failed(format!("{ended:?} was not in flight")));
    };
    let end = match &ended.result {
        Ok(reply) if reply.payload() == answer(work.life, number) => End::Replied,
        Err(CallError::Refused(_)) => End::Refused,
        Err(CallError::ServerGone | CallError::TimedOut | CallError::ReplyLost) => End::Unknown,
        other => {
            let what = format!("call {number} of {} ended with {other:?}", work.life);
            return Err(Failure::failed(what));
        }
    };
    work.journal.end(work.life, number, end);
    if has_limit && since.elapsed() > CALL_MAX + LATE_MAX {
        let what = format!("call {number} of {} took {:?}", work.life, since.elapsed());
        return Err(Failure::failed(what));
    }
    Ok(true)
}

/// Gives up one of the calls in flight.
fn cancel_one(work: &mut Work, caller: &mut Caller, flying: &mut HashMap<Call, InFlight>) {
    let Some(call) = flying.keys().next().copied() else {
        return;
    };
    caller.cancel(call);
    if let Some(gone) = flying.remove(&call) {
        work.journal.end(work.life, gone.number, End::Unknown);
    }
}
