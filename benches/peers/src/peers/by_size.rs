//! Payload sizes as types, for peers whose message is a type of the compiler's: one end for each
//! size that the scenarios use, and one `match` for each call of an end (not for each message).

use busway::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::peer::{Shape, need};

/// A message of so many 8-byte words.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[zerocopy(crate = "busway::zerocopy")]
#[repr(transparent)]
pub struct Message<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Default for Message<WORDS> {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl<const WORDS: usize> Message<WORDS> {
    /// The payload.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    /// The payload, to be filled.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.as_mut_bytes()
    }
}

/// The sizes that [`by_size_tx`] and [`by_size_rx`] know, in bytes.
pub const SIZES_BYTES: [usize; 7] = [8, 16, 48, 64, 256, 1024, 4096];

/// Whether there is a type for this payload.
pub fn need_size(shape: &Shape) -> Result<(), String> {
    need(SIZES_BYTES.contains(&shape.payload_bytes), "fixed sizes only, and not this one")
}

/// The reason why an end of an unknown size cannot be made.
pub fn unknown_size(shape: &Shape) -> String {
    format!("a payload of {} bytes, but {SIZES_BYTES:?} are built", shape.payload_bytes)
}

/// An end of one size, made from what an end is asked for.
pub trait Attach: Sized {
    /// Attaches end `index`.
    fn attach(shape: &Shape, place: &std::path::Path, index: usize) -> Result<Self, String>;
}

/// Declares an enum with an end of each size, and the way to make it.
macro_rules! by_size {
    ($(#[$meta:meta])* $name:ident of $end:ident, $($variant:ident $words:literal)*) => {
        $(#[$meta])*
        pub enum $name {
            $(
                #[doc = concat!("Messages of ", $words, " words.")]
                $variant($end<$words>),
            )*
        }

        impl $name {
            /// Attaches the end of the shape's size.
            ///
            /// # Errors
            /// What was tried and what the system said.
            pub fn attach(
                shape: &$crate::peer::Shape,
                place: &std::path::Path,
                index: usize,
            ) -> Result<Self, String> {
                use $crate::peers::by_size::{Attach as _, unknown_size};
                match shape.payload_bytes / 8 {
                    $($words => $end::attach(shape, place, index).map(Self::$variant),)*
                    _ => Err(unknown_size(shape)),
                }
            }
        }
    };
}

/// Declares an enum of sending ends.
macro_rules! by_size_tx {
    ($(#[$meta:meta])* $name:ident of $end:ident) => {
        $crate::peers::by_size::by_size_tx!(
            $(#[$meta])* $name of $end, W1 1 W2 2 W6 6 W8 8 W32 32 W128 128 W512 512
        );
    };
    ($(#[$meta:meta])* $name:ident of $end:ident, $($variant:ident $words:literal)*) => {
        $crate::peers::by_size::by_size!($(#[$meta])* $name of $end, $($variant $words)*);

        impl $crate::peer::Tx for $name {
            fn begin(&mut self) -> Result<(), String> {
                match self { $(Self::$variant(end) => end.begin(),)* }
            }

            #[inline]
            fn send(
                &mut self,
                count: usize,
                fill: impl FnMut(usize, &mut [u8]),
            ) -> Result<(), String> {
                match self { $(Self::$variant(end) => end.send(count, fill),)* }
            }

            fn flush(&mut self) -> Result<(), String> {
                match self { $(Self::$variant(end) => end.flush(),)* }
            }
        }
    };
}

/// Declares an enum of receiving ends.
macro_rules! by_size_rx {
    ($(#[$meta:meta])* $name:ident of $end:ident) => {
        $crate::peers::by_size::by_size_rx!(
            $(#[$meta])* $name of $end, W1 1 W2 2 W6 6 W8 8 W32 32 W128 128 W512 512
        );
    };
    ($(#[$meta:meta])* $name:ident of $end:ident, $($variant:ident $words:literal)*) => {
        $crate::peers::by_size::by_size!($(#[$meta])* $name of $end, $($variant $words)*);

        impl $crate::peer::Rx for $name {
            fn begin(&mut self) -> Result<(), String> {
                match self { $(Self::$variant(end) => end.begin(),)* }
            }

            #[inline]
            fn poll(&mut self, max: usize, each: impl FnMut(&[u8])) -> Result<usize, String> {
                match self { $(Self::$variant(end) => end.poll(max, each),)* }
            }

            fn wait(
                &mut self,
                timeout: std::time::Duration,
                each: impl FnMut(&[u8]),
            ) -> Result<usize, String> {
                match self { $(Self::$variant(end) => end.wait(timeout, each),)* }
            }
        }
    };
}

/// Calls a function of the shape's size: `make_by_size!(shape, make(shape, place))?`.
macro_rules! make_by_size {
    ($shape:expr, $make:ident($($argument:expr),*)) => {
        match $shape.payload_bytes / 8 {
            1 => Ok($make::<1>($($argument),*)),
            2 => Ok($make::<2>($($argument),*)),
            6 => Ok($make::<6>($($argument),*)),
            8 => Ok($make::<8>($($argument),*)),
            32 => Ok($make::<32>($($argument),*)),
            128 => Ok($make::<128>($($argument),*)),
            512 => Ok($make::<512>($($argument),*)),
            _ => Err($crate::peers::by_size::unknown_size($shape)),
        }
    };
}

pub(super) use {by_size, by_size_rx, by_size_tx, make_by_size};
