//! Whether a file that stands under a bus's name may be who it says it is.
//!
//! Anybody may put a file into /dev/shm under any name that is free. A segment is data to whoever
//! observes it, and checked as such; but a producer tells its frames to whoever made the file, and a
//! consumer acts on them. So whoever attaches asks who owns it:
//!
//! | owner | attach |
//! |---|---|
//! | this user, or root | yes |
//! | another, and the file is open to a group that this user is in | yes: the group was given it |
//! | another, open to everybody | only when asked for by name (`Bus::open_owned_by`) |
//!
//! A bus has one name. A file with more was linked by somebody to be found where it was not put.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::unistd::{Gid, Uid, getegid, getgroups};

use super::segment::Rights;
use crate::error::Error;

/// Read and write permission of the group.
const GROUP_READ_WRITE: u32 = 0o060;

/// Who owns a segment's file, and who it is open to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Owner {
    /// Of a file that is a regular one.
    ///
    /// # Errors
    /// `Untrusted` when the file has more names than one.
    pub(super) fn of(meta: &Metadata, name: &str) -> Result<Self, Error> {
        if meta.nlink() > 1 {
            return Err(Error::Untrusted {
                name: name.to_owned(),
                owner_uid: meta.uid(),
                reason: format!("its file has {} names and a bus has one", meta.nlink()),
            });
        }
        Ok(Self { uid: meta.uid(), gid: meta.gid(), mode: meta.permissions().mode() })
    }

    /// Refuses an owner that is not the one expected, or without an expectation one that this user has
    /// no reason to trust.
    ///
    /// # Errors
    /// `Untrusted`.
    pub(super) fn check(self, name: &str, expected_uid: Option<u32>) -> Result<(), Error> {
        let refused = |reason: String| {
            Err(Error::Untrusted { name: name.to_owned(), owner_uid: self.uid, reason })
        };
        match expected_uid {
            Some(uid) if uid == self.uid => Ok(()),
            Some(uid) => refused(format!("user {uid} was expected")),
            None if self.is_known() || self.is_by_group() => Ok(()),
            None => refused(
                "whom this user has no reason to trust; name the owner to trust it".to_owned(),
            ),
        }
    }

    /// The rights that the file has. Its group is named only where that may do what others may not: who
    /// is not in it could not give a file to it.
    pub(super) fn rights(self) -> Rights {
        let (others, group) = (self.mode & 0o7, (self.mode >> 3) & 0o7);
        Rights { mode: self.mode & 0o777, group: (group & !others != 0).then_some(self.gid) }
    }

    /// Whether both files are one user's.
    pub(super) fn is_same_user(self, other: Self) -> bool {
        self.uid == other.uid
    }

    fn is_known(self) -> bool {
        self.uid == 0 || self.uid == Uid::effective().as_raw()
    }

    fn is_by_group(self) -> bool {
        let gid = Gid::from_raw(self.gid);
        self.mode & GROUP_READ_WRITE == GROUP_READ_WRITE
            && (getegid() == gid || getgroups().is_ok_and(|groups| groups.contains(&gid)))
    }
}
