//! `ps`: who is attached, to one bus or to all.

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::process::process_name;
use crate::table::{Side, Table};
use crate::units::{format_age, format_count};
use crate::verbs::stat::open_all;
use busd::api;
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

/// Arguments of `ps`.
#[derive(Debug, Args)]
pub struct ParticipantsArgs {
    /// The bus; every bus when left out
    name: Option<String>,
}

/// A participant as the daemon shows it, with what only this host's /proc knows.
#[derive(Serialize)]
pub struct Shown<'a> {
    #[serde(flatten)]
    participant: &'a api::Participant,
    process_name: String,
}

impl<'a> Shown<'a> {
    /// Looks up the name of the participant's process.
    pub fn new(participant: &'a api::Participant) -> Self {
        Self { participant, process_name: process_name(participant.pid) }
    }
}

/// The document of `ps --json`.
#[derive(Serialize)]
struct List<'a> {
    participants: Vec<Shown<'a>>,
}

/// Lists the participants.
pub fn run(args: &ParticipantsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let buses = open_all(args.name.as_slice(), &context.out)?;
    let details: Vec<_> = buses.iter().map(api::BusDetail::read).collect();
    let participants = details.iter().flat_map(api::BusDetail::participants).map(Shown::new);
    if context.out.json() {
        let list = List { participants: participants.collect() };
        context.out.document("busway.ps/1", &list)?;
        return Ok(Exit::Ok.code());
    }
    let mut table = Table::new([
        ("BUS", Side::Left),
        ("ROLE", Side::Left),
        ("SEAT", Side::Right),
        ("PID", Side::Right),
        ("UID", Side::Right),
        ("PROCESS", Side::Left),
        ("NAME", Side::Left),
        ("STATE", Side::Left),
        ("POSITION", Side::Right),
        ("LAG", Side::Right),
        ("LOST", Side::Right),
        ("SINCE", Side::Right),
    ]);
    let optional = |count: Option<u64>| count.map_or_else(|| String::from("-"), format_count);
    for Shown { participant, process_name } in participants {
        table.row([
            participant.bus.clone(),
            participant.role.to_string(),
            participant.seat.to_string(),
            participant.pid.to_string(),
            participant.uid.to_string(),
            process_name,
            participant.name.clone(),
            state_name(participant.alive).to_owned(),
            optional(participant.position),
            optional(participant.lag_frames),
            optional(participant.lost_frames),
            format_age(participant.attached_unix_ns),
        ]);
    }
    table.print(&context.out)?;
    Ok(Exit::Ok.code())
}

/// As tables show whether a participant still holds its lock.
pub fn state_name(alive: bool) -> &'static str {
    if alive { "alive" } else { "dead" }
}
