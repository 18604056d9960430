//! The choices a bus is created with and attached by: small enums with one spelling everywhere.
//!
//! Each enum has one kebab-case name per variant, used alike by the command line, JSON, TOML and
//! error messages, and one number per variant, used in the segment header.

mod affinity;

pub use affinity::Affinity;

use crate::error::Error;

/// Declares an enum with a name and a header number per variant, and every conversion of them.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $type:ident ($what:literal) { $( $(#[$vmeta:meta])* $variant:ident = $number:literal, $name:literal; )+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $type { $( $(#[$vmeta])* $variant, )+ }

        impl $type {
            /// Every variant's name, in the order of the header numbers.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The name used by the command line, JSON and TOML.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }

            /// The number that stands for this choice in the segment header.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self { $( Self::$variant => $number, )+ }
            }

            /// The choice that a header number stands for, if any.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $( $number => Some(Self::$variant), )+ _ => None }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    $( $name => Ok(Self::$variant), )+
                    _ => Err(Error::BadOption {
                        option: $what,
                        value: text.to_owned(),
                        allowed: Self::NAMES.join(", "),
                    }),
                }
            }
        }
    };
}

choice! {
    /// How the lanes of a bus are used.
    Topology ("topology") {
        /// One lane, one producer.
        Single = 0, "single";
        /// One lane per producer; order is per producer. The default.
        Lanes = 1, "lanes";
        /// Lanes plus an order ring: every consumer sees the same total order.
        Ordered = 2, "ordered";
    }
}

choice! {
    /// What a producer does when its lane is full.
    OnFull ("on-full policy") {
        /// Waits for the slowest consumer, up to the producer's timeout. Lossless.
        Block = 0, "block";
        /// Returns `Full` at once, without any effect. Lossless.
        Reject = 1, "reject";
        /// Overwrites the oldest frames. A consumer that is lapped learns exactly how many it lost.
        DropOldest = 2, "drop-oldest";
    }
}

choice! {
    /// When a frame's header is stamped with the time.
    Timestamps ("timestamps") {
        /// Never: `time_ns` is 0.
        Off = 0, "off";
        /// One clock read per commit; every frame of a batch carries the same time. The default.
        Batch = 1, "batch";
        /// One clock read per frame.
        Frame = 2, "frame";
    }
}

choice! {
    /// What a slot holds.
    FrameLayout ("frame layout") {
        /// A 16-byte header (time, length, kind, flags), then the payload. The default.
        Event = 0, "event";
        /// The payload alone: a lane is one contiguous array of the user's struct.
        Bare = 1, "bare";
    }
}

choice! {
    /// What the keys of a table are.
    KeyKind ("kind of keys") {
        /// Numbers. The default.
        U64 = 1, "u64";
        /// Texts of 1 to 32 bytes.
        Text = 2, "text";
    }
}

choice! {
    /// How an attached end waits when there is nothing to do.
    Wait ("wait strategy") {
        /// Spins, then yields, then parks: low latency under load, no processor time when idle.
        Adaptive = 0, "adaptive";
        /// Spins only. Lowest latency; occupies a core.
        Busy = 1, "busy";
        /// Spins briefly, then yields the core to whoever is runnable.
        Yielding = 2, "yielding";
        /// Spins briefly, then sleeps in the kernel until woken.
        Parking = 3, "parking";
    }
}

choice! {
    /// What a consumer group promises of each frame.
    Delivery ("delivery") {
        /// It is acknowledged by a member, or a dead letter; its handling may be begun more than once.
        /// The default.
        AtLeastOnce = 0, "at-least-once";
        /// It is handed out once or not at all: a member that dies with it has lost it.
        AtMostOnce = 1, "at-most-once";
    }
}

impl OnFull {
    /// Whether the policy never loses a frame that a consumer has not read.
    #[must_use]
    pub const fn is_lossless(self) -> bool {
        !matches!(self, Self::DropOldest)
    }
}

/// Where a new consumer or observer starts to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// After everything that is published when the attach returns. The default.
    #[default]
    Latest,
    /// At the oldest frame that each ring still holds.
    Oldest,
    /// At this position: of every lane, or of the order ring on an `ordered` bus. Positions that
    /// are no longer held are skipped and counted as lost (on an `ordered` bus as many as tickets
    /// were skipped, on lane 0: nobody knows how many frames each stood for); one that is not, or
    /// not yet, published is the same as `Latest`.
    Position(u64),
}
