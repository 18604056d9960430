//! Seats: who is attached, proof that they live, and giving back what the dead held.
//!
//! A seat is taken by taking the kernel's write lock on its byte of the segment (`shm::lock`), which
//! at most one open file description can hold, and then turning it into a read lock. A holder that
//! leaves gives that back after its last store; of one that dies it outlives the process by exactly as
//! long as something could still store to the segment. What the seat's words say is for display and
//! for cleaning up; the lock alone decides.
//!
//! | seat's lock | seat's state | meaning |
//! |---|---|---|
//! | read | taken | attached |
//! | read | free | attaching, detaching |
//! | write | taken | its holder died, and it is being recovered |
//! | write | free | attaching, or just recovered |
//! | none | taken | its holder died: whoever takes the lock recovers it first |
//! | none | free | free |

pub(crate) mod recovery;

use std::fs::File;
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use crate::crash::crash_point;
use crate::error::Error;
use crate::layout::state::SeatState;
use crate::layout::words::SeatWords;
use crate::participant::{Participant, Role};
use crate::regions::Regions;
use crate::shm::lock;
use crate::shm::mapping::Shared;
use crate::shm::segment::Segment;
use crate::sync::{Ordering, clock};

/// Bytes of a participant's name; longer ones are cut.
const NAME_BYTES: usize = 32;
/// How often a newcomer goes round all seats before it reports that none is free: a second time,
/// since a seat under recovery looks taken for some microseconds.
const ROUNDS: u32 = 3;
/// How long a newcomer waits for a seat whose lock is held though nobody sits there: its holder is
/// just leaving, in two steps that a busy machine may put some time between.
const CHANGING: Duration = Duration::from_secs(1);

/// A seat that this process holds. `leave` gives its lock back; otherwise it goes with the segment's
/// file and mappings.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) index: u32,
    pub(crate) words: Shared<SeatWords>,
    /// What this process sleeps on.
    pub(crate) bell: Shared<SeatWords>,
}

impl Seat {
    /// Takes any free seat of a role, recovering it first if its last holder died in it.
    ///
    /// # Errors
    /// `SeatsTaken` naming the holders; `Io` when locking is refused.
    pub(crate) fn take(
        segment: &Segment,
        regions: &Regions,
        role: Role,
        name: &str,
    ) -> Result<Self, Error> {
        let deadline = Instant::now() + CHANGING;
        let mut rounds = 0;
        loop {
            let mut changing = false;
            for index in 0..regions.seats(role) {
                let Some((words, bell)) = regions.seat(role, index).zip(regions.bell(role, index))
                else {
                    continue;
                };
                // Before the lock: this process may be stopped while it holds it.
                recovery::declare(segment, role, index, &words);
                if try_lock(&segment.file, role, index)? {
                    crash_point!(SeatLocked);
                    if is_taken(&words) {
                        recovery::recover(segment, role, index)?;
                    }
                    // Before the state says so: who finds a taken seat without this lock buries its
                    // holder.
                    lock::sit(&segment.file, byte(role, index))
                        .map_err(|source| Error::Io { action: "keep a seat's lock", source })?;
                    crash_point!(SeatKept);
                    sit(&words, std::process::id(), Uid::effective().as_raw(), name);
                    crash_point!(SeatTaken);
                    regions.note_change();
                    return Ok(Self { index, words, bell });
                }
                changing |= !is_taken(&words);
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
            role: role.name(),
            holders: participants(Some(segment), regions, role),
        })
    }

    /// Whether this process was told to leave, or has lost the seat in any other way.
    #[inline]
    pub(crate) fn is_evicted(&self) -> bool {
        // ORDERING: acquire, pairs with the CAS in `regions::evict::evict_seat`.
        SeatState::from_word(self.words.state.load(Ordering::Acquire)).is_lost()
    }

    /// Marks the seat free and gives its lock back. Everything that the role leaves behind has been
    /// put in order, and this process stores nothing more on the strength of the seat.
    pub(crate) fn leave(&self, segment: &Segment, regions: &Regions, role: Role) {
        set_free(&self.words);
        crash_point!(SeatFreed);
        // Unlocking now and not with the unmapping, which may take long, lets the next one in at
        // once. Should it fail, the kernel unlocks when the segment is closed.
        let _unlocked = lock::unlock(&segment.file, byte(role, self.index));
        regions.note_change();
    }
}

/// The byte whose lock is proof of life for a seat.
pub(crate) fn byte(role: Role, index: u32) -> u64 {
    match role {
        Role::Producer => index.into(),
        Role::Consumer => lock::CONSUMER_BYTES + u64::from(index),
    }
}

