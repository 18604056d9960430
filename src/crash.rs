//! Named places in the code at which a process can be made to die or to stop.
//!
//! A promise about processes that die "at any instruction" is worth what was tried. `crash_point!`
//! marks the places between two steps of a protocol; in the library as it is used it compiles to
//! nothing. Built with the feature `crash-points` (by `crates/busway-crashable`, which is this
//! library once more for the workers of `busctl torture`), a process can be armed to end or to stop
//! itself when it comes to one of them for the n-th time.

/// Dies or stops here if the process was armed to; nothing at all without the feature.
macro_rules! crash_point {
    ($point:ident) => {
        #[cfg(feature = "crash-points")]
        $crate::crash::reached($crate::crash::CrashPoint::$point);
    };
}
pub(crate) use crash_point;

#[cfg(feature = "crash-points")]
pub(crate) use armed::reached;
#[cfg(feature = "crash-points")]
pub use armed::{CrashAction, CrashPoint, arm, disarm, hits};

#[cfg(feature = "crash-points")]
mod armed {
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    use nix::sys::signal::{Signal, raise};

    /// Declares the points with their names.
    macro_rules! points {
        ($( $(#[$meta:meta])* $point:ident = $name:literal, )+) => {
            /// A named place.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum CrashPoint { $( $(#[$meta])* $point, )+ }

            impl CrashPoint {
                /// Every point, in the order of the enum.
                pub const ALL: &'static [Self] = &[$( Self::$point, )+];

                /// The point's name, as options and reports spell it.
                #[must_use]
                pub const fn name(self) -> &'static str {
                    match self { $( Self::$point => $name, )+ }
                }
            }
        };
    }

    points! {
        /// A lossless producer has announced new credit and has not looked at the consumers again.
        CreditAnnounced = "credit-announced",
        /// A lossy producer has announced what it is about to overwrite.
        OverwriteAnnounced = "overwrite-announced",
        /// A frame's header is written and its payload is not.
        FrameHalfWritten = "frame-half-written",
        /// A frame is written and nothing is visible.
        FrameWritten = "frame-written",
        /// Just before the store of `head`.
        HeadNotStored = "head-not-stored",
        /// Just after the store of `head`, before sleepers are looked for.
        HeadStored = "head-stored",
        /// A ticket is taken and recorded nowhere.
        TicketTaken = "ticket-taken",
        /// The ticket stands beside the slots and not in the lane's words.
        TicketMarked = "ticket-marked",
        /// The ticket is recorded, the entry not set.
        TicketRecorded = "ticket-recorded",
        /// The entry is set, the lane's `head` does not follow yet.
        EntrySet = "entry-set",
        /// A consumer is about to punch a hole.
        HoleFound = "hole-found",
        /// A consumer has punched a hole.
        HolePunched = "hole-punched",
        /// Frames are handed out and the cursor is not stored.
        CursorNotStored = "cursor-not-stored",
        /// A lane's cursor is stored and its producer not rung for.
        CursorStored = "cursor-stored",
        /// The lanes' cursors are stored and the order cursor is not.
        OrderCursorNotStored = "order-cursor-not-stored",
        /// A seat's lock is taken and nothing written.
        SeatLocked = "seat-locked",
        /// A seat's lock says that somebody lives there, and the seat does not.
        SeatKept = "seat-kept",
        /// A seat is taken and nobody told.
        SeatTaken = "seat-taken",
        /// A producer sits and its lane's bit is not set.
        LaneNotOpen = "lane-not-open",
        /// A consumer's first cursors are placed and bind nobody.
        CursorsPlaced = "cursors-placed",
        /// A consumer binds the producers and has not settled where it starts.
        JoinBegun = "join-begun",
        /// A participant is about to sleep and says so.
        Sleeping = "sleeping",
        /// Who leaves has cleared its bits and holds the seat.
        BitsCleared = "bits-cleared",
        /// Who leaves has freed the seat and holds its lock.
        SeatFreed = "seat-freed",
        /// A dead consumer is declared dead and still has its seat.
        DeathDeclared = "death-declared",
        /// A recoverer has taken a dead one's lock and done nothing.
        RecoveryBegun = "recovery-begun",
        /// A recoverer has settled a lane and cleared nothing.
        LaneSettled = "lane-settled",
        /// A recoverer has cleared the bits and not freed the seat.
        DeadCleared = "dead-cleared",
        /// A recoverer has freed the seat and holds its lock.
        DeadFreed = "dead-freed",
        /// A consumer is marked as evicted and nobody told.
        EvictionMarked = "eviction-marked",
        /// A table's writer has counted a new key and not inserted it.
        KeyAskedFor = "key-asked-for",
        /// A value's slot has who writes it and not the value.
        ValueHalfWritten = "value-half-written",
        /// A value's slot is written, the desk says so, and the cell is not set.
        CellNotSet = "cell-not-set",
        /// A cell is set and the slot that it had is nobody's.
        CellSet = "cell-set",
        /// A cell is set, its old slot taken, and nobody woken.
        SlotTaken = "slot-taken",
        /// A slot was claimed and is in no pool yet.
        SlotClaimed = "slot-claimed",
        /// A waiting reader's bell is rung and nobody woken.
        BellRung = "bell-rung",
        /// A recoverer has settled a dead writer's last write and not cleared its desk.
        DeskSettled = "desk-settled",
        /// A new segment's file is there, empty and without a name.
        SegmentOpened = "segment-opened",
        /// A new segment is allocated and not written.
        SegmentAllocated = "segment-allocated",
        /// A new segment is written and has no name.
        SegmentWritten = "segment-written",
        /// A new segment has its name.
        SegmentNamed = "segment-named",
        /// A bus has lost its name and nobody was told.
        SegmentUnlinked = "segment-unlinked",
        /// A member of a group has claimed a frame and not copied it.
        GroupClaimed = "group-claimed",
        /// A member has its frames copied and is about to acknowledge one.
        GroupAckNotMade = "group-ack-not-made",
        /// A frame is acknowledged and the gate does not follow yet.
        GroupAckMade = "group-ack-made",
        /// A claim has ended without an acknowledgement, and nobody was told.
        GroupClaimEnded = "group-claim-ended",
        /// A member is about to move the gate.
        GroupGateNotMoved = "group-gate-not-moved",
        /// The gate is moved and the producer not rung for.
        GroupGateMoved = "group-gate-moved",
        /// A dead letter is published and its frame not done with.
        GroupLetterSent = "group-letter-sent",
        /// A member has taken a share of the keys and not looked for others' claims.
        GroupShareTaken = "group-share-taken",
        /// A member that leaves has given up a share and is attached.
        GroupShareGivenUp = "group-share-given-up",
        /// A member sits in a dead one's seat and has not taken back its claims.
        GroupSeatLocked = "group-seat-locked",
        /// A member is attached and has claimed nothing.
        GroupMemberSeated = "group-member-seated",
        /// A group's segment has its name and the group no seat.
        GroupNamed = "group-named",
        /// A group's words are written and its seat is still its maker's.
        GroupNotSeated = "group-not-seated",
        /// A group has its seat, and its maker's lock on it.
        GroupSeated = "group-seated",
        /// A group that is being removed holds up nobody and has its name.
        GroupDisbanded = "group-disbanded",
    }

    impl CrashPoint {
        /// Whether it is a point of tables alone; the others are of buses, and some of both.
        #[must_use]
        pub const fn is_of_tables(self) -> bool {
            matches!(
                self,
                Self::KeyAskedFor
                    | Self::ValueHalfWritten
                    | Self::CellNotSet
                    | Self::CellSet
                    | Self::SlotTaken
                    | Self::SlotClaimed
                    | Self::BellRung
                    | Self::DeskSettled
            )
        }
    }

    impl std::str::FromStr for CrashPoint {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            let named = Self::ALL.iter().find(|point| point.name() == text).copied();
            named.ok_or_else(|| format!("there is no crash point {text:?}"))
        }
    }

