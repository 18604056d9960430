//! Memory that a parent shares with the workers that it starts: a memfd of one value, which they
//! inherit by its descriptor's number. Nothing of it is left when they are gone.
//!
//! References: memfd_create(2), mmap(2).

#![allow(unsafe_code, reason = "maps memory that other processes write")]

use crate::exit::Failure;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::ptr::NonNull;

/// What can lie in such memory.
///
/// # Safety
/// `repr(C)`, at most page-aligned, every bit pattern is a value, and whatever several processes
/// store to is atomic or an `UnsafeCell` whose users agree by themselves.
pub unsafe trait Board {
    /// What tools show the memory as.
    const NAME: &'static str;
    /// Whether all pages are wanted at once, before anything is measured.
    const POPULATED: bool;
}

/// A new board, by its descriptor, which workers started from now on inherit.
pub struct BoardFile<B>(OwnedFd, PhantomData<B>);

impl<B: Board> BoardFile<B> {
    /// Makes one, all zero.
    pub fn create() -> Result<Self, Failure> {
        // Without CLOEXEC: the workers find it by its number.
        let fd = memfd_create(B::NAME, MemfdFlags::empty()).map_err(refused)?;
        ftruncate(&fd, size_of::<B>() as u64).map_err(refused)?;
        Ok(Self(fd, PhantomData))
    }

    /// The number of the descriptor, here and in workers.
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// A board in this process's memory.
pub struct Mapping<B>(NonNull<B>);

impl<B: Board> Mapping<B> {
    /// Maps the inherited descriptor `number`.
    pub fn open(number: i32) -> Result<Self, Failure> {
        let path = format!("/proc/self/fd/{number}");
        let file: File = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() != size_of::<B>() as u64 {
            return Err(Failure::usage(format!("descriptor {number} is not a board")));
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let populate = if B::POPULATED { MapFlags::POPULATE } else { MapFlags::empty() };
        let flags = MapFlags::SHARED | populate;
        // SAFETY: a new mapping at an address that the kernel chooses aliases nothing of ours.
        let address =
            unsafe { mmap(std::ptr::null_mut(), size_of::<B>(), access, flags, &file, 0) };
        let address = NonNull::new(address.map_err(refused)?.cast());
        address.map(Self).ok_or_else(|| Failure::failed("mmap returned address 0"))
    }
}

impl<B> Deref for Mapping<B> {
    type Target = B;

    fn deref(&self) -> &B {
        // SAFETY: mapped for as long as `self` lives, page-aligned, as long as a board (checked in
        // `open`, and this program is the only one that has the file and never shrinks it), and any
        // bytes are a value of it (`Board`).
        unsafe { self.0.as_ref() }
    }
}

impl<B> Drop for Mapping<B> {
    fn drop(&mut self) {
        // SAFETY: the range is the one that was mapped, and no reference outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast::<c_void>(), size_of::<B>()) };
    }
}

fn refused(error: rustix::io::Errno) -> Failure {
    Failure::from(io::Error::from(error)).context("sharing memory between workers")
}
