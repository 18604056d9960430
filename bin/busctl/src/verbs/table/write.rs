//! `table set` and `table unset`.

use super::value::parse_key;
use crate::exit::{Exit, Failure};
use crate::output::Out;
use busway::{Key, Table, TableError, TableWriter};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

/// Arguments of `table set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// The table
    name: String,
    /// The key
    #[arg(allow_negative_numbers = true)]
    key: String,
    /// The value, as text
    #[arg(conflicts_with_all = ["hex", "set"])]
    value: Option<String>,
    /// The value, as hexadecimal digits
    #[arg(long, value_name = "DIGITS", conflicts_with = "set")]
    hex: Option<String>,
    /// Set a field of the value; the others keep what they have, or are zero in a new value
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Write only if the key is at this version (0: never written); otherwise exit code 1
    #[arg(long, value_name = "V")]
    if_version: Option<u64>,
}

/// The document of `table set --json` and `table unset --json`.
#[derive(Serialize)]
struct Written<'a> {
    table: &'a str,
    key: &'a str,
    version: u64,
}

/// Writes a value.
pub fn set(args: &SetArgs, out: &Out) -> Result<ExitCode, Failure> {
    let table = Table::open(&args.name)?;
    let key = parse_key(&table, &args.key)?;
    let value = match (&args.value, &args.hex) {
        (Some(text), _) => Some(text.clone().into_bytes()),
        (None, Some(hex)) => Some(parse_hex(hex)?),
        (None, None) => None,
    };
    if value.is_none() && args.set.is_empty() {
        return Err(Failure::usage("a value is missing").hint("VALUE, --hex or --set gives one"));
    }
    // Refused before a seat is taken.
    fields(&table, &args.set, None)?;
    let mut writer = table.writer().name("set").attach()?;
    let version = match (value, args.if_version) {
        (Some(value), None) => writer.set_bytes(key, &value)?,
        (Some(value), Some(expected)) => writer.compare_and_set_bytes(key, expected, &value)?,
        (None, expected) => set_fields(&table, &mut writer, key, &args.set, expected)?,
    };
    say(out, "busway.table.set/1", &args.name, &args.key, version)
}

/// Changes the fields and keeps the others, as one step.
fn set_fields(
    table: &Table,
    writer: &mut TableWriter,
    key: Key<'_>,
    sets: &[String],
    expected: Option<u64>,
) -> Result<u64, Failure> {
    if let Some(expected) = expected {
        let mut reader = table.reader().attach()?;
        let value = fields(table, sets, reader.get(key)?.map(|entry| entry.bytes()))?;
        return Ok(writer.compare_and_set_bytes(key, expected, &value)?);
    }
    // They were tried on no value, so they cannot fail on one.
    let update = |old: Option<&[u8]>| fields(table, sets, old).unwrap_or_default();
    Ok(writer.update_bytes(key, update)?)
}

/// The value with these fields set.
fn fields(table: &Table, sets: &[String], old: Option<&[u8]>) -> Result<Vec<u8>, Failure> {
    let Some(schema) = table.schema() else {
        if sets.is_empty() {
            return Ok(Vec::new());
        }
        return Err(Failure::usage(format!(
            "table {:?} has no schema: --set has no fields",
            table.name()
        ))
        .hint("VALUE or --hex gives the value as it is"));
    };
    let size = usize::try_from(schema.size_bytes).unwrap_or(0);
    let mut value = old.map_or_else(Vec::new, <[u8]>::to_vec);
    value.resize(size, 0);
    for set in sets {
        schema
            .set(&mut value, set)
            .map_err(|error| Failure::usage(format!("--set {set}: {error}")))?;
    }
    Ok(value)
}

fn parse_hex(text: &str) -> Result<Vec<u8>, Failure> {
    let bad = || Failure::usage(format!("--hex {text:?} is not pairs of hexadecimal digits"));
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err(bad());
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| bad()))
        .collect()
}

/// Arguments of `table unset`.
#[derive(Debug, Args)]
pub struct UnsetArgs {
    /// The table
    name: String,
    /// The key, which keeps its place in the table
    key: String,
}

/// Takes a value away.
pub fn unset(args: &UnsetArgs, out: &Out) -> Result<ExitCode, Failure> {
    let table = Table::open(&args.name)?;
    let key = parse_key(&table, &args.key)?;
    let version = table.writer().name("unset").attach()?.remove(key)?;
    if version == 0 {
        return Err(Failure::new(
            Exit::NotFound,
            format!("table {:?} has no key {:?}", args.name, args.key),
        ));
    }
    say(out, "busway.table.unset/1", &args.name, &args.key, version)
}

fn say(
    out: &Out,
    document: &str,
    table: &str,
    key: &str,
    version: u64,
) -> Result<ExitCode, Failure> {
    if out.json() {
        out.document(document, &Written { table, key, version })?;
    } else {
        out.note(format_args!("{table}: {key:?} is at version {version}"));
    }
    Ok(Exit::Ok.code())
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        busway::Error::from(error).into()
    }
}
