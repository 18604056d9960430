//! Asking for lines before they are needed. A hint: where the machine has no such instruction, nothing.

#![allow(unsafe_code)]

/// Asks for the line where `place` begins, in order to read it.
#[inline]
pub(crate) fn to_read<T>(place: &T) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: a prefetch does not access memory as far as the program is concerned, and never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    let _ = place;
}
