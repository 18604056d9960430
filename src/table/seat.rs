//! Writers' places: the same seats, locks and proof of death as a bus's (`crate::seat`).
//!
//! What a dead writer leaves besides its seat is put in order by `cells::recover`, under the lock of
//! the seat, before the seat is free. Its slots need nobody: an owner whose tenancy is over is gone.

use std::time::{Duration, Instant};

use nix::unistd::Uid;

use super::memory::{self, TableMemory, View};
use crate::cells::Cells;
use crate::crash::crash_point;
use crate::error::Error;
use crate::layout::table::words::{seat_and_epoch, tenancy};
use crate::layout::words::SeatWords;
use crate::participant::{Participant, Reclaimed, Role};
use crate::seat;
use crate::shm::lock;
use crate::shm::mapping::{Access, Shared};
use crate::shm::segment::Segment;
use crate::sync::Ordering;

/// How often a newcomer goes round all seats before it reports that none is free.
const ROUNDS: u32 = 3;
/// How long a newcomer waits for a seat whose lock is held though nobody sits there: its holder is
/// just leaving.
const CHANGING: Duration = Duration::from_secs(1);

/// A writer's seat that this process holds.
#[derive(Debug)]
pub(super) struct WriterSeat {
    pub(super) index: u32,
    words: Shared<SeatWords>,
    /// The tenancy, as slots name it.
    pub(super) tenancy: u64,
}

impl WriterSeat {
    /// Takes any free seat, recovering it first if its last holder died in it.
    ///
    /// # Errors
    /// `SeatsTaken` naming the holders; `Io` when locking is refused.
    pub(super) fn take(
        segment: &Segment,
        cells: &Cells<TableMemory>,
        name: &str,
    ) -> Result<Self, Error> {
        let memory = &cells.memory;
        let deadline = Instant::now() + CHANGING;
        let mut rounds = 0;
        loop {
            let mut changing = false;
            for index in 0..memory.seats() {
                let Some(words) = memory.seat(index) else { continue };
                if lock::try_lock(&segment.file, byte(index)).map_err(failed("lock a seat"))? {
                    crash_point!(SeatLocked);
                    if seat::is_taken(words) {
                        put_in_order(segment, cells, index, words)?;
                    }
                    lock::sit(&segment.file, byte(index)).map_err(failed("keep a seat's lock"))?;
                    crash_point!(SeatKept);
                    seat::sit(words, std::process::id(), Uid::effective().as_raw(), name);
                    crash_point!(SeatTaken);
                    memory.note_change();
                    let tenancy = tenancy(index, seat::state(words).epoch());
                    return Ok(Self { index, words: words.clone(), tenancy });
                }
                changing |= !seat::is_taken(words);
            }
            rounds += 1;
            if changing && Instant::now() < deadline {
                std::thread::sleep(CHANGING / 1000);
            } else if rounds < ROUNDS {
                std::thread::yield_now();
            } else {
                break;
            }
        }
        Err(Error::SeatsTaken {
            name: segment.name.clone(),
            role: "writer",
            holders: writers(segment, memory),
        })
    }

    /// Marks the seat free and gives its lock back. This process stores nothing more on the strength
    /// of it.
    pub(super) fn leave(&self, segment: &Segment, memory: &TableMemory) {
        seat::set_free(&self.words);
        crash_point!(SeatFreed);
        // Should it fail, the kernel unlocks when the segment is closed.
        let _unlocked = lock::unlock(&segment.file, byte(self.index));
        memory.note_change();
    }
}

/// Whether a tenancy is over: nobody stores on the strength of it any more, and what it left is in order.
pub(super) fn is_gone(memory: &TableMemory, owner: u64) -> bool {
    let (index, epoch) = seat_and_epoch(owner);
    memory.seat(index).is_none_or(|words| {
        let state = seat::state(words);
        state.epoch() != epoch || !state.is_taken()
    })
}

/// Gives back every seat whose holder is provably dead.
///
/// # Errors
/// `NotFound` when the table has been removed, `Permission` when this user may not write to it.
pub(super) fn reclaim(segment: &Segment) -> Result<Vec<Reclaimed>, Error> {
    // A description of its own: this process's own seats are then as locked as anybody's.
    let segment = segment.reopen(Access::ReadWrite)?;
    let (header, _) = segment.table_header()?;
    let cells = memory::cells(&segment, &header, View::Writer)?;
    let mut reclaimed = Vec::new();
    for index in 0..cells.memory.seats() {
        reclaimed.extend(reclaim_seat(&segment, &cells, index)?);
    }
    Ok(reclaimed)
}

fn reclaim_seat(
    segment: &Segment,
    cells: &Cells<TableMemory>,
    index: u32,
) -> Result<Option<Reclaimed>, Error> {
    let Some((words, dead)) = cells.memory.seat(index).and_then(|words| {
        let occupant = occupant(segment, words, index)?;
        (!occupant.alive).then_some((words, occupant))
    }) else {
        return Ok(None);
    };
    if !lock::try_lock(&segment.file, byte(index)).map_err(failed("lock a seat"))? {
        return Ok(None);
    }
    let mut result = None;
    // Between the look and the lock the seat may have been recovered by somebody else.
    if seat::is_taken(words) {
        put_in_order(segment, cells, index, words)?;
        let Participant { pid, uid, name, .. } = dead;
        result = Some(Reclaimed { role: Role::Producer, seat: index, pid, uid, name, position: 0 });
    }
    lock::unlock(&segment.file, byte(index)).map_err(failed("unlock a seat"))?;
    Ok(result)
}

/// Recovers a seat whose lock the caller has just taken.
fn put_in_order(
    segment: &Segment,
    cells: &Cells<TableMemory>,
    index: u32,
    words: &SeatWords,
) -> Result<(), Error> {
    crash_point!(RecoveryBegun);
    let dead = tenancy(index, seat::state(words).epoch());
    cells.settle(dead).map_err(|_| Error::Corrupt {
        name: segment.name.clone(),
        reason: format!("the last write of writer {index}, which died, makes no sense"),
    })?;
    crash_point!(DeadCleared);
    // ORDERING: relaxed; a statistic.
    cells.memory.words.recoveries.fetch_add(1, Ordering::Relaxed);
    seat::set_free(words);
    crash_point!(DeadFreed);
    cells.memory.note_change();
    Ok(())
}

/// Everybody who sits in a writer's seat.
pub(super) fn writers(segment: &Segment, memory: &TableMemory) -> Vec<Participant> {
    (0..memory.seats()).filter_map(|index| occupant(segment, memory.seat(index)?, index)).collect()
}

fn occupant(segment: &Segment, words: &SeatWords, index: u32) -> Option<Participant> {
    // Where the lock cannot be looked at, nothing proves death.
    let inhabited = || lock::is_inhabited(&segment.file, byte(index)).unwrap_or(true);
    seat::occupant_of(words, Role::Producer, index, inhabited)
}

fn byte(index: u32) -> u64 {
    seat::byte(Role::Producer, index)
}

fn failed(action: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Io { action, source }
}
