//! The promises that torture watches, by the name of what breaks each.

use super::scenario::Scenario;
use serde::{Deserialize, Serialize};

/// Declares the kinds with their names and what the table says of them.
macro_rules! violations {
    ($( $(#[$meta:meta])* $kind:ident = $name:literal, $counts:literal; )+) => {
        /// A promise that was broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Violation { $( $(#[$meta])* $kind, )+ }

        impl Violation {
            /// Every kind, in the order of the table.
            pub const ALL: &'static [Self] = &[$( Self::$kind, )+];

            /// The name in messages and JSON.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$kind => $name, )+ }
            }

            /// The row of the table that counts it.
            pub const fn row(self) -> &'static str {
                match self { $( Self::$kind => $counts, )+ }
            }
        }
    };
}

violations! {
    /// A frame whose commit returned was not seen by a consumer that should have.
    Lost = "lost", "frames lost";
    /// A frame, or a position, was seen twice.
    Doubled = "doubled", "doubled";
    /// A frame is not what anybody wrote.
    Torn = "torn", "torn";
    /// Frames came in another order than that of their lane, or than other consumers saw.
    Reordered = "reordered", "reordered";
    /// A frame was seen that nobody had begun to commit.
    UncommittedSeen = "uncommitted-seen", "uncommitted seen";
    /// A part of a batch was seen.
    BatchSplit = "batch-split", "batches split";
    /// What a consumer of a lossy bus was told it had lost is not what it had lost.
    Miscounted = "miscounted", "losses miscounted";
    /// The seat of a process that lives was given back.
    WronglyReclaimed = "wrongly-reclaimed", "wrongly reclaimed";
    /// A live process that nobody rightly held up did nothing for two seconds.
    Wedged = "wedged", "wedged";
    /// A seat whose holder is dead could not be had again.
    LeakedSeat = "leaked-seat", "seats leaked";
    /// A segment was left behind.
    LeakedSegment = "leaked-segment", "segments leaked";
    /// A bus was seen under its name that was not whole.
    HalfMadeBus = "half-made-bus", "half-made buses";
    /// The daemon listed a bus that was not there, or did not list one that was.
    WrongList = "wrong-list", "wrong daemon lists";
    /// A group was not done with a frame in the end, though its members had nothing else to do.
    Undone = "undone", "frames not done";
    /// A frame was tried more often than its group allows.
    Overtried = "overtried", "tried too often";
    /// A process failed by itself.
    Failed = "failed", "processes failed";
}

impl Violation {
    /// Those that can be seen in a scenario, in the order of the table.
    pub fn of(scenario: Scenario) -> impl Iterator<Item = Self> {
        let is_seen = move |kind: &Self| match scenario {
            Scenario::Buses => !matches!(kind, Self::Undone | Self::Overtried),
            Scenario::Groups => !matches!(
                kind,
                Self::Reordered
                    | Self::BatchSplit
                    | Self::Miscounted
                    | Self::HalfMadeBus
                    | Self::WrongList
            ),
        };
        Self::ALL.iter().copied().filter(is_seen)
    }
}
