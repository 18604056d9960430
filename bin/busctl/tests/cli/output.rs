//! Colour, closed pipes, and the words of the program about itself that every verb shares.

use crate::sandbox::{Running, Sandbox, until_consumers};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::process::{Command, Stdio};

/// Runs it with a terminal of 80 columns as stdout and returns what the terminal got.
pub fn on_a_terminal(command: &mut Command) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).unwrap();
    let mut child = command.stdout(Stdio::from(terminal)).stderr(Stdio::null()).spawn().unwrap();
    // The command keeps the terminal open until it gets another stdout.
    command.stdout(Stdio::null());
    let mut bytes = Vec::new();
    // A terminal whose other end is closed gives EIO, which is its end.
    let _ = File::from(master).read_to_end(&mut bytes);
    child.wait().unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let sandbox = Sandbox::new();
    let plain = |text: &str| !text.contains('\x1b');
    assert!(!plain(&on_a_terminal(&mut sandbox.command(&["doctor"]))));
    assert!(plain(&on_a_terminal(sandbox.command(&["doctor"]).env("NO_COLOR", "1"))));
    assert!(plain(&on_a_terminal(sandbox.command(&["doctor"]).env("TERM", "dumb"))));
    assert!(plain(&on_a_terminal(&mut sandbox.command(&["doctor", "--color", "never"]))));
    assert!(!plain(&on_a_terminal(sandbox.command(&["doctor"]).env("NO_COLOR", ""))));
    assert!(plain(&sandbox.run(&["doctor"]).stdout), "a pipe is no terminal");
    assert!(!plain(&sandbox.run(&["doctor", "--color", "always"]).stdout));
    let none = sandbox.name("none");
    assert!(plain(&sandbox.run(&["stat", &none]).stderr));
    assert!(!plain(&sandbox.run(&["stat", &none, "--color=always"]).stderr));
    assert!(!plain(&sandbox.run(&["--help", "--color=always"]).stdout));
    assert!(plain(&sandbox.run(&["--help"]).stdout));
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let list = [&["ls"][..], &["doctor"], &["stat", "--json"], &["man"], &["completions", "bash"]];
    for args in list {
        let mut command = sandbox.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(!stderr.contains("panic") && !stderr.contains("error"), "{args:?}: {stderr}");
        // Doctor may have found something of another test that runs beside this one.
        assert!(matches!(child.wait().unwrap().code(), Some(0 | 1)), "{args:?}");
    }
    // A stream that is fed learns by writing, one that is not by looking; both give the seat back.
    for frames in [0, 100] {
        let mut command = sandbox.command(&["sub", bus.name()]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        until_consumers(&bus, 1);
        drop(child.stdout.take());
        let mut producer = bus.producer().attach().unwrap();
        for _ in 0..frames {
            producer.publish_bytes(0, b"x").unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(bus.stat().consumers.is_empty());
    }
}

#[test]
fn a_shell_pipe_into_head_is_an_ordinary_thing() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let busctl = env!("CARGO_BIN_EXE_busctl");
    let name = bus.name();
    let script = format!(
        "{busctl} pub {name} -n 5 >&2; {busctl} sub {name} --from oldest -o hex | head -n 2"
    );
    let done = Running::start(&mut sandbox.program("/bin/sh", &["-c", &script]), None).wait();
    assert_eq!(done.code(), 0, "{done:?}");
    assert_eq!(done.stdout.lines().count(), 2, "{done:?}");
    assert!(!done.stderr.contains("error"), "{done:?}");
}

#[test]
fn a_full_disk_is_an_error() {
    let sandbox = Sandbox::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = sandbox.command(&["ls"]);
    let mut child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(stderr.starts_with("error: "), "{stderr}");
}
