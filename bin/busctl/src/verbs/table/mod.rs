//! `table`: keyed cells that hold their latest value.
//!
//! * `make`: create and rm. * `write`: set and unset. * `look`: get, ls and stat. * `watch`: changes.
//! * `value`: keys and values as text and JSON.
//!
//! Works on the segments themselves; no daemon is asked or started.

mod look;
mod make;
mod value;
mod watch;
mod write;

use crate::context::Context;
use crate::exit::Failure;
use clap::{Args, Subcommand};
use std::process::ExitCode;

pub use look::{Whole, print_stat, print_tables, read_all};
pub use make::remove_table;

/// Arguments of `table`.
#[derive(Debug, Args)]
pub struct TableArgs {
    #[command(subcommand)]
    verb: TableVerb,
}

/// What to do with a table.
#[derive(Debug, Subcommand)]
enum TableVerb {
    /// Make a table
    Create(make::CreateArgs),
    /// Print the latest value of a key
    Get(look::GetArgs),
    /// Write a value
    Set(write::SetArgs),
    /// Take a key's value away
    Unset(write::UnsetArgs),
    /// Print values as they change
    Watch(watch::WatchArgs),
    /// List the keys of a table with their values, or all tables
    #[command(visible_alias = "list")]
    Ls(look::ListArgs),
    /// Show what a table is, and who writes to it
    Stat(look::StatArgs),
    /// Remove tables
    Rm(make::RemoveArgs),
}

/// Does it.
pub fn run(args: &TableArgs, context: &Context) -> Result<ExitCode, Failure> {
    let out = &context.out;
    match &args.verb {
        TableVerb::Create(args) => make::create(args, out),
        TableVerb::Get(args) => look::get(args, out),
        TableVerb::Set(args) => write::set(args, out),
        TableVerb::Unset(args) => write::unset(args, out),
        TableVerb::Watch(args) => watch::run(args, out),
        TableVerb::Ls(args) => look::list(args, out),
        TableVerb::Stat(args) => look::stat(args, out),
        TableVerb::Rm(args) => make::remove(args, out),
    }
}
