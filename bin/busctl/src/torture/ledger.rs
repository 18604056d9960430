//! The books of one reader: what it has seen of each lane, and every promise that it finds broken.
//!
//! A frame says which life wrote it and its number there. The board says on which lane, from which
//! position and how far that life has begun to commit. So each position of a lane has exactly one
//! right frame, and a reader that passes every position and finds the right frame at each has lost,
//! doubled and reordered nothing. That the lives of a lane follow one another without a gap is for
//! the conductor to check (`audit`), who also knows those that nobody saw a frame of.

use super::board::Board;
use super::frame::{self, Mark, NEVER};
use super::violation::Violation;
use std::sync::atomic::Ordering;

/// Something that should not be.
pub type Fault = (Violation, String);

/// What a reader knows of one lane.
#[derive(Clone, Debug, Default)]
struct Lane {
    /// The position that comes next; `None` before it is known.
    next: Option<u64>,
    /// What was lost before `next`, by the reader's own count; `None` before it is known.
    lost: Option<u64>,
    /// Positions that were passed over and are not settled with the reader's count.
    missing: u64,
    /// The first position must not be after this: the lane was there when the reader joined.
    joined_at: Option<u64>,
    /// The last frame, if nothing is missing after it.
    last: Option<Mark>,
    /// By how much the last frame stood before its place: said once.
    ahead: u64,
}

/// The books.
#[derive(Debug)]
pub struct Ledger {
    lossless: bool,
    lanes: Vec<Lane>,
    faults: Vec<Fault>,
}

impl Ledger {
    /// Empty books for a bus of so many lanes.
    pub fn new(lanes: u32, lossless: bool) -> Self {
        let lanes = vec![Lane::default(); usize::try_from(lanes).unwrap_or(0)];
        Self { lossless, lanes, faults: Vec::new() }
    }

    /// The reader has attached: from now on it must see what comes. `position` is where it starts
    /// on a lane and `lost` what it counts as lost there already, if it knows.
    pub fn join(&mut self, board: &Board, lane: u32, origin: u64, at: Option<(u64, u64)>) {
        // ORDERING: acquire, pairs with the release store of the tenant in `produce`.
        let tenant = board.tenant(lane).load(Ordering::Acquire);
        let life = board.life(tenant);
        let committed_to = if tenant == 0 {
            origin
        } else {
            // ORDERING: relaxed; what the tenant begins to commit after this is after the attach.
            let started = life.started.load(Ordering::Relaxed);
            life.start.load(Ordering::Relaxed).wrapping_add(started)
        };
        let position = at.map(|(position, _)| position);
        if let Some(position) = position
            && is_before(committed_to, position)
        {
            self.fault(
                Violation::Lost,
                format!(
                    "lane {lane}: joined at {position}, beyond {committed_to}, which comes next"
                ),
            );
        }
        if let Some(lane) = self.lane_mut(lane) {
            let lost = at.map(|(_, lost)| lost);
            *lane = Lane { next: position, lost, joined_at: Some(committed_to), ..Lane::default() };
        }
    }

    /// Books a frame. Returns what it says of itself if it is one.
    pub fn note(
        &mut self,
        board: &Board,
        lane: u32,
        position: u64,
        payload: &[u8],
    ) -> Option<Mark> {
        let mark = match frame::check(payload) {
            Ok(mark) => Some(mark),
            Err(torn) => {
                let what = format!("lane {lane} position {position}: {torn:?} is no frame");
                self.fault(Violation::Torn, what);
                None
            }
        };
        if let Some(mark) = mark {
            self.check_writer(board, lane, position, mark);
        }
        let follows = self.check_place(lane, position);
        if let Some(mark) = mark {
            self.check_batch(lane, position, mark, follows);
        }
        if let Some(lane) = self.lane_mut(lane) {
            lane.last = mark;
        }
        mark
    }

    /// Whether the life that a frame names can have put it here.
    fn check_writer(&mut self, board: &Board, lane: u32, position: u64, mark: Mark) {
        let at = || format!("lane {lane} position {position}: {mark:?}");
        if mark.sequence == NEVER {
            self.fault(Violation::UncommittedSeen, format!("{} was never committed", at()));
            return;
        }
        let life = board.life(mark.life);
        let seat = life.seat();
        // ORDERING: relaxed; stored before the frame was committed, which was acquired with it.
        let (start, started) =
            (life.start.load(Ordering::Relaxed), life.started.load(Ordering::Relaxed));
        // ORDERING: acquire; a record that was reused meanwhile is known by its id.
        let id = life.id.load(Ordering::Acquire);
        if id > mark.life {
            return;
        }
        if id < mark.life || seat.is_none() {
            self.fault(Violation::Torn, format!("{}: there is no such life", at()));
            return;
        }
        if seat != Some(lane) {
            self.fault(Violation::Reordered, format!("{} belongs on lane {seat:?}", at()));
            return;
        }
        let ahead = mark.sequence.wrapping_sub(position.wrapping_sub(start));
        let before = self.lane_mut(lane).map(|lane| std::mem::replace(&mut lane.ahead, ahead));
        if ahead != 0 && before == Some(ahead) {
            return;
        }
        if ahead != 0 {
            let violation = self.misplaced(lane, mark, ahead);
            let place = position.wrapping_sub(start);
            self.fault(violation, format!("{}: that is the place of {place}", at()));
        } else if mark.sequence >= started {
            let what = format!("{}: only {started} frames had been begun", at());
            self.fault(Violation::UncommittedSeen, what);
        }
    }

