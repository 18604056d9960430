//! How a group stands.

use serde::{Deserialize, Serialize};

use super::{Group, roster};
use crate::claims::Window;
use crate::error::{Error, PollError};
use crate::layout::claim::Stand;
use crate::layout::share::OwnerWord;
use crate::participant::Participant;
use crate::sync::{AtomicU64, Ordering};

/// How a group stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStat {
    /// Frames published that it has not done with, all lanes: fresh, claimed and waiting.
    pub backlog: u64,
    /// Of these, those that a member works on.
    pub claimed: u64,
    /// Of these, those that wait for another attempt.
    pub waiting: u64,
    /// Frames acknowledged, ever.
    pub acknowledged: u64,
    /// Attempts that ended by a refusal.
    pub refused: u64,
    /// Attempts that took too long.
    pub timed_out: u64,
    /// Attempts whose member died.
    pub died: u64,
    /// Frames that became dead letters.
    pub dead_letters: u64,
    /// How often a dead letter found no room, and its frame stayed.
    pub letters_held_up: u64,
    /// Who is attached.
    pub members: Vec<MemberStat>,
    /// Lane by lane.
    pub lanes: Vec<GroupLaneStat>,
}

/// How an attached member stands. Counters go on from one holder of a seat to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStat {
    /// Who it is; its seat is that in the group.
    pub participant: Participant,
    /// Frames that its seat's holders claimed.
    pub claimed: u64,
    /// Frames that they acknowledged.
    pub acknowledged: u64,
    /// Acknowledgements of theirs that came too late.
    pub too_late: u64,
    /// With affinity: how many of the 256 shares of the keys it owns. Else 0.
    pub shares: u32,
}

/// How a group stands on one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLaneStat {
    /// The lane.
    pub lane: u32,
    /// Everything before this position is done; producers wait for it.
    pub gate: u64,
    /// The position that the next frame gets.
    pub head: u64,
    /// Frames between the two that are not done.
    pub backlog: u64,
}

impl Group {
    /// How the group stands now. Reads only, never waits; the parts are not of one instant.
    ///
    /// Cost: a word per frame of the backlog, and a system call per member.
    ///
    /// # Errors
    /// [`Error::Poll`] with [`PollError::Corrupt`] for words that no honest participant writes, with
    /// [`PollError::Removed`] for a group that is gone and that producers have gone past, and with
    /// [`PollError::Truncated`].
    pub fn stat(&self) -> Result<GroupStat, Error> {
        let regions = self.inner.bus.looked_at();
        let group = &self.inner.regions;
        if group.is_broken() || regions.health().is_broken() {
            return Err(PollError::Truncated.into());
        }
        let mut stat = GroupStat {
            backlog: 0,
            claimed: 0,
            waiting: 0,
            acknowledged: group
                .members
                .iter()
                .map(|one| load(&one.acknowledged))
                .fold(0, u64::wrapping_add),
            refused: load(&group.words.refused),
            timed_out: load(&group.words.timed_out),
            died: load(&group.words.died),
            dead_letters: load(&group.words.dead_letters),
            letters_held_up: load(&group.words.letters_held_up),
            members: self.members(),
            lanes: Vec::new(),
        };
        let Some(row) = regions.cursors.row(self.inner.berth.seat) else {
            return Ok(stat);
        };
        for (number, (gate, lane)) in (0_u32..).zip(row.positions.iter().zip(&group.lanes)) {
            let Some(words) = regions.lane(number) else {
                continue;
            };
            let window = Window::look(&words.head, gate, self.header().capacity)
                .map_err(|_| self.impossible(number))?;
            let mut backlog = 0;
            for step in 0..window.len() {
                let position = window.gate.wrapping_add(step);
                let stand = lane.claims.stand(position, lane.claims.word(position));
                backlog += u64::from(stand != Stand::Done);
                stat.claimed += u64::from(matches!(stand, Stand::Claimed { .. }));
                stat.waiting += u64::from(matches!(stand, Stand::Waiting { .. }));
            }
            stat.backlog += backlog;
            let Window { gate, head } = window;
            stat.lanes.push(GroupLaneStat { lane: number, gate, head, backlog });
        }
        Ok(stat)
    }

    fn members(&self) -> Vec<MemberStat> {
        let group = &self.inner.regions;
        let owned = |participant: &Participant| {
            let own = OwnerWord::of(participant.seat, participant.epoch);
            let shares = group
                .shares
                .iter()
                .flat_map(|shares| (0..=u8::MAX).filter(move |share| shares.owner(*share) == own));
            u32::try_from(shares.count()).unwrap_or(u32::MAX)
        };
        let attached = roster::members(&self.inner.segment, group).into_iter();
        attached
            .filter_map(|participant| {
                let member = group.members.get(usize::try_from(participant.seat).ok()?)?;
                Some(MemberStat {
                    claimed: load(&member.claimed),
                    acknowledged: load(&member.acknowledged),
                    too_late: load(&member.too_late),
                    shares: owned(&participant),
                    participant,
                })
            })
            .collect()
    }
}

fn load(word: &AtomicU64) -> u64 {
    // ORDERING: relaxed; a statistic.
    word.load(Ordering::Relaxed)
}
