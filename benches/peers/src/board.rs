//! What the ends of one measurement share beside the peer: barriers, the probe's two lines, and how
//! many messages each producer sent.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::shm::Map;

/// Processors fetch lines in pairs: words that different ends write are this far apart, in bytes.
const LINE: usize = 128;

/// Producers that the board has room for.
pub const PRODUCERS_MAX: usize = 256;

/// The first and the longest sleep between two looks at a barrier: those who wait for a probe shall
/// not disturb it.
const LOOK_FIRST: Duration = Duration::from_micros(50);
const LOOK_LONGEST: Duration = Duration::from_millis(2);

/// How long an end waits for the others at a barrier.
const PATIENCE: Duration = Duration::from_mins(1);

/// The words by their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Word {
    /// The probe, from the caller.
    Ping,
    /// The probe, from the answerer.
    Pong,
    /// When sending starts: nanoseconds of the clock.
    StartNs,
    /// When the message under way was sent: nanoseconds of the clock.
    SentNs,
    /// How many messages the consumer has received, where it says so.
    Received,
    /// Barriers, in their order: how many ends have come to each.
    RxAttached,
    TxAttached,
    Begun,
    Probed,
    Started,
    Finished,
    ProbedAgain,
    Left,
    /// The first producer's total; the others' follow.
    Totals,
}

/// The mapped board.
pub struct Board(Map);

impl Board {
    /// Makes the board's file in a place.
    ///
    /// # Errors
    /// What was tried and what the system said.
    pub fn create(place: &Path) -> Result<Self, String> {
        let words = Word::Totals as usize + PRODUCERS_MAX;
        Map::create(&Self::path(place), words * LINE).map(Self)
    }

    /// Maps the board of a place.
    ///
    /// # Errors
    /// What was tried and what the system said.
    pub fn open(place: &Path) -> Result<Self, String> {
        Map::open(&Self::path(place)).map(Self)
    }

    fn path(place: &Path) -> PathBuf {
        place.join("board")
    }

    /// One of the words.
    #[inline]
    pub fn word(&self, word: Word) -> &AtomicU64 {
        self.0.word(word as usize * LINE)
    }

    /// Says how many messages a producer sent in all.
    pub fn set_total(&self, producer: usize, messages: u64) {
        // ORDERING: release, pairs with the acquire load in `total`.
        self.total_word(producer).store(messages + 1, Ordering::Release);
    }

    /// How many messages a producer sent in all; `None` while it sends.
    #[inline]
    pub fn total(&self, producer: usize) -> Option<u64> {
        // ORDERING: acquire, pairs with the release store in `set_total`: what the producer sent is
        // visible to a consumer that polls after this.
        self.total_word(producer).load(Ordering::Acquire).checked_sub(1)
    }

    #[inline]
    fn total_word(&self, producer: usize) -> &AtomicU64 {
        self.0.word((Word::Totals as usize + producer) * LINE)
    }

    /// Comes to this barrier and goes on at once: for those whom the others wait for.
    pub fn pass(&self, barrier: Word) {
        // ORDERING: as in `meet`.
        self.word(barrier).fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until all `ends` have come to this barrier.
    ///
    /// # Errors
    /// That they did not come within a minute.
    pub fn meet(&self, barrier: Word, ends: usize) -> Result<(), String> {
        let word = self.word(barrier);
        // ORDERING: acquire and release, pairs with itself and the load below: what was done before
        // the barrier in any process is visible behind it in all.
        let mut came = word.fetch_add(1, Ordering::AcqRel) + 1;
        let mut look = LOOK_FIRST;
        let deadline = std::time::Instant::now() + PATIENCE;
        while came < ends as u64 {
            if std::time::Instant::now() > deadline {
                return Err(format!(
                    "{came} of {ends} ends came to {barrier:?} within {PATIENCE:?}"
                ));
            }
            std::thread::sleep(look);
            look = (2 * look).min(LOOK_LONGEST);
            // ORDERING: acquire, pairs with the fetch_add above.
            came = word.load(Ordering::Acquire);
        }
        Ok(())
    }
}

/// What of all producers' totals is known to a consumer; cheap to ask again and again.
pub struct Totals<'a> {
    board: &'a Board,
    producers: usize,
    known: usize,
    sum: u64,
}

impl<'a> Totals<'a> {
    /// Of so many producers.
    pub fn new(board: &'a Board, producers: usize) -> Self {
        Self { board, producers, known: 0, sum: 0 }
    }

    /// The sum, once all have finished. Cost: one load of a line that seldom changes.
    #[inline]
    pub fn sum(&mut self) -> Option<u64> {
        while self.known < self.producers {
            self.sum += self.board.total(self.known)?;
            self.known += 1;
        }
        Some(self.sum)
    }
}
