//! What is to happen to a worker: drawn when it is started, from the seed, its place in the cast and
//! how many have had that place before. So a seed determines who is done what to, when and where;
//! how far each has come by then is up to the machine.

use super::plan::{Arm, Part};
use super::points;
use super::random::Random;
use super::shape::Shape;
use busway_crashable::CrashPoint;
use std::time::Duration;

/// How long a worker lives at most, from its start.
const LIFE_MS_MAX: u64 = 120;

/// The same for one that is armed: it is to die at its point.
const ARMED_LIFE_MS_MAX: u64 = 200;

/// Of so many members that are killed, all are.
const TAKES_ALL_PERCENT: u64 = 4;

/// How long anybody stands still at most.
const STOP_MS_MAX: u64 = 300;

/// A worker's fate.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    pub arm: Option<Arm>,
    /// When it is killed, if it is still there.
    pub kill_after: Option<Duration>,
    /// When it is stopped, and for how long.
    pub stop: Option<(Duration, Duration)>,
    /// When it leaves by itself.
    pub leave_after_ms: Option<u64>,
    /// How long it stands still at its crash point, if it stops there.
    pub point_stop: Duration,
    /// It is killed while it stands still.
    pub dies_standing: bool,
    /// When it is killed, all of its part are.
    pub takes_all: bool,
}

/// What a run allows.
#[derive(Clone, Debug)]
pub struct Rules {
    pub seed: u64,
    /// The crash points that may be used.
    pub points: Vec<CrashPoint>,
    /// Only some were asked for: they are used whenever they can be.
    pub points_only: bool,
}

impl Fate {
    /// Draws the fate of the `nth` worker in a place of the cast.
    pub fn draw(rules: &Rules, shape: &Shape, part: Part, place: u64, nth: u64) -> Self {
        let mut random = Random::of(rules.seed, &[2, shape.number, place, nth]);
        let mut fate = Self {
            kill_after: Some(ms(random.any_size(LIFE_MS_MAX))),
            point_stop: ms(random.any_size(STOP_MS_MAX)),
            dies_standing: random.percent(50),
            ..Self::default()
        };
        if random.percent(15) {
            let at = ms(random.within(1, LIFE_MS_MAX));
            let time = random.any_size(STOP_MS_MAX);
            fate.stop = Some((at, ms(time)));
            fate.kill_after = fate.kill_after.map(|after| after + ms(time));
        }
        let points = points::reached_by(part, shape, &rules.points);
        if (rules.points_only || random.percent(60))
            && let Some(point) = random.one_of(&points)
        {
            let nth = random.any_size(points::often(point, part));
            let stops = random.percent(15);
            fate.arm = Some(Arm { point: point.name().to_owned(), nth, stops });
            fate.kill_after = Some(ms(random.within(ARMED_LIFE_MS_MAX / 2, ARMED_LIFE_MS_MAX)));
            if points::is_in_leaving(point) {
                fate.leave_after_ms = Some(random.any_size(ARMED_LIFE_MS_MAX / 4));
            }
        } else if random.percent(10) {
            fate.leave_after_ms = Some(random.any_size(LIFE_MS_MAX));
            fate.kill_after = None;
        }
        fate.takes_all = part == Part::Member && random.percent(TAKES_ALL_PERCENT);
        fate
    }

    /// The fate of one that stays: it is stopped at most, again and again.
    pub fn of_one_that_stays(rules: &Rules, shape: &Shape, place: u64, nth: u64) -> Self {
        let mut random = Random::of(rules.seed, &[3, shape.number, place, nth]);
        let at = ms(random.within(200, 1_000));
        Self { stop: Some((at, ms(random.any_size(STOP_MS_MAX)))), ..Self::default() }
    }

    /// The crash point that it is armed for.
    pub fn point(&self) -> Option<CrashPoint> {
        self.arm.as_ref()?.point.parse().ok()
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