    /// What it is when a frame stands `ahead` of its place (behind, if negative).
    fn misplaced(&self, lane: u32, mark: Mark, ahead: u64) -> Violation {
        let last = self.lane(lane).and_then(|lane| lane.last);
        let same_batch = |last: Mark| last.life == mark.life && last.batch() == mark.batch();
        let within = last.filter(|last| same_batch(*last) && last.sequence != mark.sequence);
        let begins = mark.index != 0 && last.is_none_or(|last| last.index + 1 == last.count);
        if begins || within.is_some_and(|last| last.index + 1 != mark.index) {
            Violation::Reordered
        } else if ahead < 1 << 63 {
            Violation::Lost
        } else {
            Violation::Doubled
        }
    }

    /// Whether the position can be the next. Returns whether it follows the last.
    fn check_place(&mut self, number: u32, position: u64) -> bool {
        let lossless = self.lossless;
        let Some(lane) = self.lane_mut(number) else {
            self.fault(Violation::Torn, format!("a frame of lane {number}, which there is not"));
            return false;
        };
        let (next, joined_at) = (lane.next, lane.joined_at);
        lane.next = Some(position.wrapping_add(1));
        let Some(next) = next else {
            if lossless && let Some(at) = joined_at.filter(|at| is_before(*at, position)) {
                let what =
                    format!("lane {number}: {position} comes first, {at} was next at the join");
                self.fault(Violation::Lost, what);
            }
            return false;
        };
        if is_before(position, next) {
            let what = format!("lane {number}: {position} comes when {next} is next");
            self.fault(Violation::Doubled, what);
            return false;
        }
        let missing = position.wrapping_sub(next);
        lane.missing = lane.missing.wrapping_add(missing);
        if missing > 0 && lossless {
            let what = format!("lane {number}: {position} comes when {next} is next");
            self.fault(Violation::Lost, what);
        }
        missing == 0
    }

    /// What the reader says is lost on a lane, now that a run of its frames was booked.
    pub fn settle(&mut self, number: u32, lane_lost: u64) {
        let Some(lane) = self.lane_mut(number) else {
            return;
        };
        let missing = std::mem::take(&mut lane.missing);
        let counted = lane.lost.replace(lane_lost).map(|before| lane_lost.wrapping_sub(before));
        if counted.is_some_and(|counted| counted != missing) {
            let next = lane.next;
            let what = format!(
                "lane {number}: {missing} missing before the run that ends at {next:?}, \
                 {counted:?} counted as lost"
            );
            self.fault(Violation::Miscounted, what);
        }
    }

    /// Whether batches are whole. `follows`: the frame comes right after the last.
    fn check_batch(&mut self, lane: u32, position: u64, mark: Mark, follows: bool) {
        let Some(last) = self.lane(lane).and_then(|lane| lane.last).filter(|_| follows) else {
            return;
        };
        let ended = last.index + 1 == last.count;
        let goes_on = last.life == mark.life
            && last.count == mark.count
            && last.batch() == mark.batch()
            && last.index + 1 == mark.index;
        if if mark.index == 0 { !ended } else { !goes_on } {
            let what = format!("lane {lane} position {position}: {mark:?} comes after {last:?}");
            // A repeated or exchanged frame is reported as such, by its place.
            self.fault(Violation::BatchSplit, what);
        }
    }

    /// The reader has come to the end of a lane, whose head is `head`.
    pub fn end(&mut self, number: u32, head: u64, lane_lost: u64) {
        let lossless = self.lossless;
        let Some(lane) = self.lane_mut(number) else {
            return;
        };
        let Some(next) = lane.next else {
            // It never knew where it was on this lane: there was nothing to see since it joined.
            let at = lane.joined_at.filter(|at| lossless && is_before(*at, head));
            if let Some(at) = at {
                let what = format!("lane {number} ends at {head}: nothing was seen since {at}");
                self.fault(Violation::Lost, what);
            }
            return;
        };
        let missing = head.wrapping_sub(next);
        let last = lane.last.take();
        lane.missing = lane.missing.wrapping_add(missing);
        if is_before(head, next) {
            let what = format!("lane {number} ends at {head}, read to {next}");
            self.fault(Violation::UncommittedSeen, what);
        } else if missing > 0 && lossless {
            self.fault(Violation::Lost, format!("lane {number} ends at {head}, read to {next}"));
        } else if missing == 0
            && let Some(last) = last.filter(|last| last.index + 1 != last.count)
        {
            self.fault(Violation::BatchSplit, format!("lane {number} ends with {last:?}"));
        }
        self.settle(number, lane_lost);
    }

