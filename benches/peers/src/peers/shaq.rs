//! shaq: queues of fixed-size values in a mapped file. Three kinds, a peer each:
//!
//! | peer | several producers | several consumers |
//! |---|---|---|
//! | `shaq:spsc` | one queue each | no |
//! | `shaq:broadcast` | one lane each | each sees everything |
//! | `shaq:mpmc` | one queue, a total order | no: each message goes to one of them |
//!
//! Settings: files in `/dev/shm`, batches reserved, filled and read in place. Version 4.3, since 5
//! needs a library function that Rust 1.95 does not have.

mod broadcast;
mod mpmc;
mod spsc;

pub use broadcast::Broadcast;
pub use mpmc::Mpmc;
pub use spsc::Spsc;

use std::fs::{File, OpenOptions};
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::path::Path;

use super::by_size::Message;
use super::shm;

/// A file of a place, made if it is not there.
fn file(place: &Path, number: usize) -> Result<File, String> {
    let path = shm::path(place, number);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    file.map_err(|error| format!("opening {}: {error}", path.display()))
}

/// A batch or bound of at least one.
fn at_least_one(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}

/// The payload of a reserved slot.
///
/// # Safety
/// The slot lies in a mapped file.
#[inline]
unsafe fn payload<const WORDS: usize>(slot: &mut MaybeUninit<Message<WORDS>>) -> &mut [u8] {
    // SAFETY: a mapped file's bytes are zero until written, never uninitialized, and every pattern
    // of bits is a message.
    unsafe { slot.assume_init_mut() }.bytes_mut()
}
