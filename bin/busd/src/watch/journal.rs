//! What the log says of a bus: one line for each change, never one for each frame.
//!
//! Each line says what was done or seen, to whom, and where something was decided, why that was safe
//! to decide. `docs/api.md` lists the lines.

use busway::{BusInfo, Participant, Reclaimed, Role};

use super::adopted::{Changes, Gone};

/// Why a seat may be taken from its holder: the rule of `busway`'s seats.
const PROOF_OF_DEATH: &str = "the kernel has released the lock of its last mapping";
/// Why a participant was told to leave where no rule does it.
const KICKED: &str = "somebody called kick";

/// What changed on a bus between two looks.
pub(super) fn tell(changes: &Changes, bus: &str, info: &BusInfo) {
    for who in &changes.attached {
        tracing::info!(
            bus,
            role = who.role.name(),
            seat = who.seat,
            pid = who.pid,
            uid = who.uid,
            name = who.name,
            "attached"
        );
    }
    for who in &changes.evicted {
        tell_eviction(who, bus, info);
    }
    if changes.evicted_unseen > 0 {
        tracing::warn!(
            bus,
            count = changes.evicted_unseen,
            cause = cause_of_eviction(info),
            "evicted participants, which had left before they could be named"
        );
    }
    for gone in &changes.gone {
        tell_end(gone, bus);
    }
    if let (count @ 1.., total) = changes.corruptions {
        tracing::warn!(
            bus,
            count,
            total,
            "participants met impossible words; somebody stores there what no honest program does"
        );
    }
}

/// A seat that this daemon gave back.
pub(super) fn tell_recovery(bus: &str, seat: &Reclaimed) {
    let role = seat.role.name();
    match seat.role {
        Role::Producer => tracing::warn!(
            bus,
            role,
            seat = seat.seat,
            lane = seat.seat,
            pid = seat.pid,
            uid = seat.uid,
            name = seat.name,
            position = seat.position,
            proof = PROOF_OF_DEATH,
            "died; its lane is free again, and what it published stays readable"
        ),
        Role::Consumer => tracing::warn!(
            bus,
            role,
            seat = seat.seat,
            pid = seat.pid,
            uid = seat.uid,
            name = seat.name,
            proof = PROOF_OF_DEATH,
            "died; its seat is free again, and it holds nobody up any more"
        ),
    }
}

fn tell_eviction(who: &Participant, bus: &str, info: &BusInfo) {
    let message = match who.role {
        Role::Consumer if evicts(info) => "evicted; it holds nobody up any more",
        Role::Consumer => "kicked; it reads in place, so it leaves at its next call and not before",
        Role::Producer => "kicked; it publishes nothing more once it next looks up",
    };
    tracing::warn!(
        bus,
        role = who.role.name(),
        seat = who.seat,
        pid = who.pid,
        uid = who.uid,
        name = who.name,
        cause = if who.role == Role::Producer { KICKED } else { cause_of_eviction(info) },
        "{message}"
    );
}

/// Producers of a bus with a rule evict by it; only a kick does on any other.
fn cause_of_eviction(info: &BusInfo) -> &'static str {
    if evicts(info) { "the bus's rule for slow consumers, or a kick" } else { KICKED }
}

/// Whether the bus has a rule for slow consumers.
fn evicts(info: &BusInfo) -> bool {
    info.evict_lag_frames.is_some() || info.evict_after_ns.is_some()
}

fn tell_end(gone: &Gone, bus: &str) {
    let who = &gone.who;
    let message = match (gone.by_a_peer, who.evicted) {
        (true, _) => "died; a peer has given its seat back",
        (false, true) => "detached, as it was told to",
        (false, false) => "detached",
    };
    tracing::info!(
        bus,
        role = who.role.name(),
        seat = who.seat,
        pid = who.pid,
        uid = who.uid,
        name = who.name,
        "{message}"
    );
}