    /// The reader has lost its place on a bus on which it loses nothing otherwise. What it counts as
    /// lost on a lane comes after what it has read, up to where the lane was published when it
    /// learned of it: not before `floor`, which it was before that, nor beyond `head`.
    pub fn evicted(&mut self, number: u32, floor: Option<u64>, head: u64, lane_lost: u64) {
        let Some((next, lost)) = self.lane(number).and_then(|lane| lane.next.zip(lane.lost)) else {
            return;
        };
        let to = next.wrapping_add(lane_lost.wrapping_sub(lost));
        // What it has read may be ahead of a head that follows the order.
        let invented = to != next && is_before(head, to);
        if invented || floor.is_some_and(|floor| is_before(to, floor)) {
            let what = format!(
                "lane {number}: evicted at {next} and told to have lost up to {to}; published was \
                 {floor:?} before and {head} after"
            );
            self.fault(Violation::Miscounted, what);
        }
    }

    /// What was found since the last call. Of what one frame has broken, the first is the cause.
    pub fn take_faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    fn fault(&mut self, violation: Violation, what: String) {
        self.faults.push((violation, what));
    }

    fn lane(&self, lane: u32) -> Option<&Lane> {
        self.lanes.get(usize::try_from(lane).ok()?)
    }

    fn lane_mut(&mut self, lane: u32) -> Option<&mut Lane> {
        self.lanes.get_mut(usize::try_from(lane).ok()?)
    }
}

/// Whether one position comes before another, also where they wrap.
pub fn is_before(one: u64, other: u64) -> bool {
    one.wrapping_sub(other) > 1 << 63
}

#[cfg(test)]
mod tests {
    use super::super::board::{BoardFile, Mapping};
    use super::*;

    /// A bus of two lanes; life 1 has lane 0 from position 10 and has begun 100 frames.
    fn books(lossless: bool) -> (Mapping, Ledger) {
        let file = BoardFile::create().expect("a memfd");
        let board = Mapping::open(file.number()).expect("mapped");
        let life = board.begin_life(1);
        life.start.store(10, Ordering::Relaxed);
        life.sit(0);
        life.started.store(100, Ordering::Relaxed);
        let mut ledger = Ledger::new(2, lossless);
        board.tenant(0).store(1, Ordering::Relaxed);
        ledger.join(&board, 0, 0, Some((10, 0)));
        ledger.join(&board, 1, 0, None);
        (board, ledger)
    }

    /// A frame of life 1: position, sequence, index, count.
    type Shown = (u64, u64, u32, u32);

    /// Shows lane 0 frames, and returns what was found.
    fn show(board: &Mapping, ledger: &mut Ledger, frames: &[Shown]) -> Vec<Violation> {
        for (position, sequence, index, count) in frames {
            let mut payload = vec![0; 50];
            let mark = Mark { life: 1, sequence: *sequence, index: *index, count: *count };
            frame::fill(&mut payload, mark);
            ledger.note(board, 0, *position, &payload);
        }
        ledger.take_faults().into_iter().map(|(violation, _)| violation).collect()
    }

    #[test]
    fn frames_in_their_places_are_right() {
        let (board, mut ledger) = books(true);
        let frames = [(10, 0, 0, 1), (11, 1, 0, 2), (12, 2, 1, 2), (13, 3, 0, 1)];
        assert_eq!(show(&board, &mut ledger, &frames), []);
        ledger.settle(0, 0);
        ledger.end(0, 14, 0);
        ledger.end(1, 0, 0);
        assert_eq!(ledger.take_faults(), []);
    }

