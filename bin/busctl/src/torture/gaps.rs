//! How long others stand still when something is done to one process.
//!
//! The conductor writes what it did, to whom and when, into one word of the board. Each consumer
//! keeps, for every lane, the longest time in which it looked for frames and none came from any
//! *other* lane: the time that it was away itself (without a processor, stopped) does not count. The
//! longest such gap from 10 ms before an event until the next one, or for 200 ms, is booked under
//! the event's kind. The 10 ms are for deaths at a crash point, which the conductor learns of late.
//!
//! Now and then the conductor writes an event with nothing done: what is booked under it is what the
//! machine itself does to everybody, and the figure to compare with.
//!
//! Producers book how long a publish had to wait for room from the death of a consumer on.

use super::board::{Board, LANES};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// How long after an event gaps belong to it.
const WINDOW_NS: u64 = 200_000_000;
/// Gaps of this time before an event belong to it too, or of twice as long.
const SLICE_NS: u64 = 10_000_000;
/// A reader that did not look for so long was away.
const AWAY_NS: u64 = 100_000;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Nothing = 0,
    /// A process was killed.
    Kill = 1,
    /// A process was stopped.
    Stop = 2,
    /// A consumer was killed: producers may have to wait until it is known to be dead.
    ConsumerKill = 3,
}

/// Something that was done, at a time. As one word: microseconds, lane plus one, kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: Kind,
    /// The lane of the producer it was done to.
    pub lane: Option<u32>,
    pub at_us: u64,
}

impl Event {
    /// As one word.
    pub fn word(self) -> u64 {
        let lane = self.lane.map_or(0, |lane| u64::from(lane) + 1);
        (self.at_us << 16) | (lane << 2) | self.kind as u64
    }

    /// What a word says; `None` before the first event.
    pub fn of(word: u64) -> Option<Self> {
        let kind = match word & 3 {
            0 => Kind::Nothing,
            1 => Kind::Kill,
            2 => Kind::Stop,
            _ => Kind::ConsumerKill,
        };
        let lane = u32::try_from((word >> 2) & 0x3fff).ok()?.checked_sub(1);
        (word != 0).then_some(Self { kind, lane, at_us: word >> 16 })
    }
}

/// Sub-buckets of an octave: gaps are known to an eighth.
const STEPS: usize = 8;

/// A count of gaps by their length, which many processes add to.
#[repr(C)]
pub struct Histogram {
    longest_ns: AtomicU64,
    buckets: [AtomicU64; 64 * STEPS],
}

/// What a histogram says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gaps {
    pub samples: u64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
}

impl Histogram {
    /// Books a gap.
    pub fn add(&self, ns: u64) {
        // ORDERING: relaxed; statistics.
        self.longest_ns.fetch_max(ns, Ordering::Relaxed);
        self.buckets[bucket(ns)].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts, for adding those of several buses up.
    pub fn counts(&self) -> Counts {
        // ORDERING: relaxed; statistics, read when the writers are gone.
        Counts {
            longest_ns: self.longest_ns.load(Ordering::Relaxed),
            buckets: self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect(),
        }
    }
}

/// The counts of a histogram.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    longest_ns: u64,
    buckets: Vec<u64>,
}

impl Counts {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        self.buckets.resize(self.buckets.len().max(other.buckets.len()), 0);
        for (own, others) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += others;
        }
    }

    /// Percentiles: the upper ends of the buckets in which they are.
    pub fn gaps(&self) -> Gaps {
        let samples: u64 = self.buckets.iter().sum();
        let percentile = |percent: u64| {
            let rank = (samples * percent).div_ceil(100);
            let mut seen = 0;
            let found = self.buckets.iter().position(|count| {
                seen += count;
                seen >= rank.max(1)
            });
            found.map_or(0, |index| upper_end(index).min(self.longest_ns))
        };
        let (p50_ns, p99_ns) = (percentile(50), percentile(99));
        Gaps { samples, p50_ns, p99_ns, max_ns: self.longest_ns }
    }
}

fn bucket(ns: u64) -> usize {
    let octave = ns.max(8).ilog2();
    let step = (ns.max(8) >> (octave - 3)) & 7;
    (octave as usize) * STEPS + usize::try_from(step).unwrap_or(0)
}

fn upper_end(bucket: usize) -> u64 {
    let (octave, step) = (bucket / STEPS, u64::try_from(bucket % STEPS).unwrap_or(0));
    let size = 1_u64 << octave.saturating_sub(3).min(60);
    (8 + step).saturating_mul(size).saturating_add(size - 1)
}

/// A consumer's watch. For each lane: the last frame of any other, and the longest gaps.
#[derive(Debug)]
pub struct Watch {
    lanes: usize,
    last_ns: [u64; LANES],
    this_slice: [u64; LANES],
    slice_before: [u64; LANES],
    slice_ns: u64,
    looked_ns: u64,
    open: Option<Open>,
    event: u64,
    held: u64,
}

