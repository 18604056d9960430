//! `group`: consumer groups of a bus: make, list, reset, remove.
//!
//! Works on the segments themselves: a group is the business of who may write to the bus, and needs no
//! daemon.

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::open::open as open_bus;
use crate::table::{Side, Table};
use crate::units::{choice, format_count, in_range, parse_duration};
use busway::{Affinity, Bus, Delivery, Group, GroupInfo, GroupStat, Start};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `group`.
#[derive(Debug, Args)]
pub struct GroupArgs {
    #[command(subcommand)]
    verb: GroupVerb,
}

/// What to do with groups.
#[derive(Debug, Subcommand)]
enum GroupVerb {
    /// Make a group; from then on producers wait for it, whether or not it has members
    Create(CreateArgs),
    /// List the groups of a bus, or of all
    Ls {
        /// The bus; every bus when left out
        bus: Option<String>,
    },
    /// Remove groups; their dead letters stay
    Rm {
        /// The bus
        bus: String,
        /// The groups
        #[arg(required = true)]
        groups: Vec<String>,
        /// Remove even while members are attached; they learn of it by themselves
        #[arg(short, long)]
        force: bool,
    },
    /// Start a group anew, which has to have no members
    Reset {
        /// The bus
        bus: String,
        /// The group
        group: String,
        /// Where: `latest` gives up the backlog, `oldest` takes again what the bus still holds
        #[arg(long, value_enum, default_value_t)]
        start: From,
    },
}

/// Arguments of `group create`.
#[derive(Debug, Args)]
struct CreateArgs {
    /// The bus
    bus: String,
    /// The group
    group: String,
    /// Where it starts
    #[arg(long, value_enum, default_value_t)]
    start: From,
    /// What it promises of each frame
    #[arg(long, default_value = "at-least-once", value_parser = choice::<Delivery>(Delivery::NAMES))]
    delivery: Delivery,
    /// Which frames go to the same member while it lives, those of one key: off, kind, lane, or payload:OFFSET:LEN, bytes of the payload
    #[arg(long, value_name = "KEY", default_value_t = Affinity::Off)]
    affinity: Affinity,
    /// Members that can be attached at a time: 1 to 64
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = in_range::<u32>(1, 64))]
    members: u32,
    /// Attempts after which a frame is a dead letter: 1 to 254; 0: it never is
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = in_range::<u32>(0, 254))]
    max_attempts: u32,
    /// How long a member may take before its frames go to another: 1 ms to 24 h
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
    /// The bus for dead letters [default: BUS.GROUP.dead]
    #[arg(long, value_name = "NAME")]
    dead_letters: Option<String>,
    /// Accept a group of the same kind
    #[arg(long)]
    if_not_exists: bool,
}

/// Where a group starts.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum From {
    /// After everything that is published
    #[default]
    Latest,
    /// At the oldest frames that the bus still holds
    Oldest,
}

impl From {
    fn start(self) -> Start {
        match self {
            Self::Latest => Start::Latest,
            Self::Oldest => Start::Oldest,
        }
    }
}

/// One group in `group ls --json`.
#[derive(Serialize)]
struct Entry {
    group: GroupInfo,
    stat: GroupStat,
}

/// The document of `group ls --json`.
#[derive(Serialize)]
struct List {
    groups: Vec<Entry>,
}

/// Does it.
pub fn run(args: &GroupArgs, context: &Context) -> Result<ExitCode, Failure> {
    match &args.verb {
        GroupVerb::Create(args) => create(args, context)?,
        GroupVerb::Ls { bus } => list(bus.as_deref(), context)?,
        GroupVerb::Rm { bus, groups, force } => remove(bus, groups, *force, context)?,
        GroupVerb::Reset { bus, group, start } => {
            open(bus, group)?.reset(start.start())?;
            context.out.note(format_args!("reset {group} of {bus}"));
        }
    }
    Ok(Exit::Ok.code())
}

/// Opens a group.
pub fn open(bus: &str, group: &str) -> Result<Group, Failure> {
    Ok(Bus::open(bus)?.open_group(group)?)
}