    #[test]
    fn each_promise_that_is_broken_is_named() {
        let cases: [(&[Shown], Violation); 9] = [
            // A position is passed over.
            (&[(10, 0, 0, 1), (12, 2, 0, 1)], Violation::Lost),
            // The first position of all is.
            (&[(11, 1, 0, 1)], Violation::Lost),
            // A frame is left out, its position is not.
            (&[(10, 0, 0, 1), (11, 2, 0, 1)], Violation::Lost),
            // A frame comes again, in the next position.
            (&[(10, 0, 0, 1), (11, 0, 0, 1)], Violation::Doubled),
            // A frame comes again, in its own.
            (&[(10, 0, 0, 1), (10, 0, 0, 1)], Violation::Doubled),
            // Two of a batch have changed places.
            (&[(10, 0, 0, 1), (11, 2, 1, 2), (12, 1, 0, 2)], Violation::Reordered),
            // A batch begins before the last has ended.
            (&[(10, 0, 0, 2), (11, 1, 0, 1)], Violation::BatchSplit),
            // A batch has no beginning.
            (&[(10, 0, 0, 1), (11, 1, 1, 2)], Violation::BatchSplit),
            // Nobody had begun it.
            (&[(10, 0, 0, 1), (110, 100, 0, 1)], Violation::UncommittedSeen),
        ];
        for (frames, violation) in cases {
            let (board, mut ledger) = books(true);
            let found = show(&board, &mut ledger, frames);
            assert_eq!(found.first(), Some(&violation), "{frames:?}: {found:?}");
        }
    }

    #[test]
    fn what_no_life_wrote_is_named() {
        let (board, mut ledger) = books(true);
        ledger.note(&board, 0, 10, &[7; 50]);
        let mut payload = vec![0; 50];
        let mark = Mark { life: 1, sequence: NEVER, index: 0, count: 1 };
        frame::fill(&mut payload, mark);
        ledger.note(&board, 0, 11, &payload);
        frame::fill(&mut payload, Mark { life: 9, sequence: 0, ..mark });
        ledger.note(&board, 0, 12, &payload);
        frame::fill(&mut payload, Mark { sequence: 0, ..mark });
        ledger.note(&board, 1, 0, &payload);
        let found: Vec<Violation> =
            ledger.take_faults().into_iter().map(|(kind, _)| kind).collect();
        let expected =
            [Violation::Torn, Violation::UncommittedSeen, Violation::Torn, Violation::Reordered];
        assert_eq!(found, expected);
    }

    #[test]
    fn losses_must_be_counted_to_the_frame() {
        for (counted, found) in
            [(3, None), (2, Some(Violation::Miscounted)), (4, Some(Violation::Miscounted))]
        {
            let (board, mut ledger) = books(false);
            assert_eq!(show(&board, &mut ledger, &[(10, 0, 0, 1), (14, 4, 0, 1)]), []);
            ledger.settle(0, counted);
            let first = ledger.take_faults().into_iter().map(|(violation, _)| violation).next();
            assert_eq!(first, found, "{counted} counted");
        }
    }

    #[test]
    fn who_joins_late_must_see_what_comes_next() {
        let (board, mut ledger) = books(true);
        ledger.join(&board, 0, 0, Some((111, 0)));
        assert_eq!(ledger.take_faults().first().map(|fault| fault.0), Some(Violation::Lost));
        ledger.join(&board, 0, 0, None);
        assert_eq!(show(&board, &mut ledger, &[(110, 100, 0, 1)]), [Violation::UncommittedSeen]);
        ledger.join(&board, 0, 0, None);
        let found = show(&board, &mut ledger, &[(111, 101, 0, 1)]);
        assert!(found.contains(&Violation::Lost), "{found:?}");
    }

    #[test]
    fn what_an_evicted_one_lost_was_published_when_it_learned_of_it() {
        for (counted, is_right) in [(0, false), (1, true), (3, true), (4, false)] {
            let (board, mut ledger) = books(true);
            assert_eq!(show(&board, &mut ledger, &[(10, 0, 0, 1)]), []);
            ledger.settle(0, 0);
            ledger.evicted(0, Some(12), 14, counted);
            assert_eq!(ledger.take_faults().is_empty(), is_right, "{counted} counted");
        }
        let (board, mut ledger) = books(true);
        assert_eq!(show(&board, &mut ledger, &[(10, 0, 0, 1)]), []);
        ledger.settle(0, 0);
        ledger.evicted(0, None, 10, 0);
        assert_eq!(ledger.take_faults(), [], "a head that does not follow yet");
    }

    #[test]
    fn the_end_must_be_reached() {
        let cases = [(13, Violation::Lost), (11, Violation::UncommittedSeen)];
        for (head, violation) in cases {
            let (board, mut ledger) = books(true);
            assert_eq!(show(&board, &mut ledger, &[(10, 0, 0, 1), (11, 1, 0, 1)]), []);
            ledger.end(0, head, 0);
            assert_eq!(ledger.take_faults().first().map(|fault| fault.0), Some(violation));
        }
        let (board, mut ledger) = books(true);
        assert_eq!(show(&board, &mut ledger, &[(10, 0, 0, 2)]), []);
        ledger.end(0, 11, 0);
        ledger.end(1, 5, 0);
        let found: Vec<Violation> =
            ledger.take_faults().into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(found, [Violation::BatchSplit, Violation::Lost]);
    }
}
