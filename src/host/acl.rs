//! Who may use a brokered bus, and as what.

use serde::{Deserialize, Serialize};

use crate::participant::Role;

/// Who is at the other end of a connection, as the kernel recorded it when it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its process, for display; 0 when this process cannot see it.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its further groups.
    pub groups: Vec<u32>,
}

/// One line of an access list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Allow {
    /// Who.
    pub who: Who,
    /// As what.
    pub roles: Roles,
}

/// A user, or all members of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Who {
    /// By number.
    User(u32),
    /// By number.
    Group(u32),
}

/// What somebody may be on a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Roles {
    /// Publish, and not read.
    Producer,
    /// Read, gating or only looking, and not publish.
    Consumer,
    /// Both.
    Both,
}

impl Roles {
    fn includes(self, role: Role) -> bool {
        match self {
            Self::Both => true,
            Self::Producer => role == Role::Producer,
            Self::Consumer => role == Role::Consumer,
        }
    }
}

impl Allow {
    /// Whether this line lets the peer be that.
    pub(super) fn admits(&self, peer: &Peer, role: Role) -> bool {
        let is_meant = match self.who {
            Who::User(uid) => peer.uid == uid,
            Who::Group(gid) => peer.gid == gid || peer.groups.contains(&gid),
        };
        is_meant && self.roles.includes(role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_admits_whom_it_means_as_what_it_says_and_nobody_else() {
        let peer = |uid, gid, groups: &[u32]| Peer { pid: 1, uid, gid, groups: groups.to_vec() };
        let user = Allow { who: Who::User(7), roles: Roles::Producer };
        assert!(user.admits(&peer(7, 1, &[]), Role::Producer));
        assert!(!user.admits(&peer(7, 1, &[]), Role::Consumer));
        assert!(!user.admits(&peer(8, 7, &[7]), Role::Producer));
        let group = Allow { who: Who::Group(7), roles: Roles::Consumer };
        assert!(group.admits(&peer(1, 7, &[]), Role::Consumer));
        assert!(group.admits(&peer(1, 2, &[3, 7]), Role::Consumer));
        assert!(!group.admits(&peer(1, 2, &[3, 7]), Role::Producer));
        assert!(!group.admits(&peer(7, 2, &[3]), Role::Consumer));
        let both = Allow { who: Who::User(7), roles: Roles::Both };
        assert!(both.admits(&peer(7, 1, &[]), Role::Consumer));
        assert!(both.admits(&peer(7, 1, &[]), Role::Producer));
    }
}
