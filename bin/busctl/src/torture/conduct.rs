//! A run: buses in turn, each for a while, and the table at the end.

use super::fate::Rules;
use super::plan::{Part, Sabotage};
use super::play::{House, Play};
use super::random::mix;
use super::report::{self, Outcome};
use super::say::Said;
use super::scenario::Run;
use super::shape::Shape;
use super::tally::Tally;
use super::violation::Violation;
use super::{audit, cast, daemons, group, points};
use crate::bench::{Janitor, Litter};
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::signal::Stop;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, IsTerminal as _, PipeReader};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a run is unless something is said.
const SECONDS: u64 = 30;

/// A bus is given up for another of the same kind and another shape after so long, or so many kills.
const PLAY_MAX: Duration = Duration::from_secs(5);
const PLAY_KILLS_MAX: u64 = 250;

/// With `--kills`, one daemon is killed for so many other processes.
const DAEMON_KILLS_ONE_IN: u64 = 50;

/// How much of a run is for each bus.
#[derive(Clone, Copy, Debug)]
enum Share {
    Time(Duration),
    Kills(u64),
}

/// Runs, and shows what it has come to.
pub fn run(run: &Run<'_>, out: &Out) -> Result<ExitCode, Failure> {
    let stop = Stop::on_signals()?;
    let seed = run.orders.seed.unwrap_or_else(any_seed);
    let (all, asked) = (points::of(run.scenario), &run.orders.points);
    let points_only = !asked.is_empty();
    let rules = Rules {
        seed,
        points: all.filter(|point| !points_only || asked.contains(point)).collect(),
        points_only,
    };
    let mut tally = Tally::default();
    let begin = Instant::now();
    let daemons = report::daemons();
    torture(run, &rules, &stop, &mut tally, out)?;
    let outcome = Outcome {
        run,
        seed,
        elapsed: begin.elapsed(),
        daemons: daemons.max(report::daemons()),
        interrupted: stop.requested(),
        tally: &tally,
    };
    outcome.print(out)?;
    if !tally.is_clean() {
        return Err(outcome.failure());
    }
    if tally.point_hits == 0 && !outcome.interrupted {
        return Err(Failure::failed("no worker came to a crash point: none is compiled in"));
    }
    if outcome.interrupted {
        return Err(Failure::failed("interrupted before the end; nothing was broken until then"));
    }
    Ok(Exit::Ok.code())
}

/// All the buses, one after the other.
fn torture(
    run: &Run<'_>,
    rules: &Rules,
    stop: &Stop,
    tally: &mut Tally,
    out: &Out,
) -> Result<(), Failure> {
    let (plays, share) = shares(run);
    let keep_going = run.orders.keep_going;
    let mut janitor = Janitor::hire()?;
    let (reader, voice) = std::io::pipe()?;
    let heard = listen(reader);
    let mut lives = 0;
    let shows = std::io::stderr().is_terminal() && !out.json();
    for number in 0..plays {
        let shape = (run.shape)(rules.seed, number);
        let before = tally.kills.total;
        let mut house = House {
            rules,
            tally,
            voice: &voice,
            heard: &heard,
            stop,
            lives: &mut lives,
            keep_going,
        };
        play(&mut house, &mut janitor, &shape, share, run.orders.sabotage)?;
        if shows {
            let kills = tally.kills.total - before;
            out.note(format_args!("{} of {plays}: {}: {kills} killed", number + 1, shape.name()));
        }
        if stop.requested() || (!tally.is_clean() && !keep_going) {
            return Ok(());
        }
    }
    if run.daemon {
        let kills = run.orders.kills.unwrap_or(0);
        let share = match share {
            Share::Kills(_) => Share::Kills(kills.div_ceil(DAEMON_KILLS_ONE_IN)),
            time @ Share::Time(_) => time,
        };
        let begin = Instant::now();
        let over = |tally: &Tally| match share {
            Share::Time(time) => begin.elapsed() >= time,
            Share::Kills(kills) => tally.daemon_kills >= kills,
        };
        daemons::torture(rules.seed, tally, &mut janitor, stop, keep_going, over)?;
    }
    Ok(())
}

/// One bus, from its making until nothing is left of it.
fn play(
    house: &mut House<'_>,
    janitor: &mut Janitor,
    shape: &Shape,
    share: Share,
    sabotage: Option<Sabotage>,
) -> Result<(), Failure> {
    let name = format!("torture-{}-{}", std::process::id(), shape.number);
    let buses = cast::places(shape, &name, None).into_iter().map(|place| place.bus);
    let letters = shape.group.is_some().then(|| group::litter(&name));
    let litter: BTreeSet<Litter> = buses.chain(letters).map(Litter::Bus).collect();
    for bus in &litter {
        janitor.expect(bus.clone())?;
    }
    let (begin, before) = (Instant::now(), house.tally.kills.total);
    let mut play = Play::begin(house, shape, &name, sabotage)?;
    play.go_on(|tally| match share {
        Share::Time(time) => begin.elapsed() >= time,
        Share::Kills(kills) => tally.kills.total - before >= kills,
    })?;
    play.end()?;
    for bus in &litter {
        janitor.clear(bus)?;
    }
    for left in audit::segments(&name)? {
        Litter::Bus(left.clone()).remove()?;
        let finding = (Violation::LeakedSegment, format!("bus {left:?} was left"));
        house.tally.violated(audit::told(finding, &shape.name()));
    }
    Ok(())
}

/// How many buses there are, as often each kind, and how much of the run is for each.
fn shares(run: &Run<'_>) -> (u64, Share) {
    let kinds = run.kinds.max(1);
    let rounds = |plays: u64| plays.div_ceil(kinds).max(1) * kinds;
    if let Some(kills) = run.orders.kills {
        let plays = rounds(kills.div_ceil(PLAY_KILLS_MAX));
        return (plays, Share::Kills(kills.div_ceil(plays)));
    }
    let seconds = run.orders.seconds.unwrap_or(SECONDS);
    let plays = rounds(seconds.div_ceil(PLAY_MAX.as_secs()));
    let time_ms = seconds * 1000 / plays;
    (plays, Share::Time(Duration::from_millis(time_ms)))
}

/// Reads what workers say. Ends when the last of them and the conductor have closed the pipe.
fn listen(reader: PipeReader) -> Receiver<Said> {
    let (outbox, inbox) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            let said = serde_json::from_str(&line).unwrap_or_else(|error| Said {
                life: 0,
                part: Part::Producer,
                violation: Violation::Failed,
                what: format!("a worker said {line:?}: {error}"),
            });
            // The conductor may be gone; then nobody wants to hear the rest.
            if outbox.send(said).is_err() {
                return;
            }
        }
    });
    inbox
}

/// A seed that nobody has had.
pub fn any_seed() -> u64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let draw = mix(u64::from(age.subsec_nanos()) ^ age.as_secs().rotate_left(32));
    // Short enough to be typed.
    (draw ^ u64::from(std::process::id())) % 1_000_000_000
}
