//! What `check` sees of a bus: how it stands, and over a window how fast it goes and how long nothing
//! came. It takes no seat, and stores nothing to the bus.

#![allow(clippy::cast_precision_loss, reason = "rates are rounded for people anyway")]

use crate::exit::Failure;
use busway::{Bus, BusStat, FrameLayout, Participant, PollError, Start, Timestamps};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Time between two looks while something is waited for.
const SLICE: Duration = Duration::from_millis(20);

/// What is to be seen besides the standing, which costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The rate, over so long.
    pub rate_over: Option<Duration>,
    /// How long nothing came; a bus that does not say so is watched for it, for so long at most.
    pub silence_up_to: Option<Duration>,
}

/// What was seen.
pub struct Seen {
    /// How the bus stands, at the end.
    pub stat: BusStat,
    /// Whether its memory was cut short.
    pub is_truncated: bool,
    /// Participants that are provably dead and whose seats wait to be given back.
    pub dead: Vec<Participant>,
    /// Frames a second over all lanes.
    pub rate_hz: Option<f64>,
    /// How long nothing came.
    pub silence: Option<Silence>,
}

/// How long nothing was published, and how that is known.
#[derive(Clone, Copy, Debug)]
pub enum Silence {
    /// Since the newest frame, by its time.
    SinceFrame(u64),
    /// Since the bus was made: there never was a frame.
    SinceCreation(u64),
    /// Watched until a frame came, or for as long as was asked.
    Watched { waited_ns: u64, came: bool },
}

impl Seen {
    /// Looks, and waits for what needs time.
    pub fn new(bus: &Bus, wanted: Wanted) -> Result<Self, Failure> {
        let begin = Instant::now();
        let before = bus.stat();
        let told = match wanted.silence_up_to {
            Some(_) => told_silence(bus, &before)?,
            None => None,
        };
        let is_watched = wanted.silence_up_to.is_some() && told.is_none();
        let mut watched = None;
        let mut after = before.clone();
        let mut now = begin;
        // Bounded by the longer of the two times that were asked for.
        loop {
            let passed = now.duration_since(begin);
            let is_over = after.removed || bus.is_truncated();
            if is_watched && watched.is_none() {
                let came = after.published != before.published;
                let most = wanted.silence_up_to.unwrap_or_default();
                // One step more than the limit, so that a bus that is silent is beyond it.
                if came || passed > most {
                    watched = Some(Silence::Watched { waited_ns: nanos(passed), came });
                }
            }
            let rate_is_due = wanted.rate_over.is_none_or(|window| passed >= window);
            if is_over || (rate_is_due && is_watched == watched.is_some()) {
                break;
            }
            std::thread::sleep(SLICE);
            now = Instant::now();
            after = bus.stat();
        }
        let seconds = now.duration_since(begin).as_secs_f64();
        let frames = after.published.wrapping_sub(before.published);
        let rate_hz = if seconds > 0.0 { frames as f64 / seconds } else { 0.0 };
        let silence = match (is_watched, wanted.silence_up_to) {
            (true, _) => watched,
            // What it said before is better than nothing, where it has just been removed.
            (false, Some(_)) => told_silence(bus, &after)?.or(told),
            (false, None) => None,
        };
        Ok(Self {
            is_truncated: bus.is_truncated(),
            dead: bus.participants().into_iter().filter(|one| !one.alive).collect(),
            rate_hz: wanted.rate_over.map(|_| rate_hz),
            silence,
            stat: BusStat { removed: after.removed || bus.is_removed(), ..after },
        })
    }
}

/// How long nothing came, as far as the bus says so by itself.
fn told_silence(bus: &Bus, stat: &BusStat) -> Result<Option<Silence>, Failure> {
    if stat.published == 0 {
        let now = UNIX_EPOCH.elapsed().unwrap_or_default();
        let age_ns = nanos(now).saturating_sub(bus.info().created_unix_ns);
        return Ok(Some(Silence::SinceCreation(age_ns)));
    }
    let info = bus.info();
    if info.timestamps == Timestamps::Off || info.frames == FrameLayout::Bare {
        return Ok(None);
    }
    let mut newest_ns = 0;
    for lane in stat.lanes.iter().filter(|lane| lane.published > 0) {
        newest_ns = newest_ns.max(newest_from(bus, lane.lane, lane.position.wrapping_sub(1))?);
    }
    // Read after the frames, so that none is newer than now.
    let is_known = newest_ns > 0;
    Ok(is_known.then(|| Silence::SinceFrame(bus.now_ns().saturating_sub(newest_ns))))
}

/// The latest time among frames from this position on, one of this lane among them; 0 when there is none.
fn newest_from(bus: &Bus, lane: u32, position: u64) -> Result<u64, Failure> {
    let mut observer = match bus.observer().start(Start::Position(position)).attach() {
        Ok(observer) => observer,
        // Removed just now, which is told by itself.
        Err(error) if error.code() == "not_found" => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut newest_ns = 0;
    let mut is_found = false;
    // Each turn reads one lane, in turn: after so many, this one has been read.
    for _ in 0..bus.info().lanes {
        let read = observer.poll_batch(usize::MAX, |frames| {
            for frame in frames {
                newest_ns = newest_ns.max(frame.time_ns());
                is_found |= frame.lane() == lane;
            }
        });
        match read {
            Ok(0) | Err(PollError::Removed) => break,
            Ok(_) if is_found => break,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if newest_ns == 0 && observer.lost() > 0 {
        // Overwritten while it was read, so newer ones are coming at this moment.
        newest_ns = bus.now_ns();
    }
    Ok(newest_ns)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
