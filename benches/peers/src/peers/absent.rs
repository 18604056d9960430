//! Stands in for a peer whose feature is not built, so that tables say so instead of leaving it out.

use std::marker::PhantomData;
use std::path::Path;

use crate::peer::{Peer, Rx, Shape, Tx};

/// What is not built.
pub trait Feature {
    /// The peer's name.
    const NAME: &'static str;
    /// Why it is left out, and how to build it.
    const REASON: &'static str;
}

/// A peer that supports nothing.
pub struct Absent<F>(PhantomData<F>);

/// An end that cannot be made.
pub enum Never {}

impl<F: Feature> Peer for Absent<F> {
    const NAME: &'static str = F::NAME;
    const ABOUT: &'static str = F::REASON;
    type Tx = Never;
    type Rx = Never;

    fn supports(_shape: &Shape) -> Result<(), String> {
        Err(F::REASON.to_owned())
    }

    fn prepare(_shape: &Shape, _place: &Path) -> Result<Self, String> {
        Err(F::REASON.to_owned())
    }

    fn tx(_shape: &Shape, _place: &Path, _index: usize) -> Result<Never, String> {
        Err(F::REASON.to_owned())
    }

    fn rx(_shape: &Shape, _place: &Path, _index: usize) -> Result<Never, String> {
        Err(F::REASON.to_owned())
    }
}

impl Tx for Never {
    fn send(&mut self, _count: usize, _fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        match *self {}
    }
}

impl Rx for Never {
    fn poll(&mut self, _max: usize, _each: impl FnMut(&[u8])) -> Result<usize, String> {
        match *self {}
    }
}

/// The module of a feature that is not built, with its peers and their names:
/// `absent!(zmq, "zmq": Zmq = "zeromq");`.
macro_rules! absent {
    ($module:ident, $feature:literal: $($peer:ident = $name:literal),+) => {
        #[doc = concat!("What needs `--features ", $feature, "`, which is not built.")]
        pub mod $module {
            mod off {
                $(
                    #[doc = concat!("`", $name, "`.")]
                    pub struct $peer;

                    impl $crate::peers::absent::Feature for $peer {
                        const NAME: &'static str = $name;
                        const REASON: &'static str =
                            concat!("not built: needs --features ", $feature);
                    }
                )+
            }

            $(
                #[doc = concat!("In place of `", $name, "`.")]
                pub type $peer = $crate::peers::absent::Absent<off::$peer>;
            )+
        }
    };
}
pub(super) use absent;
