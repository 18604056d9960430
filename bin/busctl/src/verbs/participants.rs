//! `ps`: who is attached, to one bus or to all; how they are, and who holds up whom.
//!
//! The short table fits 80 columns: on a narrower terminal, or with longer names, names are cut. The
//! wide one has everything, as has `--json`.

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::process::process_name;
use crate::table::{Side, Table};
use crate::units::{format_age, format_count, format_ns};
use crate::verbs::stat::open_all;
use busd::api;
use busway::Role;
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

/// Arguments of `ps`.
#[derive(Debug, Args)]
pub struct ParticipantsArgs {
    /// The bus; every bus when left out
    name: Option<String>,
    /// Show user, process, position, lag and loss as well
    #[arg(short, long)]
    wide: bool,
}

/// A participant as the daemon shows it, with the kernel's name of its process.
#[derive(Serialize)]
pub struct Named<'a> {
    #[serde(flatten)]
    pub participant: &'a api::Participant,
    pub process_name: String,
}

impl<'a> Named<'a> {
    /// Looks up the name of the participant's process.
    pub fn new(participant: &'a api::Participant) -> Self {
        Self { participant, process_name: process_name(participant.pid) }
    }
}

/// The document of `ps --json`.
#[derive(Serialize)]
struct List<'a> {
    participants: Vec<Named<'a>>,
}

/// Lists the participants.
pub fn run(args: &ParticipantsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let buses = open_all(args.name.as_slice(), context)?;
    let details: Vec<_> = buses.iter().map(api::BusDetail::read).collect();
    let participants = details.iter().flat_map(api::BusDetail::participants);
    if context.out.json() {
        let list = List { participants: participants.map(Named::new).collect() };
        context.out.document("busway.ps/1", &list)?;
    } else if args.wide {
        wide(participants).print(&context.out)?;
    } else {
        short(participants).fitting(&[0, 3]).print(&context.out)?;
    }
    Ok(Exit::Ok.code())
}

fn short<'a>(participants: impl Iterator<Item = &'a api::Participant>) -> Table<8> {
    let mut table = Table::new([
        ("BUS", Side::Left),
        ("SEAT", Side::Left),
        ("PID", Side::Right),
        ("NAME", Side::Left),
        ("STATE", Side::Left),
        ("STANDING", Side::Left),
        ("HELD UP", Side::Left),
        ("SINCE", Side::Right),
    ]);
    for one in participants {
        table.row([
            one.bus.clone(),
            format!("{} {}", one.role, one.seat),
            one.pid.to_string(),
            one.name.clone(),
            one.process_state.name().to_owned(),
            one.standing.name().to_owned(),
            held_up(one),
            format_age(one.attached_unix_ns),
        ]);
    }
    table
}

fn wide<'a>(participants: impl Iterator<Item = &'a api::Participant>) -> Table<15> {
    let mut table = Table::new([
        ("BUS", Side::Left),
        ("ROLE", Side::Left),
        ("SEAT", Side::Right),
        ("PID", Side::Right),
        ("UID", Side::Right),
        ("PROCESS", Side::Left),
        ("NAME", Side::Left),
        ("STATE", Side::Left),
        ("STANDING", Side::Left),
        ("HELD UP", Side::Left),
        ("FOR", Side::Right),
        ("POSITION", Side::Right),
        ("LAG", Side::Right),
        ("LOST", Side::Right),
        ("SINCE", Side::Right),
    ]);
    let optional = |count: Option<u64>| count.map_or_else(|| String::from("-"), format_count);
    for one in participants {
        table.row([
            one.bus.clone(),
            one.role.to_string(),
            one.seat.to_string(),
            one.pid.to_string(),
            one.uid.to_string(),
            process_name(one.pid),
            one.name.clone(),
            one.process_state.name().to_owned(),
            one.standing.name().to_owned(),
            held_up(one),
            one.held_up_ns.map_or_else(|| String::from("-"), format_ns),
            optional(one.position),
            optional(one.lag_frames),
            optional(one.lost_frames),
            format_age(one.attached_unix_ns),
        ]);
    }
    table
}

/// Of a producer, the seats that hold it up (`by 0, 3`); of a consumer, the lanes that it holds up.
fn held_up(one: &api::Participant) -> String {
    let (single, several, of) = match one.role {
        Role::Producer => ("by", "by", &one.held_up_by),
        Role::Consumer => ("lane", "lanes", &one.holds_up),
    };
    match of.as_slice() {
        [] => String::from("-"),
        [index] => format!("{single} {index}"),
        [first, second] => format!("{several} {first}, {second}"),
        [first, .., last] => format!("{several} {first}..{last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_up_whom_stays_short() {
        let mut one: api::Participant = serde_json::from_value(serde_json::json!({
            "bus": "b", "role": "consumer", "seat": 0, "pid": 1, "uid": 0, "name": "n",
            "epoch": 1, "attached_unix_ns": 0, "alive": true, "standing": "attached",
            "process_state": "stopped", "position": null, "lag_frames": 0, "lost_frames": 0,
            "blocked_ns": null, "held_up_ns": null, "held_up_by": [], "holds_up": [],
        }))
        .unwrap();
        assert_eq!(held_up(&one), "-");
        one.holds_up = vec![7];
        assert_eq!(held_up(&one), "lane 7");
        one.holds_up = (3..200).collect();
        assert_eq!(held_up(&one), "lanes 3..199");
        (one.role, one.held_up_by) = (Role::Producer, vec![0, 3]);
        assert_eq!(held_up(&one), "by 0, 3");
    }
}
