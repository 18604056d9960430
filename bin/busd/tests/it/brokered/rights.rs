//! Users, groups and roles, as the kernel says they are; and the seals of what is handed out.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use busway::Bus;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use rustix::fs::{FallocateFlags, fallocate};

use super::{connect, make};
use crate::support::{Daemon, Scratch, as_other_user, is_root};

/// A daemon that lets everybody connect.
fn open_daemon(scratch: &Scratch) -> Daemon {
    let file = scratch.join("busd.toml");
    std::fs::write(&file, "[daemon]\nsocket-mode = \"0666\"\n").unwrap();
    Daemon::start_with(&["--config", file.to_str().unwrap()])
}

#[test]
fn another_user_is_what_the_access_list_says_and_nothing_else() {
    if !is_root() {
        eprintln!("skipped: being another user needs root");
        return;
    }
    let scratch = Scratch::new();
    let daemon = open_daemon(&scratch);
    // What a user that owns nothing gets at each door: connect, produce, consume, observe.
    let doors = |allow: &str| {
        let name = make(&daemon, &format!(", \"allow\": [{allow}]"));
        let (socket, name) = (daemon.broker_socket(), name.to_string());
        as_other_user(move || {
            let bus = match Bus::connect(socket, &name) {
                Ok(bus) => bus,
                Err(error) => return error.code().to_owned(),
            };
            let code =
                |error: Option<busway::Error>| error.map_or("ok", |error| error.code()).to_owned();
            let codes = [
                code(bus.producer().attach().err()),
                code(bus.consumer().attach().err()),
                code(bus.observer().attach().err()),
            ];
            codes.join(" ")
        })
    };
    assert_eq!(doors(""), "permission");
    assert_eq!(doors("\"65534\""), "ok ok ok");
    assert_eq!(doors("\"65534:producer\""), "ok permission permission");
    assert_eq!(doors("\"65534:consumer\""), "permission ok ok");
    assert_eq!(doors("\"@65534:consumer\", \"1:producer\""), "permission ok ok");
    assert_eq!(doors("\"65533\", \"@65533\""), "permission");
}

#[test]
fn the_socket_is_as_closed_as_the_daemons_other_one() {
    if !is_root() {
        eprintln!("skipped: being another user needs root");
        return;
    }
    let daemon = Daemon::start();
    let name = make(&daemon, ", \"allow\": [\"65534\"]");
    let (socket, name) = (daemon.broker_socket(), name.to_string());
    let error = as_other_user(move || Bus::connect(socket, &name).err().unwrap());
    assert_eq!(error.code(), "broker");
}

/// The daemon's descriptors of a bus's regions: opened again, for writing, as only its own user and
/// root can.
fn regions(daemon: &Daemon, name: &str) -> Vec<(String, File)> {
    let directory = PathBuf::from(format!("/proc/{}/fd", daemon.pid()));
    let mut regions = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let Ok(target) = std::fs::read_link(&path) else { continue };
        let target = target.to_string_lossy().into_owned();
        if target.starts_with(&format!("/memfd:busway:{name}:")) {
            regions.push((target, File::options().read(true).write(true).open(path).unwrap()));
        }
    }
    regions
}

fn map_for_writing(file: &File) -> nix::Result<()> {
    let length = NonZeroUsize::new(4096).unwrap();
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: no address is asked for, so no existing mapping is replaced; it is never touched.
    unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, file, 0) }.map(drop)
}

#[test]
fn regions_opened_again_through_the_daemon_cannot_be_written_or_cut() {
    let daemon = Daemon::start();
    let name = make(&daemon, "");
    let bus = connect(&daemon, &name);
    let _producer = bus.producer().attach().unwrap();
    let _consumer = bus.consumer().attach().unwrap();
    let mut seen = Vec::new();
    for (label, file) in regions(&daemon, &name) {
        assert!(file.set_len(0).is_err() && file.set_len(1 << 30).is_err(), "{label}");
        let part = label.split(':').nth(4).unwrap().trim_end_matches(" (deleted)").to_owned();
        if part != "bells" {
            assert!(file.write_at(b"x", 0).is_err(), "{label}");
            assert!(map_for_writing(&file).is_err(), "{label}");
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            assert!(fallocate(&file, punch, 0, 4096).is_err(), "{label}");
        }
        seen.push(part);
    }
    seen.sort();
    assert_eq!(seen, ["bells", "board", "lane", "row"]);
}
