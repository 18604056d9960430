//! Proof of life: a lock on one byte of the segment per seat.
//!
//! | lock | held by |
//! |---|---|
//! | write | who comes to the seat, or puts it in order: nobody lives there |
//! | read | who sits there |
//!
//! The write lock keeps everybody else out. A newcomer turns it into a read lock, in one step, before
//! it sits down; that keeps others out as well, since they ask for the write lock.
//!
//! The locks are open-file-description locks. The kernel holds one for as long as the description
//! that took it is referenced, by a descriptor *or by a mapping made through it*, so a free byte
//! proves that nobody can store through the former holder's mapping any more. They work on tmpfs
//! and beyond the end of the file. Reference: fcntl(2), "Open file description locks".

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// The byte of a consumer's seat 0; producers' bytes start at 0 and there are at most 256.
pub(crate) const CONSUMER_BYTES: u64 = 256;

/// Takes the byte's write lock without waiting. `false`: another description holds a lock on it.
///
/// # Errors
/// Those of fcntl(2), for instance on a descriptor that is not open for writing.
pub(crate) fn try_lock(file: &File, byte: u64) -> io::Result<bool> {
    let lock = request(libc::F_WRLCK, byte)?;
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Turns this description's write lock on the byte into the read lock of who sits there.
///
/// # Errors
/// Those of fcntl(2); the write lock stays.
pub(crate) fn sit(file: &File, byte: u64) -> io::Result<()> {
    let lock = request(libc::F_RDLCK, byte)?;
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock))?;
    Ok(())
}

/// Gives the byte's lock back, if this description holds it.
///
/// # Errors
/// Those of fcntl(2).
pub(crate) fn unlock(file: &File, byte: u64) -> io::Result<()> {
    let lock = request(libc::F_UNLCK, byte)?;
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock))?;
    Ok(())
}

/// Whether another description has the read lock of who sits there. Cost: one system call, 250 ns.
///
/// # Errors
/// Those of fcntl(2).
pub(crate) fn is_inhabited(file: &File, byte: u64) -> io::Result<bool> {
    let mut lock = request(libc::F_WRLCK, byte)?;
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    // What is told of is the lock that is in the way of the write lock asked about.
    Ok(i32::from(lock.l_type) == libc::F_RDLCK)
}

fn request(kind: i32, byte: u64) -> io::Result<libc::flock> {
    let too_large = |_| io::Error::from(io::ErrorKind::InvalidInput);
    Ok(libc::flock {
        l_type: i16::try_from(kind).map_err(too_large)?,
        l_whence: 0, // SEEK_SET
        l_start: i64::try_from(byte).map_err(too_large)?,
        l_len: 1,
        l_pid: 0, // must be 0 for F_OFD_*
    })
}