/// The event that gaps are booked under, and the longest so far.
#[derive(Debug)]
struct Open {
    event: Event,
    held: u64,
    longest_ns: u64,
}

impl Watch {
    /// Starts to watch a bus of so many lanes.
    pub fn new(board: &Board, lanes: u32, now_ns: u64) -> Self {
        Self {
            // One more: what comes from any lane, for events that are no producer's.
            lanes: usize::try_from(lanes + 1).unwrap_or(LANES).min(LANES),
            last_ns: [now_ns; LANES],
            this_slice: [0; LANES],
            slice_before: [0; LANES],
            slice_ns: now_ns,
            looked_ns: now_ns,
            open: None,
            // ORDERING: relaxed; the word is all that there is to an event.
            event: board.event.load(Ordering::Relaxed),
            held: board.held.load(Ordering::Relaxed),
        }
    }

    /// Time that was spent elsewhere until now does not count.
    pub fn back(&mut self, now_ns: u64) {
        let away_ns = now_ns.saturating_sub(self.looked_ns);
        self.last_ns.iter_mut().for_each(|last_ns| *last_ns = last_ns.saturating_add(away_ns));
        self.looked_ns = now_ns;
    }

    /// After each look for frames: `lane` is where some came from. `waited`: the time since the
    /// last look was spent waiting for them.
    pub fn look(&mut self, board: &Board, lane: Option<u32>, now_ns: u64, waited: bool) {
        if !waited && now_ns.saturating_sub(self.looked_ns) > AWAY_NS {
            self.back(now_ns);
        }
        self.looked_ns = now_ns;
        // ORDERING: relaxed; compared with the next look.
        let held = board.held.load(Ordering::Relaxed);
        if held != self.held || held % 2 == 1 {
            // What others had to wait for is no gap of theirs.
            self.held = held;
            self.last_ns = [now_ns; LANES];
            (self.this_slice, self.slice_before) = ([0; LANES], [0; LANES]);
        }
        let from = lane.and_then(|lane| usize::try_from(lane).ok());
        for other in (0..self.lanes).filter(|other| Some(*other) != from && from.is_some()) {
            let gap_ns = now_ns.saturating_sub(self.last_ns[other]);
            self.last_ns[other] = now_ns;
            self.this_slice[other] = self.this_slice[other].max(gap_ns);
            if let Some(open) = &mut self.open
                && place(open.event, self.lanes) == other
            {
                open.longest_ns = open.longest_ns.max(gap_ns);
            }
        }
        // ORDERING: relaxed; the word is all that there is to an event.
        let event = board.event.load(Ordering::Relaxed);
        let is_over = |open: &Open| now_ns / 1000 > open.event.at_us + WINDOW_NS / 1000;
        if event != self.event || self.open.as_ref().is_some_and(is_over) {
            self.close(board, now_ns);
        }
        if event != self.event {
            self.event = event;
            self.begin(board, event);
        }
        if now_ns.saturating_sub(self.slice_ns) > SLICE_NS {
            self.slice_ns = now_ns;
            self.slice_before = std::mem::replace(&mut self.this_slice, [0; LANES]);
        }
    }

    fn begin(&mut self, board: &Board, event: u64) {
        let Some(event) = Event::of(event) else {
            return;
        };
        // Alone on the bus, there is nobody else to be held up.
        if self.lanes <= 2 && event.lane.is_some() {
            return;
        }
        let other = place(event, self.lanes);
        let longest_ns = self.this_slice[other].max(self.slice_before[other]);
        // ORDERING: relaxed; compared with a later look.
        let held = board.held.load(Ordering::Relaxed);
        self.open = Some(Open { event, held, longest_ns });
    }

    /// Books what there is, unless somebody stood still on whom others may wait.
    fn close(&mut self, board: &Board, now_ns: u64) {
        let Some(open) = self.open.take() else {
            return;
        };
        // ORDERING: relaxed; as above.
        if open.held % 2 == 1 || board.held.load(Ordering::Relaxed) != open.held {
            return;
        }
        let other = place(open.event, self.lanes);
        let pending_ns = now_ns.saturating_sub(self.last_ns[other]);
        let kind = match open.event.kind {
            Kind::Nothing => Kind::Nothing,
            Kind::Kill | Kind::ConsumerKill => Kind::Kill,
            Kind::Stop => Kind::Stop,
        };
        board.gaps[kind as usize].add(open.longest_ns.max(pending_ns));
    }
}

/// Whose frames do not count after an event; the last place if everybody's do.
fn place(event: Event, lanes: usize) -> usize {
    let lane = event.lane.and_then(|lane| usize::try_from(lane).ok());
    lane.unwrap_or(LANES).min(lanes.saturating_sub(1))
}

