//! Two programs are called `busctl`: which one gets which words.

use crate::sandbox::{Done, Running, Sandbox};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory for PATH with a `busctl` in it that says this as its version.
fn fake(sandbox: &Sandbox, folder: &str, version: &str) -> PathBuf {
    let script = format!(
        "#!/bin/sh
         [ \"$1\" = --version ] && {{ echo '{version}'; exit 0; }}
         echo fake \"$@\"
         exit 42
        "
    );
    let source = sandbox.file(&format!("{folder}.sh"), script);
    sandbox.executable(format!("{folder}/busctl"), source);
    sandbox.dir().join(folder)
}

fn run(command: &mut Command, path: &[&Path]) -> Done {
    Running::start(command.env("PATH", std::env::join_paths(path).unwrap()), None).wait()
}

#[test]
fn systemds_words_go_to_systemds_tool_with_the_same_arguments() {
    let sandbox = Sandbox::new();
    let fake = fake(&sandbox, "fake", "systemd 999 (999.1)");
    for args in [
        &["status", "org.example"][..],
        &["monitor", "--json=short", "a b"],
        &["list", "--acquired"],
        &["--user", "list"],
        &["call", "a", "/b", "c", "d", "s", "text"],
        &["--system"],
    ] {
        let done = run(&mut sandbox.command(args), &[&fake]);
        assert_eq!(done.code(), 42, "{args:?}: {done:?}");
        assert_eq!(done.stdout, format!("fake {}\n", args.join(" ")));
    }
}

#[test]
fn our_own_words_stay_here() {
    let sandbox = Sandbox::new();
    let fake = fake(&sandbox, "fake", "systemd 999");
    let bus = sandbox.bus("bus", |options| options);
    for args in [&["list"][..], &["list", "--json"], &["ls"], &["stat", bus.name()]] {
        let done = run(&mut sandbox.command(args), &[&fake]);
        assert_eq!(done.code(), 0, "{args:?}: {done:?}");
        assert!(done.stdout.contains(bus.name()), "{args:?}: {done:?}");
    }
    let done = run(&mut sandbox.command(&["--version"]), &[&fake]);
    assert!(done.stdout.starts_with("busctl "), "{done:?}");
}

#[test]
fn without_systemds_tool_it_says_so() {
    let sandbox = Sandbox::new();
    let empty = sandbox.dir().join("empty");
    fs::create_dir(&empty).unwrap();
    let done = run(&mut sandbox.command(&["tree"]), &[&empty]);
    done.failed(2, &["`tree`", "systemd", "not on PATH", "hint: "]);
    let done = run(&mut sandbox.command(&["list", "--acquired"]), &[&empty]);
    done.failed(2, &["`list --acquired`", "systemd"]);
}

#[test]
fn it_never_hands_over_to_itself_or_to_a_stranger() {
    let sandbox = Sandbox::new();
    let links = sandbox.dir().join("links");
    fs::create_dir(&links).unwrap();
    symlink(env!("CARGO_BIN_EXE_busctl"), links.join("busctl")).unwrap();
    sandbox.executable("copies/busctl", env!("CARGO_BIN_EXE_busctl"));
    let copies = sandbox.dir().join("copies");
    let stranger = fake(&sandbox, "stranger", "somebody else's 1.0");
    let path = [links.as_path(), &copies, &stranger];
    let done = run(&mut sandbox.command(&["tree"]), &path);
    done.failed(2, &["not on PATH"]);
    // The same, called through the link.
    let done = run(&mut sandbox.program(links.join("busctl"), &["tree"]), &path);
    done.failed(2, &["not on PATH"]);
    let real = fake(&sandbox, "real", "systemd 999");
    let done = run(&mut sandbox.command(&["tree"]), &[&links, &copies, &stranger, &real]);
    assert_eq!((done.code(), done.stdout.as_str()), (42, "fake tree\n"), "{done:?}");
}

#[test]
fn as_busway_it_never_hands_over() {
    let sandbox = Sandbox::new();
    let fake = fake(&sandbox, "fake", "systemd 999");
    let busway = env!("CARGO_BIN_EXE_busway");
    let done = run(&mut sandbox.program(busway, &["tree"]), &[&fake]);
    done.failed(2, &["tree"]);
    assert!(!done.stdout.contains("fake"), "{done:?}");
    let done = run(&mut sandbox.program(busway, &["--version"]), &[&fake]);
    assert!(done.stdout.starts_with("busway "), "{done:?}");
}

/// Where systemd is installed: its tool answers for the words that are its own.
#[test]
fn the_real_tool_is_found_where_it_is_installed() {
    let real = Path::new("/usr/bin/busctl");
    let says = Command::new(real).arg("--version").output();
    if !says.is_ok_and(|output| output.stdout.starts_with(b"systemd ")) {
        return;
    }
    let sandbox = Sandbox::new();
    let done = run(&mut sandbox.command(&["--user", "--version"]), &[Path::new("/usr/bin")]);
    assert_eq!(done.code(), 0, "{done:?}");
    assert!(done.stdout.starts_with("systemd "), "{done:?}");
}
