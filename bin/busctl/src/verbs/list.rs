//! `ls`: every bus of this host: named ones, read from the segments themselves, and those that a
//! daemon hands out, if one runs. Tables come after them.

use crate::context::Context;
use crate::daemon;
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::table::{Side, Table};
use crate::units::{format_age, format_bytes, format_count};
use crate::verbs::table::{Whole, print_tables, read_all};
use busd::api::{self, ErrorBody, UnreadableBus};
use busway::Bus;
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

/// Arguments of `ls`.
#[derive(Debug, Args)]
pub struct ListArgs {}

/// The document of `ls --json`.
#[derive(Serialize)]
struct Listing {
    #[serde(flatten)]
    list: api::BusList,
    tables: Vec<Whole>,
}

/// Lists the buses.
pub fn run(_args: &ListArgs, context: &Context) -> Result<ExitCode, Failure> {
    let list = read(context)?;
    if context.out.json() {
        context.out.document("busway.ls/1", &Listing { list, tables: read_all()? })?;
    } else {
        print(&list, &context.out)?;
        let tables = read_all()?;
        if !tables.is_empty() {
            print_tables(&tables, &context.out)?;
        }
    }
    Ok(Exit::Ok.code())
}

/// Opens every segment that is named like a bus.
pub fn read(context: &Context) -> Result<api::BusList, Failure> {
    let mut list = api::BusList { buses: Vec::new(), unreadable: Vec::new() };
    if let Some(daemon) = daemon::running(context)? {
        // Those that it hands out stand nowhere else.
        list.buses = daemon.buses()?.buses.into_iter().filter(|bus| bus.brokered).collect();
    }
    for name in Bus::list()? {
        match Bus::open(&name) {
            Ok(bus) => list.buses.push(api::Bus::new(bus.info(), &bus.stat())),
            // Removed between the two looks.
            Err(error) if error.code() == "not_found" => {}
            // A table, listed by itself.
            Err(error) if error.code() == "wrong_kind" => {}
            Err(error) => {
                let code = error.code().to_owned();
                let error = ErrorBody { code, message: error.to_string(), hint: None };
                list.unreadable.push(UnreadableBus { name, error });
            }
        }
    }
    list.buses.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(list)
}

fn print(list: &api::BusList, out: &Out) -> Result<(), Failure> {
    let mut table = Table::new([
        ("NAME", Side::Left),
        ("MODE", Side::Left),
        ("TOPOLOGY", Side::Left),
        ("ON FULL", Side::Left),
        ("PAYLOAD", Side::Right),
        ("CAPACITY", Side::Right),
        ("PRODUCERS", Side::Right),
        ("CONSUMERS", Side::Right),
        ("PUBLISHED", Side::Right),
        ("SIZE", Side::Right),
        ("AGE", Side::Right),
    ]);
    for bus in &list.buses {
        table.row([
            bus.name.clone(),
            String::from(if bus.brokered { "brokered" } else { "named" }),
            bus.topology.to_string(),
            bus.on_full.to_string(),
            format_bytes(u64::from(bus.payload_bytes)),
            format_count(bus.capacity_frames),
            format!("{}/{}", bus.producers_attached, bus.lanes_max),
            format!("{}/{}", bus.consumers_attached, bus.consumers_max),
            format_count(bus.published_frames),
            format_bytes(bus.segment_bytes),
            format_age(bus.created_unix_ns),
        ]);
    }
    table.print(out)?;
    // After the table, so that the two do not mix on a terminal.
    out.flush()?;
    for bus in &list.unreadable {
        out.warn(format_args!("{}: {}", bus.name, bus.error.message));
    }
    Ok(())
}
