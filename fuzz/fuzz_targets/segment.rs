//! Every reader and writer over a segment whose words become anything, one step at a time.

#![no_main]

use busway_fuzz::{leaks, scratch, segment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: scratch::init(), |data: &[u8]| {
    leaks::keeps_nothing(|| segment::one_by_one(data));
});
