//! `table get`, `table ls` and `table stat`.

use super::value::{self, Record, age_ns, clean, parse_key};
use crate::exit::{Exit, Failure};
use crate::output::{Out, Paint};
use crate::process::process_name;
use crate::table::{Side, Table as Columns};
use crate::units::{format_age, format_bytes, format_count, format_ns};
use busway::{Table, TableInfo, TableStat};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

/// Arguments of `table get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The table
    name: String,
    /// The key
    key: String,
    /// Write the value's bytes as they are
    #[arg(long)]
    raw: bool,
}

/// Prints a value.
pub fn get(args: &GetArgs, out: &Out) -> Result<ExitCode, Failure> {
    let table = Table::open(&args.name)?;
    let mut reader = table.reader().attach()?;
    let Some(entry) = reader.get(parse_key(&table, &args.key)?)? else {
        return Err(Failure::new(
            Exit::NotFound,
            format!("table {:?} has no value for {:?}", args.name, args.key),
        )
        .hint(format!("`busctl table ls {}` lists its keys", args.name)));
    };
    if args.raw {
        out.bytes(entry.bytes())?;
    } else if out.json() {
        out.document("busway.table.get/1", &Record::of(&table, &entry))?;
    } else {
        out.line(value::value(&table, &entry))?;
    }
    Ok(Exit::Ok.code())
}

/// Arguments of `table ls`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The table; all tables when none is named
    name: Option<String>,
}

/// The document of `table ls NAME --json`.
#[derive(Serialize)]
struct Listing {
    table: String,
    entries: Vec<Record>,
}

/// The document of `table ls --json`.
#[derive(Serialize)]
struct Tables {
    tables: Vec<Whole>,
}

/// A table as tools print it.
#[derive(Serialize)]
pub struct Whole {
    #[serde(flatten)]
    info: TableInfo,
    stat: TableStat,
}

/// Lists keys or tables.
pub fn list(args: &ListArgs, out: &Out) -> Result<ExitCode, Failure> {
    match &args.name {
        Some(name) => list_keys(&Table::open(name)?, out)?,
        None if out.json() => out.document("busway.table.ls/1", &Tables { tables: read_all()? })?,
        None => print_tables(&read_all()?, out)?,
    }
    Ok(Exit::Ok.code())
}

fn list_keys(table: &Table, out: &Out) -> Result<(), Failure> {
    let mut reader = table.reader().attach()?;
    if out.json() {
        let mut entries = Vec::new();
        reader.for_each(|entry| entries.push(Record::of(table, &entry)))?;
        let listing = Listing { table: table.name().to_owned(), entries };
        return out.document("busway.table.keys/1", &listing);
    }
    let mut rows = Vec::new();
    reader.for_each(|entry| {
        let age = age_ns(table, &entry).map_or_else(|| "-".to_owned(), format_ns);
        let (seat, _) = entry.writer();
        let writer = format!("seat {seat}, pid {}", entry.pid());
        let version = format_count(entry.version());
        rows.push((entry.key(), [version, writer, age, value::value(table, &entry)]));
    })?;
    rows.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut columns = Columns::new([
        ("KEY", Side::Left),
        ("VERSION", Side::Right),
        ("WRITER", Side::Left),
        ("AGE", Side::Right),
        ("VALUE", Side::Left),
    ])
    .fitting(&[4]);
    for (key, [version, writer, age, value]) in rows {
        columns.row([clean(&key.to_string()), version, writer, age, value]);
    }
    columns.print(out)
}

/// Every table of the host that can be opened.
///
/// # Errors
/// When shared memory cannot be listed.
pub fn read_all() -> Result<Vec<Whole>, Failure> {
    let names = busway::Bus::list()?.into_iter();
    let tables = names.filter_map(|name| Table::open(&name).ok());
    Ok(tables.map(|table| Whole { info: table.info().clone(), stat: table.stat() }).collect())
}

/// Prints tables as rows.
///
/// # Errors
/// When stdout cannot be written to.
pub fn print_tables(tables: &[Whole], out: &Out) -> Result<(), Failure> {
    let mut columns = Columns::new([
        ("TABLE", Side::Left),
        ("KEY KIND", Side::Left),
        ("KEYS", Side::Right),
        ("VALUE", Side::Right),
        ("WRITERS", Side::Right),
        ("WRITES", Side::Right),
        ("SIZE", Side::Right),
        ("AGE", Side::Right),
    ]);
    for Whole { info, stat } in tables {
        columns.row([
            info.name.clone(),
            info.key_kind.to_string(),
            format!("{}/{}", format_count(stat.keys), format_count(info.keys)),
            format_bytes(info.value_bytes.into()),
            format!("{}/{}", stat.writers.len(), info.writers),
            format_count(stat.writes),
            format_bytes(info.segment_bytes),
            format_age(info.created_unix_ns),
        ]);
    }
    columns.print(out)
}

/// Arguments of `table stat`.
#[derive(Debug, Args)]
pub struct StatArgs {
    /// The table
    name: String,
}

/// Shows a table.
pub fn stat(args: &StatArgs, out: &Out) -> Result<ExitCode, Failure> {
    print_stat(&Table::open(&args.name)?, out)?;
    Ok(Exit::Ok.code())
}

/// Shows what a table is and how it stands: for `stat`, which takes tables as well.
///
/// # Errors
/// When stdout cannot be written to.
pub fn print_stat(table: &Table, out: &Out) -> Result<(), Failure> {
    let whole = Whole { info: table.info().clone(), stat: table.stat() };
    if out.json() {
        return out.document("busway.table.stat/1", &whole);
    }
    let Whole { info, stat } = whole;
    out.line(format_args!(
        "{}  table, {} of {} keys ({}), values of {} bytes, {}",
        out.paint(Paint::Bold, &info.name),
        format_count(stat.keys),
        format_count(info.keys),
        info.key_kind,
        format_count(info.value_bytes.into()),
        format_bytes(info.segment_bytes),
    ))?;
    let recovered = stat.recoveries;
    out.line(format_args!(
        "  {} writes, {recovered} writers recovered, {} impossible words met",
        format_count(stat.writes),
        stat.corruptions,
    ))?;
    let mut columns = Columns::new([
        ("SEAT", Side::Right),
        ("PID", Side::Right),
        ("NAME", Side::Left),
        ("PROCESS", Side::Left),
        ("WRITES", Side::Right),
        ("RETRIES", Side::Right),
        ("STATE", Side::Left),
    ])
    .indent("  ");
    for writer in &stat.writers {
        let one = &writer.participant;
        columns.row([
            one.seat.to_string(),
            one.pid.to_string(),
            one.name.clone(),
            process_name(one.pid),
            format_count(writer.writes),
            format_count(writer.retries),
            String::from(if one.alive { "alive" } else { "dead" }),
        ]);
    }
    columns.print(out)
}
