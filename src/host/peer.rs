//! Who is at the other end of a connection, as the kernel recorded it when it was made: process, user,
//! group (SO_PEERCRED) and further groups (SO_PEERGROUPS). References: unix(7), socket(7).

#![allow(unsafe_code)] // a socket option of changing length

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::Peer;

/// Groups of one process at most (`NGROUPS_MAX`, limits.h).
const GROUPS_MAX: usize = 65536;
/// Groups that a process has usually at most; more take a second call.
const GROUPS_USUAL: usize = 64;

impl Peer {
    /// Asks the kernel who is at the other end of a Unix socket.
    ///
    /// # Errors
    /// When it does not say.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let socket = socket.as_fd();
        let credentials = getsockopt(&socket, PeerCredentials)?;
        Ok(Self {
            // 0 for a process of a pid namespace that is none of ours.
            pid: credentials.pid().unsigned_abs(),
            uid: credentials.uid(),
            gid: credentials.gid(),
            groups: groups(socket)?,
        })
    }
}

fn groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let mut room = GROUPS_USUAL;
    loop {
        let mut groups = vec![0_u32; room];
        let bytes = size_of::<u32>() * room;
        let mut len = libc::socklen_t::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: the buffer has `len` bytes, is aligned for what is written, which are u32, and
        // lives through the call; `len` is a valid place for the length.
        let failed = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        } != 0;
        let count = usize::try_from(len).map_err(io::Error::other)? / size_of::<u32>();
        if !failed {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= room || count > GROUPS_MAX {
            return Err(error);
        }
        room = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_named_with_its_groups() {
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&near).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        let mut groups: Vec<u32> =
            nix::unistd::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        let mut found = peer.groups;
        groups.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, groups);
    }
}
