//! A small bus of any shape, everything that can be done to it, and words that nobody should write.
//!
//! An input is a shape of eight bytes (`shape`), then steps of four bytes (`step`): publish, poll,
//! look, attach, detach, or store a word into the segment's file (`mutation`). `ends` holds the
//! producers, consumers and observers that are attached and does the steps.
//!
//! Whatever the words say: an error or a wrong payload, never a panic, a hang, or a touch out of
//! bounds. As long as no word was stored, payloads are also right.

mod ends;
mod mutation;
mod shape;
mod step;

use std::sync::atomic::{AtomicBool, Ordering};

use self::ends::Ends;
use self::mutation::Segment;
use self::step::Step;
use crate::bytes::Bytes;
use crate::scratch::Name;

/// Steps of one input at most, so that an input is done within milliseconds.
const STEPS_MAX: usize = 96;

/// Does the steps one after the other.
pub fn one_by_one(data: &[u8]) {
    let mut bytes = Bytes(data);
    let name = Name::new();
    let Some(bus) = shape::create(&mut bytes, &name) else {
        return;
    };
    let segment = Segment::open(&name, &bus);
    let mut ends = Ends::new(bus);
    for step in steps(bytes) {
        match step {
            Step::Store(mutation) => {
                ends.distrust();
                segment.store(mutation);
            }
            step => ends.take(&step),
        }
    }
}

/// Does the steps on this thread while another stores the words, again and again.
pub fn two_at_once(data: &[u8]) {
    let mut bytes = Bytes(data);
    let name = Name::new();
    let Some(bus) = shape::create(&mut bytes, &name) else {
        return;
    };
    let segment = Segment::open(&name, &bus);
    let mut ends = Ends::new(bus);
    ends.distrust();
    let (stores, steps): (Vec<Step>, Vec<Step>) =
        steps(bytes).partition(|step| matches!(step, Step::Store(_)));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for store in &stores {
                    if let Step::Store(mutation) = store {
                        segment.store(*mutation);
                    }
                }
                std::thread::yield_now();
            }
        });
        // Twice, so that the second time starts from what the first has left.
        for step in steps.iter().chain(&steps) {
            ends.take(step);
        }
        drop(ends);
        done.store(true, Ordering::Relaxed);
    });
}

fn steps(mut bytes: Bytes<'_>) -> impl Iterator<Item = Step> {
    let next = move || (!bytes.is_empty()).then(|| Step::read(&mut bytes));
    std::iter::from_fn(next).take(STEPS_MAX)
}
