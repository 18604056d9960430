//! Asking for lines before they are needed. A hint: where the machine has no such instruction, nothing.

#![allow(unsafe_code)]

use std::ptr::NonNull;

/// Asks for the line at an address in order to read it.
#[inline]
pub(super) fn to_read(at: NonNull<u8>) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch does not access memory as far as the program is concerned, and never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
