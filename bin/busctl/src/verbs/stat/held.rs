//! Who holds whom up: each lane whose producer finds it full, and the consumers that leave it no room.

use super::look::{ShownBus, ShownConsumer};
use crate::exit::Failure;
use crate::output::{Out, Paint};
use crate::units::{format_count, format_ns};
use busd::api;
use busway::OnFull;

/// A line for each lane that is held up, and below it one for each consumer that does it.
pub fn print(shown: &ShownBus<'_>, out: &Out) -> Result<(), Failure> {
    for one in &shown.lanes {
        let Some(held_up_ns) = one.lane.held_up_ns else {
            continue;
        };
        let producer = one.lane.producer.as_ref().map_or_else(String::new, |who| {
            let process = one.process_name.as_deref().unwrap_or("-");
            format!(" (producer {:?}, pid {}, {process})", who.name, who.pid)
        });
        out.line(format_args!(
            "  {}   lane {}{producer} for {}, by",
            out.paint(Paint::Yellow, "held up"),
            one.lane.lane,
            format_ns(held_up_ns)
        ))?;
        let holds = |consumer: &&ShownConsumer<'_>| {
            one.lane.held_up_by.contains(&consumer.consumer.participant.seat)
        };
        for consumer in shown.consumers.iter().filter(holds) {
            out.line(format_args!("            {}", describe(consumer)))?;
        }
    }
    Ok(())
}

fn describe(shown: &ShownConsumer<'_>) -> String {
    let who = &shown.consumer.participant;
    if who.standing == api::Standing::Group {
        let members = "its members are slow, or it has none: `busctl group ls` shows them";
        return format!("consumer seat {} group {:?}: {members}", who.seat, who.name);
    }
    let state = match who.standing {
        api::Standing::Dead => "dead: whoever waits for it gives its seat back",
        api::Standing::Attached | api::Standing::Evicted | api::Standing::Group => {
            who.process_state.name()
        }
    };
    let asked = if who.standing == api::Standing::Evicted { ", asked to leave" } else { "" };
    format!(
        "consumer seat {} {:?}, pid {} ({}), {state}{asked}",
        who.seat, who.name, who.pid, shown.process_name
    )
}

/// What the bus does about a consumer that is slow.
pub fn rule_words(bus: &api::Bus) -> String {
    let lag = bus.evict_lag_frames.map(|lag| format!("{} frames behind", format_count(lag)));
    let after = bus
        .evict_after_ns
        .map(|after_ns| format!("{} in a producer's way without moving", format_ns(after_ns)));
    match (lag, after, bus.on_full) {
        (Some(lag), Some(after), _) => format!("of a consumer {lag}, or {after}"),
        (Some(rule), None, _) | (None, Some(rule), _) => format!("of a consumer {rule}"),
        (None, None, OnFull::Block) => String::from("never; producers wait for a slow consumer"),
        (None, None, OnFull::Reject) => {
            String::from("never; producers are refused while a consumer is slow")
        }
        (None, None, OnFull::DropOldest) => String::from("never; a slow consumer loses frames"),
    }
}
