//! `table create` and `table rm`.

use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::process::process_name;
use crate::units::{choice, format_bytes, format_count, parse_size, parse_size_u32};
use crate::verbs::create::read_schema;
use busd::api::FileMode;
use busway::{Error, KeyKind, Participant, Schema, Table, TableInfo, TableOptions};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `table create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name of the table: 1 to 64 of a-z A-Z 0-9 . _ - not starting with a dot
    name: String,
    /// Keys that it holds, 1 to 512k [default: 1024]
    #[arg(long, value_name = "N", value_parser = parse_size)]
    keys: Option<u64>,
    /// What the keys are: numbers, or texts of 1 to 32 bytes
    #[arg(long, value_name = "KIND", default_value = "u64", value_parser = choice::<KeyKind>(KeyKind::NAMES))]
    key_kind: KeyKind,
    /// Bytes of a value at most, 1 to 1M [default: 16]
    #[arg(long, value_name = "BYTES", value_parser = parse_size_u32, conflicts_with = "schema")]
    value: Option<u32>,
    /// JSON file (- for stdin) with the fields of a value; says its size too
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Writers at a time, 1 to 256 [default: 16]; readers are not counted
    #[arg(long, value_name = "N", value_parser = parse_size_u32)]
    writers: Option<u32>,
    /// Do not stamp values with the time
    #[arg(long)]
    no_timestamps: bool,
    /// Permission bits of the segment, in octal [default: 0600]
    #[arg(long, value_name = "MODE")]
    mode: Option<FileMode>,
    /// Refuse a segment above this size [default: 1G]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    size_max: Option<u64>,
    /// Accept a table of this name that has the same shape already
    #[arg(long)]
    if_not_exists: bool,
}

/// The document of `table create --json`.
#[derive(Serialize)]
struct Created<'a> {
    created: bool,
    table: &'a TableInfo,
}

/// Makes a table.
pub fn create(args: &CreateArgs, out: &Out) -> Result<ExitCode, Failure> {
    let options = options(args)?;
    let (table, created) = match options.create(&args.name) {
        Err(Error::AlreadyExists { .. }) if args.if_not_exists => {
            (options.if_not_exists(true).create(&args.name)?, false)
        }
        table => (table?, true),
    };
    let info = table.info();
    if out.json() {
        out.document("busway.table.create/1", &Created { created, table: info })?;
    } else {
        out.note(format_args!(
            "{} {}: table, {} keys ({}), values of {} bytes, {} writers, {}",
            if created { "created" } else { "found" },
            info.name,
            format_count(info.keys),
            info.key_kind,
            format_count(info.value_bytes.into()),
            info.writers,
            format_bytes(info.segment_bytes),
        ));
    }
    Ok(Exit::Ok.code())
}

fn options(args: &CreateArgs) -> Result<TableOptions, Failure> {
    let mut options = Table::options().key_kind(args.key_kind).timestamps(!args.no_timestamps);
    if let Some(keys) = args.keys {
        options = options.keys(keys);
    }
    if let Some(value) = args.value {
        options = options.value_bytes(value);
    }
    if let Some(path) = &args.schema {
        let document = read_schema(path)?;
        let schema = Schema::from_json(document.to_string());
        options = options.schema(schema.map_err(|error| Failure::usage(error.to_string()))?);
    }
    if let Some(writers) = args.writers {
        options = options.writers(writers);
    }
    if let Some(mode) = args.mode {
        options = options.mode(mode.0);
    }
    if let Some(size_max) = args.size_max {
        options = options.size_bytes_max(size_max);
    }
    Ok(options)
}

/// Arguments of `table rm`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The tables
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Remove even while writers are attached; they learn of it at their next write
    #[arg(short, long)]
    force: bool,
}

/// The document of `table rm --json`.
#[derive(Serialize)]
struct Removed<'a> {
    removed: &'a [String],
}

/// Removes tables. Everything is looked at before anything is removed.
pub fn remove(args: &RemoveArgs, out: &Out) -> Result<ExitCode, Failure> {
    for name in &args.names {
        check_unused(name, args.force)?;
    }
    for name in &args.names {
        Table::remove(name)?;
        if !out.json() {
            out.note(format_args!("removed {name}"));
        }
    }
    if out.json() {
        out.document("busway.table.rm/1", &Removed { removed: &args.names })?;
    }
    Ok(Exit::Ok.code())
}

/// Removes one, unless somebody alive writes to it: for `rm`, which takes tables as well.
///
/// # Errors
/// Those of [`Table::remove`]; a failure that names who writes.
pub fn remove_table(name: &str, force: bool) -> Result<(), Failure> {
    check_unused(name, force)?;
    Ok(Table::remove(name)?)
}

fn check_unused(name: &str, force: bool) -> Result<(), Failure> {
    if force {
        return Ok(());
    }
    let table = Table::open(name)?;
    let alive: Vec<Participant> =
        table.participants().into_iter().filter(|one| one.alive).collect();
    if alive.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = alive
        .iter()
        .map(|one| format!("writer {:?} (pid {}, {})", one.name, one.pid, process_name(one.pid)))
        .collect();
    Err(Failure::failed(format!("table {name:?} is in use by {}", named.join(", ")))
        .hint("stop them, or add -f to remove it anyway: they learn of it at their next write"))
}