    /// What happens at the point.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum CrashAction {
        /// SIGKILL: the process ends there.
        Die,
        /// SIGSTOP: the process stands there until somebody sends SIGCONT.
        Stop,
    }

    /// The armed point's place in `ALL`, plus one; 0 when none is.
    static ARMED: AtomicU32 = AtomicU32::new(0);
    /// How often it still has to be reached.
    static LEFT: AtomicU64 = AtomicU64::new(0);
    /// Whether to stop there and not to die.
    static STOPS: AtomicU32 = AtomicU32::new(0);
    /// How often any point was reached.
    static HITS: AtomicU64 = AtomicU64::new(0);

    /// Has this process die or stop when it comes to `point` for the `nth` time from now, once.
    pub fn arm(point: CrashPoint, nth: u64, action: CrashAction) {
        // ORDERING: relaxed for all; a worker arms itself before it starts, or by the thread that
        // reaches the points.
        LEFT.store(nth.max(1), Ordering::Relaxed);
        STOPS.store(u32::from(action == CrashAction::Stop), Ordering::Relaxed);
        ARMED.store(point as u32 + 1, Ordering::Relaxed);
    }

    /// Takes it back.
    pub fn disarm() {
        // ORDERING: relaxed; as in `arm`.
        ARMED.store(0, Ordering::Relaxed);
    }

    /// How often this process has come to any point: shows that points are compiled in.
    pub fn hits() -> u64 {
        // ORDERING: relaxed; a count.
        HITS.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn reached(point: CrashPoint) {
        // ORDERING: relaxed for all; see `arm`.
        HITS.fetch_add(1, Ordering::Relaxed);
        if ARMED.load(Ordering::Relaxed) == point as u32 + 1 {
            act();
        }
    }

    #[cold]
    fn act() {
        // ORDERING: relaxed for all; see `arm`.
        if LEFT.fetch_sub(1, Ordering::Relaxed) != 1 {
            return;
        }
        disarm();
        let stops = STOPS.load(Ordering::Relaxed) != 0;
        let signal = if stops { Signal::SIGSTOP } else { Signal::SIGKILL };
        // To this thread and not to the process, of which another thread could take it while this one
        // goes on a little; so it is taken before the call returns, and cannot fail.
        let _sent = raise(signal);
    }
}
