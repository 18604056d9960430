//! What a bus says of itself: lanes that are held up, seats of the dead, evictions, impossible words.

use super::Finding;
use super::remedy::{Remedy, unattached_segment};
use crate::process::process_name;
use crate::units::{format_count, format_ns};
use busd::api::{BusDetail, Lane, Participant, Standing};
use busway::Bus;
use std::fs::Metadata;

/// A lane that is held up for less is just busy.
const HELD_UP_NS_MIN: u64 = 1_000_000_000;

pub fn look(bus: &Bus, meta: &Metadata) -> Vec<Finding> {
    let detail = BusDetail::read(bus);
    let name = &detail.bus.name;
    let mut findings = Vec::new();
    if detail.bus.removed {
        findings.push(look_at_removed(&detail, meta));
    }
    for dead in detail.participants().filter(|one| one.standing == Standing::Dead) {
        findings.push(look_at_dead(dead));
    }
    for lane in &detail.lanes {
        findings.extend(look_at_lane(lane, &detail));
    }
    if detail.corruptions > 0 {
        findings.push(
            Finding::wrong(
                "corruption",
                format!(
                    "participants of bus {name:?} met impossible words {} time{}",
                    format_count(detail.corruptions),
                    if detail.corruptions == 1 { "" } else { "s" }
                ),
            )
            .because("a program stores there what no honest one does; frames may be wrong as well")
            .so(format!(
                "`busctl ps --wide {name}` shows who may write; end whoever it is, then `busctl rm` \
                 and `create` it"
            )),
        );
    }
    if detail.evictions > 0 {
        findings.push(
            Finding::note(
                "eviction",
                format!(
                    "bus {name:?} has evicted {} participant{} since it was made",
                    format_count(detail.evictions),
                    if detail.evictions == 1 { "" } else { "s" }
                ),
            )
            .because("each was slower than the bus allows, or was kicked, and has lost frames")
            .so("a larger --capacity or --evict-after gives slow ones more time"),
        );
    }
    findings
}

/// The name is there and the bus says that it is not: nobody can attach any more.
fn look_at_removed(detail: &BusDetail, meta: &Metadata) -> Finding {
    let name = &detail.bus.name;
    let finding = Finding::wrong("segment", format!("bus {name:?} is removed, its file is not"))
        .because("whoever removed it was cut off; who attaches is told that it is gone");
    let used = detail.participants().find(|one| one.alive);
    let unattached = match used {
        Some(one) => Err(format!("{} pid {} is attached still", one.role, one.pid)),
        None => unattached_segment(meta),
    };
    match unattached {
        Ok(proof) => finding.fixed_by(Remedy::remove_again(name, meta, proof)),
        Err(why) => finding.so(format!("`busctl rm -f {name}`; --fix leaves it: {why}")),
    }
}

fn look_at_dead(dead: &Participant) -> Finding {
    Finding::wrong("seat", format!("{} of bus {:?} is held by the dead", title(dead), dead.bus))
        .because("producers that wait for a dead consumer stand still until one proves it dead")
        .so("start the daemon (`busd`), which gives such seats back; so does whoever waits")
        .fixed_by(Remedy::give_back(dead))
}

/// Waiting for a slow consumer is what a lossless bus is for, so this is wrong only where the wait
/// cannot end by itself.
fn look_at_lane(lane: &Lane, detail: &BusDetail) -> Option<Finding> {
    const CHECK: &str = "held up";
    let held_up_ns = lane.held_up_ns.filter(|ns| *ns >= HELD_UP_NS_MIN)?;
    let name = &detail.bus.name;
    let consumers = detail.consumers.iter().map(|consumer| &consumer.participant);
    let holders: Vec<&Participant> =
        consumers.filter(|one| lane.held_up_by.contains(&one.seat)).collect();
    let named: Vec<String> =
        holders.iter().map(|one| format!("{}, {}", title(one), one.process_state.name())).collect();
    let what = format!(
        "lane {} of bus {name:?} has been full for {}, because of {}",
        lane.lane,
        format_ns(held_up_ns),
        named.join("; ")
    );
    let still = holders.iter().find(|one| one.alive && one.process_state.stands_still());
    Some(match still {
        Some(one) => Finding::wrong(CHECK, what)
            .because("a process that does not run never reads on, and its producers wait for ever")
            .so(format!(
                "kill -CONT {0} has it go on, `busctl kick {name} {0}` has it leave, kill -KILL {0} \
                 ends it; --fix touches nobody who lives",
                one.pid
            )),
        None => Finding::note(CHECK, what)
            .because("its producer waits, or is refused, as this bus was made to do")
            .so(format!(
                "a faster consumer; `busctl kick {name} PID`; or a bus made with --evict-after"
            )),
    })
}

fn title(one: &Participant) -> String {
    let process = process_name(one.pid);
    format!("{} seat {} {:?} (pid {}, {process})", one.role, one.seat, one.name, one.pid)
}
