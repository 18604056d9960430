//! The daemon of this user, and whether other daemons run beside it.

use super::Finding;
use crate::context::Context;
use crate::daemon;
use std::fs;

/// The kernel's name of a daemon's process, however it was started.
const DAEMON_NAME: &str = "busd";

pub fn look(context: &Context) -> Vec<Finding> {
    let mut findings = vec![look_at_ours(context)];
    findings.extend(look_for_several());
    findings
}

fn look_at_ours(context: &Context) -> Finding {
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

/// Several daemons, in directories of their own, may watch one host.
fn look_for_several() -> Option<Finding> {
    let daemons = find();
    if daemons.len() < 2 {
        return None;
    }
    Some(
        Finding::note("daemon", format!("{} daemons run: {}", daemons.len(), daemons.join(", ")))
            .because(
                "each watches every bus that it may open: which of them gives a dead seat back is \
                 chance, and so is whose log tells of it; no data is at risk",
            )
            .so("stop those that nobody uses; buses stay"),
    )
}

/// The daemons of this host that can be seen, each with its directory if it was told one.
fn find() -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut pids: Vec<u32> = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.trim_end() == DAEMON_NAME)
        })
        .collect();
    pids.sort_unstable();
    pids.into_iter().map(describe).collect()
}

fn describe(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let named = words.iter().position(|word| word == "--runtime-dir");
    match named.and_then(|index| words.get(index + 1)) {
        Some(directory) => format!("pid {pid} in {directory}"),
        None => format!("pid {pid}"),
    }
}
