//! `dlq`: a group's dead letters: list, show, replay, purge.

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::table::{Side, Table};
use crate::units::{format_age, format_bytes, format_unix_ns, parse_count_from_one};
use crate::verbs::group::open;
use busway::{DeadLetter, DeadLetters};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::process::ExitCode;

/// Arguments of `dlq`.
#[derive(Debug, Args)]
pub struct DlqArgs {
    #[command(subcommand)]
    verb: DlqVerb,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
enum DlqVerb {
    /// List them
    Ls(Of),
    /// Show them whole, payload and all; those of one lane and position when given
    Show {
        #[command(flatten)]
        of: Of,
        /// The lane that it was on
        #[arg(long, value_name = "N", requires = "position")]
        lane: Option<u32>,
        /// Its position there
        #[arg(long, value_name = "N")]
        position: Option<u64>,
    },
    /// Publish them again, on the bus that they come from
    Replay {
        #[command(flatten)]
        of: Of,
        /// So many at most, the oldest first
        #[arg(long, value_name = "N", value_parser = parse_count_from_one)]
        max: Option<u64>,
    },
    /// Drop them for good
    Purge {
        #[command(flatten)]
        of: Of,
        /// So many at most, the oldest first
        #[arg(long, value_name = "N", value_parser = parse_count_from_one)]
        max: Option<u64>,
    },
}

/// Whose.
#[derive(Debug, Args)]
struct Of {
    /// The bus
    bus: String,
    /// The group
    group: String,
}

/// The document of `dlq ls --json` and `dlq show --json`.
#[derive(Serialize)]
struct List {
    letters: Vec<DeadLetter>,
}

/// The document of `dlq replay --json` and `dlq purge --json`.
#[derive(Serialize)]
struct Settled {
    letters: u64,
}

/// Does it.
pub fn run(args: &DlqArgs, context: &Context) -> Result<ExitCode, Failure> {
    match &args.verb {
        DlqVerb::Ls(of) => {
            let letters = of.letters()?.list()?;
            if context.out.json() {
                context.out.document("busway.dlq/1", &List { letters })?;
            } else {
                table(&letters).print(&context.out)?;
            }
        }
        DlqVerb::Show { of, lane, position } => {
            let mut letters = of.letters()?.list()?;
            letters.retain(|letter| {
                lane.is_none_or(|lane| lane == letter.lane)
                    && position.is_none_or(|position| position == letter.position)
            });
            if position.is_some() && letters.is_empty() {
                let message = format!("group {:?} has no such dead letter", of.group);
                return Err(Failure::new(Exit::NotFound, message)
                    .hint(format!("`busctl dlq ls {} {}` shows them", of.bus, of.group)));
            }
            if context.out.json() {
                context.out.document("busway.dlq/1", &List { letters })?;
            } else {
                letters.iter().try_for_each(|letter| show(letter, context))?;
            }
        }
        DlqVerb::Replay { of, max } => {
            let letters = of.letters()?.replay(max.unwrap_or(u64::MAX))?;
            settled(letters, "replayed", context)?;
        }
        DlqVerb::Purge { of, max } => {
            let letters = of.letters()?.purge(max.unwrap_or(u64::MAX))?;
            settled(letters, "purged", context)?;
        }
    }
    Ok(Exit::Ok.code())
}

impl Of {
    fn letters(&self) -> Result<DeadLetters, Failure> {
        open(&self.bus, &self.group)?.dead_letters()?.ok_or_else(|| {
            let what = format!("group {:?} of bus {:?} has no dead letters", self.group, self.bus);
            Failure::new(Exit::NotFound, what)
                .hint("groups that are at-most-once, or try for ever, have none")
        })
    }
}

fn settled(letters: u64, word: &str, context: &Context) -> Result<(), Failure> {
    if context.out.json() {
        return context.out.document("busway.dlq-settled/1", &Settled { letters });
    }
    context.out.note(format_args!("{word} {letters}"));
    Ok(())
}

fn table(letters: &[DeadLetter]) -> Table<8> {
    let mut table = Table::new([
        ("LANE", Side::Right),
        ("POSITION", Side::Right),
        ("KIND", Side::Right),
        ("SIZE", Side::Right),
        ("PRODUCER", Side::Left),
        ("ATTEMPTS", Side::Right),
        ("CAUSE", Side::Left),
        ("AGE", Side::Right),
    ]);
    for letter in letters {
        table.row([
            letter.lane.to_string(),
            letter.position.to_string(),
            letter.kind.to_string(),
            format_bytes(letter.payload.len() as u64),
            letter.producer.clone(),
            letter.attempts.to_string(),
            letter.cause.name().to_owned(),
            format_age(letter.dead_unix_ns),
        ]);
    }
    table
}

fn show(letter: &DeadLetter, context: &Context) -> Result<(), Failure> {
    // What another process wrote must not steer the terminal.
    let producer = letter.producer.replace(|c: char| c.is_control(), "?");
    context.out.line(format_args!(
        "bus {}  group {}  lane {}  position {}",
        letter.bus, letter.group, letter.lane, letter.position
    ))?;
    context.out.line(format_args!("  producer  {producer} (pid {})", letter.producer_pid))?;
    context.out.line(format_args!("  attempts  {}, {}", letter.attempts, letter.cause.name()))?;
    context.out.line(format_args!("  dead      {}", format_unix_ns(letter.dead_unix_ns)))?;
    context.out.line(format_args!("  kind      {}, flags {:#06x}", letter.kind, letter.flags))?;
    context.out.line(format_args!("  payload   {}", hex(&letter.payload)))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
