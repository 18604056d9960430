//! `doctor`: looks at everything that a bus needs of this machine and at every bus, and says what is
//! wrong, why that matters and what to do about it; with `--fix` it does what is safe to do.
//!
//! ```text
//! host     shared memory, limits, processors, clock, membarrier
//! daemons  the daemon, and whether there are several
//! buses    every segment: file    what the file is, whose, and whether it is a bus at all
//!                         inside  who is held up, dead, evicted; what was found impossible
//!                         table   the same of a table
//! usage    who has a file open or mapped
//! remedy   what `--fix` does, and why that harms nobody
//! ```

mod buses;
mod daemons;
mod file;
mod host;
mod inside;
mod remedy;
mod table;
mod usage;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::handover::find_systemd_tool;
use crate::output::{Out, Paint};
use clap::Args;
use remedy::Remedy;
use serde::Serialize;
use std::process::ExitCode;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Look at these buses alone, and not at the machine
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Give back the seats of the dead and remove segments that are of no use to anybody
    #[arg(long)]
    fix: bool,
}

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    /// As it should be.
    Ok,
    /// Works, and could be better.
    Note,
    /// Wrong.
    Wrong,
    /// Was wrong until `--fix` saw to it.
    Fixed,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what_to_do: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bus: Option<String>,
    /// What `--fix` would do, or has done.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<Remedy>,
}

/// The document of `doctor --json`.
#[derive(Serialize)]
struct Report {
    healthy: bool,
    findings: Vec<Finding>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { check, level: Level::Ok, what, why: None, what_to_do: None, bus: None, fix: None }
    }

    fn note(check: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Note, ..Self::ok(check, what) }
    }

    fn wrong(check: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Wrong, ..Self::ok(check, what) }
    }

    fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    fn of_bus(mut self, bus: &str) -> Self {
        self.bus = Some(bus.to_owned());
        self
    }

    fn fixed_by(mut self, remedy: Remedy) -> Self {
        self.fix = Some(remedy);
        self
    }

    fn so(mut self, what_to_do: impl Into<String>) -> Self {
        self.what_to_do = Some(what_to_do.into());
        self
    }
}

/// Looks at everything; exit code 1 when something is wrong.
pub fn run(args: &DoctorArgs, context: &Context) -> Result<ExitCode, Failure> {
    let mut findings = if args.names.is_empty() {
        let mut findings = host::look();
        findings.extend(daemons::look(context));
        findings.push(look_at_name());
        findings.extend(buses::look_at_all());
        findings
    } else {
        buses::look_at(&args.names)?
    };
    if args.fix {
        for finding in &mut findings {
            remedy::apply(finding);
        }
    }
    let healthy = findings.iter().all(|finding| finding.level != Level::Wrong);
    let report = Report { healthy, findings };
    if context.out.json() {
        context.out.document("busway.doctor/1", &report)?;
    } else {
        print(&report, &context.out)?;
    }
    Ok(if healthy { Exit::Ok } else { Exit::Failure }.code())
}

fn print(report: &Report, out: &Out) -> Result<(), Failure> {
    for finding in &report.findings {
        let (paint, word) = match finding.level {
            Level::Ok => (Paint::Green, "ok   "),
            Level::Note => (Paint::Yellow, "note "),
            Level::Wrong => (Paint::Red, "wrong"),
            Level::Fixed => (Paint::Green, "fixed"),
        };
        out.line(format_args!(
            "{}  {:<11}{}",
            out.paint(paint, word),
            finding.check,
            finding.what
        ))?;
        if let Some(why) = &finding.why {
            out.line(format_args!("         why: {why}"))?;
        }
        if let Some(what_to_do) = &finding.what_to_do {
            out.line(format_args!("         do:  {what_to_do}"))?;
        }
        if let Some(remedy) = &finding.fix {
            out.line(format_args!("         fix: {}", remedy.words()))?;
        }
    }
    Ok(())
}

fn look_at_name() -> Finding {
    const CHECK: &str = "name";
    match find_systemd_tool() {
        None => Finding::ok(CHECK, "no other busctl on PATH"),
        Some(tool) => Finding::ok(
            CHECK,
            format!("systemd's {} takes over for its own verbs and flags", tool.display()),
        )
        .so("call this program `busway` where the two must not be mixed up"),
    }
}