fn create(args: &CreateArgs, context: &Context) -> Result<(), Failure> {
    // A daemon's bus is told that it has no groups, and why.
    let bus = open_bus(context, &args.bus)?;
    let mut options = bus
        .group(&args.group)
        .start(args.start.start())
        .delivery(args.delivery)
        .affinity(args.affinity)
        .members(args.members)
        .max_attempts(args.max_attempts)
        .processing_timeout(args.timeout)
        .if_not_exists(args.if_not_exists);
    if let Some(name) = &args.dead_letters {
        options = options.dead_letter_bus(name);
    }
    let group = options.create()?;
    if context.out.json() {
        return context.out.document("busway.group/1", group.info());
    }
    let info = group.info();
    let letters = info.dead_letter_bus.as_ref().map(|bus| format!(", dead letters on {bus}"));
    context.out.note(format_args!(
        "created group {} of {}{}",
        info.name,
        info.bus,
        letters.unwrap_or_default()
    ));
    Ok(())
}

fn list(bus: Option<&str>, context: &Context) -> Result<(), Failure> {
    let buses = match bus {
        Some(name) => vec![name.to_owned()],
        None => Bus::list()?,
    };
    let mut groups = Vec::new();
    for name in &buses {
        let opened = match Bus::open(name) {
            Ok(opened) => opened,
            // Of all buses, those that cannot be opened are `busctl ls`'s to tell of.
            Err(_) if bus.is_none() => continue,
            Err(error) => return Err(error.into()),
        };
        for group in opened.groups()? {
            let looked = opened.open_group(&group).and_then(|group| {
                let stat = group.stat()?;
                Ok(Entry { group: group.info().clone(), stat })
            });
            match looked {
                Ok(entry) => groups.push(entry),
                Err(error) => context.out.warn(error),
            }
        }
    }
    if context.out.json() {
        return context.out.document("busway.groups/1", &List { groups });
    }
    print(&groups).print(&context.out)
}

/// How many of the 256 shares of the keys each member owns, by the seats' order.
fn shares(group: &GroupInfo, stat: &GroupStat) -> String {
    if group.affinity == Affinity::Off {
        return "-".to_owned();
    }
    let owned: Vec<String> = stat.members.iter().map(|one| one.shares.to_string()).collect();
    if owned.is_empty() { "0".to_owned() } else { owned.join("+") }
}

fn print(groups: &[Entry]) -> Table<12> {
    let mut table = Table::new([
        ("BUS", Side::Left),
        ("GROUP", Side::Left),
        ("DELIVERY", Side::Left),
        ("AFFINITY", Side::Left),
        ("MEMBERS", Side::Right),
        ("SHARES", Side::Right),
        ("BACKLOG", Side::Right),
        ("CLAIMED", Side::Right),
        ("WAITING", Side::Right),
        ("DONE", Side::Right),
        ("RETRIES", Side::Right),
        ("DEAD", Side::Right),
    ]);
    for Entry { group, stat } in groups {
        table.row([
            group.bus.clone(),
            group.name.clone(),
            group.delivery.to_string(),
            group.affinity.to_string(),
            format!("{}/{}", stat.members.len(), group.members),
            shares(group, stat),
            format_count(stat.backlog),
            format_count(stat.claimed),
            format_count(stat.waiting),
            format_count(stat.acknowledged),
            format_count(stat.refused + stat.timed_out + stat.died),
            format_count(stat.dead_letters),
        ]);
    }
    table
}

/// Everything is looked at before anything is removed.
fn remove(bus: &str, groups: &[String], force: bool, context: &Context) -> Result<(), Failure> {
    let opened = Bus::open(bus)?;
    for name in groups {
        match opened.open_group(name).and_then(|group| group.stat()) {
            Ok(stat) if !force && !stat.members.is_empty() => {
                let named: Vec<String> = stat
                    .members
                    .iter()
                    .map(|one| format!("{:?} (pid {})", one.participant.name, one.participant.pid))
                    .collect();
                let message = format!("group {name:?} of bus {bus:?} has {}", named.join(", "));
                return Err(Failure::failed(message)
                    .hint("stop them, or `busctl group rm -f` to remove it anyway"));
            }
            // One that is unfinished or damaged, or whose file is gone, is there to be removed.
            _ => {}
        }
    }
    for name in groups {
        opened.remove_group(name)?;
        context.out.note(format_args!("removed group {name} of {bus}"));
    }
    Ok(())
}