fn try_lock(file: &File, role: Role, index: u32) -> Result<bool, Error> {
    lock::try_lock(file, byte(role, index))
        .map_err(|source| Error::Io { action: "lock a seat", source })
}

/// How a seat stands.
pub(crate) fn state(words: &SeatWords) -> SeatState {
    // ORDERING: acquire, pairs with the release store in `sit`; makes the holder's name visible.
    SeatState::from_word(words.state.load(Ordering::Acquire))
}

/// Whether the seat's state says taken.
pub(crate) fn is_taken(words: &SeatWords) -> bool {
    state(words).is_taken()
}

/// Writes who sits there into a seat that is this process's to give: it holds its lock, or is the
/// broker.
pub(crate) fn sit(words: &SeatWords, pid: u32, uid: u32, name: &str) {
    // ORDERING: relaxed for all of them; published by the release store of the state below.
    let state = SeatState::from_word(words.state.load(Ordering::Relaxed));
    words.pid.store(pid, Ordering::Relaxed);
    words.uid.store(uid, Ordering::Relaxed);
    words.attached_unix_ns.store(clock::unix_ns(), Ordering::Relaxed);
    let mut bytes = [0_u8; NAME_BYTES];
    for (to, from) in bytes.iter_mut().zip(cut(name, NAME_BYTES).bytes()) {
        *to = from;
    }
    let (chunks, _) = bytes.as_chunks::<8>();
    for (word, chunk) in words.name.iter().zip(chunks) {
        word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
    }
    // ORDERING: release, pairs with the acquire load in `state`. A seat that is free is stored to by
    // its lock's holder alone.
    words.state.store(state.sat().word(), Ordering::Release);
}

/// Keeps the epoch, clears the rest.
pub(crate) fn set_free(words: &SeatWords) {
    // ORDERING: relaxed load; besides the lock's holder only an evicter stores here, which leaves the
    // epoch as it is and comes too late now.
    let state = SeatState::from_word(words.state.load(Ordering::Relaxed));
    // ORDERING: release; what was put in order before leaving is visible to who sees it free.
    words.state.store(state.freed().word(), Ordering::Release);
}

/// Who sits in a seat, if anybody. Bytes that are not UTF-8 show as replacement characters. Without
/// a segment a broker keeps the seats, and gives back those of the dead before anybody looks.
pub(crate) fn occupant(
    segment: Option<&Segment>,
    regions: &Regions,
    role: Role,
    seat: u32,
) -> Option<Participant> {
    occupant_of(segment, &*regions.seat(role, seat)?, role, seat)
}

/// The same of a seat by its words.
pub(crate) fn occupant_of(
    segment: Option<&Segment>,
    words: &SeatWords,
    role: Role,
    seat: u32,
) -> Option<Participant> {
    let state = state(words);
    if !state.is_taken() {
        return None;
    }
    // ORDERING: relaxed; made visible by `state`. A seat that changes hands meanwhile shows a
    // mixture, which is display only.
    let mut bytes = Vec::with_capacity(NAME_BYTES);
    for word in &words.name {
        bytes.extend(word.load(Ordering::Relaxed).to_le_bytes());
    }
    let name = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    Some(Participant {
        role,
        seat,
        pid: words.pid.load(Ordering::Relaxed),
        uid: words.uid.load(Ordering::Relaxed),
        name: String::from_utf8_lossy(name).into_owned(),
        epoch: state.epoch(),
        evicted: state.is_evicted(),
        attached_unix_ns: words.attached_unix_ns.load(Ordering::Relaxed),
        // Where the lock cannot be looked at, nothing proves death.
        alive: !state.is_dead()
            && segment.is_none_or(|segment| {
                lock::is_inhabited(&segment.file, byte(role, seat)).unwrap_or(true)
            }),
    })
}

/// Everybody who sits in a seat of a role.
pub(crate) fn participants(
    segment: Option<&Segment>,
    regions: &Regions,
    role: Role,
) -> Vec<Participant> {
    (0..regions.seats(role)).filter_map(|seat| occupant(segment, regions, role, seat)).collect()
}

/// The longest start of `text` that has at most `bytes` bytes and ends between characters.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The name of this process, as the kernel shows it.
pub(crate) fn process_name() -> String {
    std::fs::read_to_string("/proc/self/comm")
        .map_or_else(|_| "?".to_owned(), |name| name.trim_end().to_owned())
}
