//! `stat` for people.

use super::held;
use super::look::{Shown, ShownBus};
use crate::exit::Failure;
use crate::output::{Out, Paint};
use crate::table::{Side, Table};
use crate::units::{
    format_bytes, format_count, format_frames, format_ns, format_rate, format_unix_ns,
};
use busd::api;

/// Writes every bus as a block, with an empty line between two.
pub fn print(shown: &Shown<'_>, out: &Out) -> Result<(), Failure> {
    for (index, bus) in shown.buses.iter().enumerate() {
        if index > 0 {
            out.line("")?;
        }
        print_head(bus, out)?;
        held::print(bus, out)?;
        print_producers(bus, out)?;
        print_consumers(bus, out)?;
    }
    Ok(())
}

fn print_head(shown: &ShownBus<'_>, out: &Out) -> Result<(), Failure> {
    let bus = shown.bus;
    let removed = if bus.removed { out.paint(Paint::Red, "  removed") } else { String::new() };
    out.line(format_args!("{}{removed}", out.paint(Paint::Bold, &bus.name)))?;
    let fact = |name: &str, text: String| out.line(format_args!("  {name:<10}{text}"));
    fact(
        "policies",
        format!(
            "{}, {} when full, timestamps {}, {} frames",
            bus.topology, bus.on_full, bus.timestamps, bus.frames
        ),
    )?;
    fact(
        "geometry",
        format!(
            "{} lanes × {} frames, payload {} (stride {}, aligned to {}), {} consumers, {}",
            bus.lanes_max,
            format_count(bus.capacity_frames),
            format_bytes(u64::from(bus.payload_bytes)),
            format_bytes(u64::from(bus.stride_bytes)),
            bus.align_bytes,
            bus.consumers_max,
            format_bytes(bus.segment_bytes),
        ),
    )?;
    fact("eviction", held::rule_words(bus))?;
    fact("schema", schema_words(shown))?;
    fact(
        "created",
        format!(
            "{} by pid {}, uid {}",
            format_unix_ns(bus.created_unix_ns),
            bus.creator_pid,
            bus.creator_uid
        ),
    )?;
    fact(
        "published",
        format!(
            "{}, {} a second",
            format_frames(bus.published_frames),
            rate(shown.published_frames_per_s)
        ),
    )?;
    if let Some(order) = shown.order {
        fact("order", format!("tail {}, {} punched", order.tail_position, shown.punches))?;
    }
    fact(
        "incidents",
        format!(
            "{} of dead participants given back, {}, {}",
            counted(shown.recoveries, "seat"),
            counted(shown.evictions, "eviction"),
            counted(shown.corruptions, "impossible word")
        ),
    )
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", format_count(count), if count == 1 { "" } else { "s" })
}

fn schema_words(shown: &ShownBus<'_>) -> String {
    let Some(frame) = shown.frame else {
        return String::from("none");
    };
    let name = frame.get("name").and_then(|name| name.as_str()).unwrap_or("?");
    let hash = shown.bus.schema_hash.as_deref().unwrap_or("?");
    format!("{name}, layout {hash}")
}

fn print_producers(shown: &ShownBus<'_>, out: &Out) -> Result<(), Failure> {
    let mut table = Table::new([
        ("LANE", Side::Right),
        ("PRODUCER", Side::Left),
        ("PID", Side::Right),
        ("UID", Side::Right),
        ("PROCESS", Side::Left),
        ("STANDING", Side::Left),
        ("POSITION", Side::Right),
        ("RATE/S", Side::Right),
        ("REJECTED", Side::Right),
        ("BLOCKED", Side::Right),
    ])
    .indent("  ");
    // A lane that nobody holds and nobody ever used is not worth a line: there may be 256.
    let used = shown
        .lanes
        .iter()
        .filter(|one| one.lane.producer.is_some() || one.lane.published_frames > 0);
    let mut rows = 0;
    for one in used {
        let (lane, producer) = (one.lane, one.lane.producer.as_ref());
        let of = |text: fn(&api::Participant) -> String| {
            producer.map_or_else(|| String::from("-"), text)
        };
        table.row([
            lane.lane.to_string(),
            of(|producer| producer.name.clone()),
            of(|producer| producer.pid.to_string()),
            of(|producer| producer.uid.to_string()),
            one.process_name.clone().unwrap_or_else(|| String::from("-")),
            producer.map_or("free", |producer| producer.standing.name()).to_owned(),
            format_count(lane.position),
            rate(one.published_frames_per_s),
            format_count(lane.rejected_frames),
            format_ns(lane.blocked_ns),
        ]);
        rows += 1;
    }
    if rows == 0 { out.line("  no producers") } else { table.fitting(&[1, 4]).print(out) }
}

fn print_consumers(shown: &ShownBus<'_>, out: &Out) -> Result<(), Failure> {
    if shown.consumers.is_empty() {
        out.line("  no consumers")?;
        return print_bystanders(shown, out);
    }
    let mut table = Table::new([
        ("SEAT", Side::Right),
        ("CONSUMER", Side::Left),
        ("PID", Side::Right),
        ("UID", Side::Right),
        ("PROCESS", Side::Left),
        ("STANDING", Side::Left),
        ("POSITION", Side::Right),
        ("RATE/S", Side::Right),
        ("LAG", Side::Right),
        ("LOST", Side::Right),
    ])
    .indent("  ");
    for one in &shown.consumers {
        let (consumer, who) = (one.consumer, &one.consumer.participant);
        table.row([
            who.seat.to_string(),
            who.name.clone(),
            who.pid.to_string(),
            who.uid.to_string(),
            one.process_name.clone(),
            who.standing.name().to_owned(),
            format_count(consumer.order_position.unwrap_or(one.passed_frames)),
            rate(one.passed_frames_per_s),
            format_count(consumer.lag_frames),
            format_count(consumer.lost_frames),
        ]);
    }
    table.fitting(&[1, 4]).print(out)?;
    print_bystanders(shown, out)
}

fn print_bystanders(shown: &ShownBus<'_>, out: &Out) -> Result<(), Failure> {
    for one in &shown.bystanders {
        let who = one.participant;
        out.line(format_args!(
            "  consumer seat {} {:?}, pid {} ({}, {}), {}: holds up nobody",
            who.seat,
            who.name,
            who.pid,
            one.process_name,
            who.process_state.name(),
            who.standing.name()
        ))?;
    }
    Ok(())
}

fn rate(per_second: Option<f64>) -> String {
    per_second.map_or_else(|| String::from("-"), format_rate)
}