/// Books that a publish had to wait from `begin_ns` to now, if a consumer was killed meanwhile or
/// just before.
pub fn book_wait(board: &Board, begin_ns: u64, now_ns: u64) {
    // ORDERING: relaxed; the words are all that is compared.
    let event = Event::of(board.event.load(Ordering::Relaxed));
    let held = board.held.load(Ordering::Relaxed);
    let Some(Event { kind: Kind::ConsumerKill, at_us, .. }) = event else {
        return;
    };
    let (killed_ns, end_ns) = (at_us * 1000, now_ns);
    if held.is_multiple_of(2) && killed_ns + WINDOW_NS > begin_ns && end_ns > killed_ns {
        board.gaps[Kind::ConsumerKill as usize].add(end_ns - begin_ns.max(killed_ns));
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::{BoardFile, Mapping};
    use super::*;

    fn board() -> Mapping {
        let file = BoardFile::create().expect("a memfd");
        Mapping::open(file.number()).expect("mapped")
    }

    #[test]
    fn an_event_is_one_word() {
        for lane in [None, Some(0), Some(30)] {
            for kind in [Kind::Nothing, Kind::Kill, Kind::Stop, Kind::ConsumerKill] {
                let event = Event { kind, lane, at_us: 123_456_789_012 };
                assert_eq!(Event::of(event.word()), Some(event));
            }
        }
        assert_eq!(Event::of(0), None);
    }

    #[test]
    fn percentiles_are_within_an_eighth() {
        let board = board();
        for us in 1..=1000_u64 {
            board.gaps[0].add(us * 1000);
        }
        let gaps = board.gaps[0].counts().gaps();
        assert_eq!((gaps.samples, gaps.max_ns), (1000, 1_000_000));
        assert!((500_000..=570_000).contains(&gaps.p50_ns), "{gaps:?}");
        assert!((990_000..=1_000_000).contains(&gaps.p99_ns), "{gaps:?}");
        let mut sum = Counts::default();
        sum.add(&board.gaps[0].counts());
        sum.add(&board.gaps[0].counts());
        assert_eq!(sum.gaps(), Gaps { samples: 2000, ..gaps });
        assert_eq!(Counts::default().gaps(), Gaps::default());
    }

    #[test]
    fn only_the_others_frames_end_a_gap() {
        let board = board();
        let ms = |ms: u64| ms * 1_000_000;
        let mut watch = Watch::new(&board, 2, 0);
        // A step each 50 µs: the reader is never away.
        let mut steps = |from_us: u64, to_us: u64, lane: Option<u32>| {
            for us in (from_us..to_us).step_by(50) {
                watch.look(&board, lane, us * 1000, false);
            }
        };
        steps(0, 40_000, Some(1));
        board.event.store(
            Event { kind: Kind::Kill, lane: Some(0), at_us: 40_000 }.word(),
            Ordering::Relaxed,
        );
        steps(40_000, 60_000, Some(0));
        steps(60_000, 61_000, Some(1));
        board.event.store(
            Event { kind: Kind::Nothing, lane: None, at_us: 61_000 }.word(),
            Ordering::Relaxed,
        );
        steps(61_000, 62_000, Some(1));
        let gaps = board.gaps[Kind::Kill as usize].counts().gaps();
        assert_eq!(gaps.samples, 1);
        assert!((ms(20)..ms(20) + 60_000).contains(&gaps.max_ns), "{gaps:?}");
    }

    #[test]
    fn what_others_rightly_wait_for_is_not_booked() {
        let board = board();
        let mut watch = Watch::new(&board, 2, 0);
        let event = |at_us| Event { kind: Kind::Kill, lane: Some(0), at_us }.word();
        board.event.store(event(1), Ordering::Relaxed);
        watch.look(&board, None, 2_000, true);
        board.held.store(1, Ordering::Relaxed);
        board.event.store(event(500), Ordering::Relaxed);
        watch.look(&board, None, 600_000, true);
        assert_eq!(board.gaps[Kind::Kill as usize].counts().gaps().samples, 0);
        book_wait(&board, 0, 1_000_000);
        assert_eq!(board.gaps[Kind::ConsumerKill as usize].counts().gaps().samples, 0);
        board.event.store(
            Event { kind: Kind::ConsumerKill, lane: None, at_us: 500 }.word(),
            Ordering::Relaxed,
        );
        book_wait(&board, 0, 1_000_000);
        board.held.store(2, Ordering::Relaxed);
        book_wait(&board, 0, 1_000_000);
        let gaps = board.gaps[Kind::ConsumerKill as usize].counts().gaps();
        assert_eq!((gaps.samples, gaps.max_ns), (1, 500_000));
    }
}
