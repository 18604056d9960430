//! Every reader and writer over a segment whose words become anything while they run.

#![no_main]

use busway_fuzz::{leaks, scratch, segment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: scratch::init(), |data: &[u8]| {
    leaks::keeps_nothing(|| segment::two_at_once(data));
});
