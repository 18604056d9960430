//! `schema`: what the bytes of a bus's frames mean.

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::open::open;
use crate::output::{Out, Paint};
use crate::table::{Side, Table};
use busway::Schema;
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// The bus
    name: String,
}

/// The document of `schema --json`; `create --schema` takes it as it is.
#[derive(Serialize)]
struct Document<'a> {
    bus: &'a str,
    hash: String,
    frame: &'a Schema,
}

/// Shows the schema.
pub fn run(args: &SchemaArgs, context: &Context) -> Result<ExitCode, Failure> {
    let bus = open(context, &args.name)?;
    let Some(schema) = bus.schema() else {
        return Err(Failure::new(Exit::NotFound, format!("bus {:?} has no schema", args.name))
            .hint("`busctl create --schema FILE` stores one; `sub -o hex` shows frames without"));
    };
    if context.out.json() {
        let hash = format!("{:016x}", schema.hash());
        let document = Document { bus: &args.name, hash, frame: schema };
        context.out.document("busway.schema/1", &document)?;
    } else {
        print(schema, &context.out)?;
    }
    Ok(Exit::Ok.code())
}

fn print(schema: &Schema, out: &Out) -> Result<(), Failure> {
    out.line(format_args!(
        "{}  kind {}, {} bytes aligned to {}, layout {:016x}",
        out.paint(Paint::Bold, &schema.name),
        schema.kind,
        schema.size_bytes,
        schema.align_bytes,
        schema.hash(),
    ))?;
    let mut table = Table::new([
        ("OFFSET", Side::Right),
        ("FIELD", Side::Left),
        ("TYPE", Side::Left),
        ("UNIT", Side::Left),
        ("DOC", Side::Left),
    ]);
    for field in &schema.fields {
        table.row([
            field.offset_bytes.to_string(),
            field.name.clone(),
            field.type_text(),
            field.unit.clone().unwrap_or_default(),
            field.doc.clone().unwrap_or_default(),
        ]);
    }
    table.print(out)
}
