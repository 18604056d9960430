//! `doctor`: looks at everything that a bus needs of this machine, and says what is wrong, why that
//! matters and what to do about it.

mod buses;
mod host;

use crate::context::Context;
use crate::daemon;
use crate::exit::{Exit, Failure};
use crate::handover::find_systemd_tool;
use crate::output::{Out, Paint};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {}

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
}

/// The document of `doctor --json`.
#[derive(Serialize)]
struct Report {
    healthy: bool,
    findings: Vec<Finding>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, what: what.into(), why: None, what_to_do: None }
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

    fn so(mut self, what_to_do: impl Into<String>) -> Self {
        self.what_to_do = Some(what_to_do.into());
        self
    }
}

/// Looks at everything; exit code 1 when something is wrong.
pub fn run(_args: &DoctorArgs, context: &Context) -> Result<ExitCode, Failure> {
    let mut findings = host::look();
    findings.push(look_at_daemon(context));
    findings.push(look_at_name());
    findings.extend(buses::look());
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
    }
    Ok(())
}

fn look_at_daemon(context: &Context) -> Finding {
    const CHECK: &str = "daemon";
    let directory = context.runtime_dir.path().display();
    let client = match daemon::running(context) {
        Ok(Some(client)) => client,
        Ok(None) if context.no_daemon => return Finding::ok(CHECK, "not asked (--no-daemon)"),
        Ok(None) => {
            return Finding::ok(CHECK, format!("none runs in {directory}; `create` starts one"));
        }
        Err(failure) => {
            let finding = Finding::wrong(CHECK, failure.message())
                .because("whoever can write in the runtime directory can pose as the daemon");
            return match failure.hint_text() {
                Some(hint) => finding.so(hint),
                None => finding,
            };
        }
    };
    match client.version().and_then(|version| Ok((version, client.health()?))) {
        Ok((version, health)) if version.version != env!("CARGO_PKG_VERSION") => Finding::note(
            CHECK,
            format!(
                "busd {} (pid {}) runs, this program is {}",
                version.version,
                health.pid,
                env!("CARGO_PKG_VERSION")
            ),
        )
        .because("one may not understand the segments that the other makes")
        .so(format!("kill {} and let `create` start this version; buses stay", health.pid)),
        Ok((_, health)) if health.status != busd::api::HealthStatus::Ok => Finding::wrong(
            CHECK,
            format!("busd (pid {}) does not keep up with its watch", health.pid),
        )
        .because("detach and death of participants go unnoticed; data is not affected")
        .so(format!("look at its log; kill {} and start another", health.pid)),
        Ok((version, health)) => Finding::ok(
            CHECK,
            format!("busd {} (pid {}) in {directory}", version.version, health.pid),
        ),
        Err(error) => Finding::wrong(CHECK, error.to_string())
            .because("it listens and does not answer as it should")
            .so("stop it and start it again"),
    }
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
