//! systemd has a tool called `busctl` too. When this program is called by that name with words that
//! only systemd's tool knows, and that tool is elsewhere on PATH, it takes over with the same
//! arguments.
//!
//! | called as `busctl` with | goes to |
//! |---|---|
//! | `status monitor capture tree introspect call emit get-property set-property wait` | systemd |
//! | `list` and one of systemd's flags (`list --acquired`, `--user list`) | systemd |
//! | no verb and one of systemd's flags (`--user`, `--json=short`) | systemd |
//! | anything else: our verbs, `list` alone, `--version`, `--help`, nothing | here |
//!
//! Called as `busway` (or anything but `busctl`) it never hands over.

use crate::exit::Failure;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Verbs of systemd's tool that are not ours.
const VERBS: [&str; 10] = [
    "status",
    "monitor",
    "capture",
    "tree",
    "introspect",
    "call",
    "emit",
    "get-property",
    "set-property",
    "wait",
];

/// Flags of systemd's tool that are not ours and take no separate value.
const FLAGS: [&str; 16] = [
    "--system",
    "--user",
    "--acquired",
    "--unique",
    "--activatable",
    "--show-machine",
    "--no-pager",
    "--no-legend",
    "--full",
    "-l",
    "--list",
    "--quiet",
    "-q",
    "--verbose",
    "--xml-interface",
    "-j",
];

/// Flags of systemd's tool that are not ours and take a value: `--flag=value` or `--flag value`.
const FLAGS_WITH_VALUE: [&str; 15] = [
    "--address",
    "--host",
    "-H",
    "--machine",
    "-M",
    "--capsule",
    "-C",
    "--match",
    "--size",
    "--expect-reply",
    "--auto-start",
    "--allow-interactive-authorization",
    "--augment-creds",
    "--watch-bind",
    "--destination",
];

/// Gives way to systemd's tool if the arguments are meant for it. Returns when they are not.
///
/// # Errors
/// When they are, and systemd's tool is not on PATH or cannot be executed.
pub fn give_way(arguments: &[OsString]) -> Result<(), Failure> {
    let Some((program, rest)) = arguments.split_first() else {
        return Ok(());
    };
    if Path::new(program).file_name() != Some(OsStr::new("busctl")) {
        return Ok(());
    }
    let Some(word) = meant_for_systemd(rest) else {
        return Ok(());
    };
    let Some(tool) = find_systemd_tool() else {
        return Err(Failure::usage(format!(
            "`{word}` belongs to systemd's busctl, which is not on PATH; this is busway's busctl"
        ))
        .hint("`busctl --help` lists what this one does; called as `busway` it never hands over"));
    };
    let error = Command::new(&tool).args(rest).exec();
    Err(Failure::from(error).context(format_args!("systemd's {}", tool.display())))
}

/// The word by which these arguments (without the program's name) are for systemd's tool.
pub fn meant_for_systemd(arguments: &[OsString]) -> Option<String> {
    let mut foreign_flag = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(text) = argument.to_str() else { break };
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        if FLAGS.contains(&text) || text.starts_with("--json=") {
            foreign_flag.get_or_insert(text);
        } else if FLAGS_WITH_VALUE.contains(&name) {
            foreign_flag.get_or_insert(text);
            if name == text {
                rest.next();
            }
        } else if matches!(text, "--runtime-dir" | "--color" | "--timeout") {
            rest.next();
        } else if !text.starts_with('-') {
            return verb_meant_for_systemd(text, foreign_flag, rest);
        }
    }
    foreign_flag.map(str::to_owned)
}

fn verb_meant_for_systemd<'a>(
    verb: &str,
    flag_before: Option<&str>,
    mut after: impl Iterator<Item = &'a OsString>,
) -> Option<String> {
    if VERBS.contains(&verb) {
        return Some(verb.to_owned());
    }
    if verb != "list" {
        return None;
    }
    let is_foreign = |argument: &&OsString| {
        argument.to_str().is_some_and(|text| {
            let name = text.split_once('=').map_or(text, |(name, _)| name);
            FLAGS.contains(&text) || FLAGS_WITH_VALUE.contains(&name) || text.starts_with("--json=")
        })
    };
    let flag = flag_before.map(str::to_owned);
    flag.or_else(|| after.find(is_foreign).map(|flag| format!("list {}", flag.display())))
}

/// The first `busctl` on PATH that is not this executable and says that it is systemd's.
pub fn find_systemd_tool() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("busctl")).find(|candidate| {
        candidate.is_absolute() && !is_this_executable(candidate) && says_systemd(candidate)
    })
}

/// Compares device and inode, so that a link to this executable is seen as this executable.
fn is_this_executable(candidate: &Path) -> bool {
    let identity = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    match (identity(candidate), identity(Path::new("/proc/self/exe"))) {
        (Some(candidate), Some(this)) => candidate == this,
        // What cannot be looked at cannot be executed either.
        (None, _) => true,
        (_, None) => false,
    }
}

fn says_systemd(candidate: &Path) -> bool {
    let output = Command::new(candidate).arg("--version").stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"systemd "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(line: &str) -> bool {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        meant_for_systemd(&arguments).is_some()
    }

    #[test]
    fn systemds_verbs_and_flags_are_systemds() {
        for line in [
            "status",
            "monitor org.example",
            "tree",
            "introspect a b",
            "call a b c d",
            "--user tree",
            "list --acquired",
            "--user list",
            "list --json=short",
            "-H host status",
            "--system",
            "--json=pretty list",
            "--timeout 5 call a b c d",
            "--user --version",
        ] {
            assert!(meant(line), "{line}");
        }
    }

    #[test]
    fn our_own_words_stay_ours() {
        for line in [
            "",
            "help",
            "help pub",
            "list",
            "ls",
            "list --json",
            "--json list",
            "--version",
            "--help",
            "stat status",
            "create monitor",
            "--runtime-dir status ls",
            "rm tree",
            "pub x --set call=1",
            "--color never list",
            "sub x --timeout 5s",
        ] {
            assert!(!meant(line), "{line}");
        }
    }
}
