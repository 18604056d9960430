//! Who may do what: mode bits, as another user sees them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use busway::{Bus, BusOptions};
use nix::unistd::Uid;

use crate::support::bus::{TestBus, path_of};
use crate::support::role::{Note, Role};
use crate::support::worker::Worker;

/// A user that owns nothing.
const NOBODY: u32 = 65534;

/// What another user gets at every door of a bus; `None` when this user cannot become another.
fn as_another(options: &BusOptions) -> Option<(TestBus, BTreeMap<String, String>)> {
    if !Uid::effective().is_root() {
        return None;
    }
    let bus = TestBus::new(options);
    let role = Role::Try { bus: bus.name().to_owned() };
    let worker = Worker::start_by(&role, |command| {
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
    });
    let Note::Codes(codes) = worker.next() else { panic!("no codes") };
    Some((bus, codes))
}

fn codes(codes: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    codes.iter().map(|(door, code)| (door.as_str(), code.as_str())).collect()
}

/// Promise 7 (ARCHITECTURE.md).
#[test]
fn other_user_is_refused_by_default() {
    let Some((bus, seen)) = as_another(&Bus::options()) else {
        return;
    };
    let want = [("create", "already_exists"), ("open", "permission"), ("remove", "permission")];
    assert_eq!(codes(&seen), want);
    assert!(Bus::open(bus.name()).is_ok());
}

#[test]
fn other_user_who_may_read_observes_and_no_more() {
    let Some((bus, seen)) = as_another(&Bus::options().mode(0o644)) else {
        return;
    };
    let want = [
        ("consume", "permission"),
        ("create", "already_exists"),
        ("observe", "ok"),
        ("open", "ok"),
        ("produce", "permission"),
        ("reclaim", "permission"),
        ("remove", "permission"),
    ];
    assert_eq!(codes(&seen), want);
    assert_eq!(bus.seat_changes(), 0, "a refusal changes nothing");
}

#[test]
fn other_user_who_may_write_attaches_and_does_not_remove() {
    let Some((bus, seen)) = as_another(&Bus::options().mode(0o666)) else {
        return;
    };
    for door in ["open", "observe", "produce", "consume", "reclaim"] {
        assert_eq!(seen[door], "ok", "{door}");
    }
    assert_eq!(seen["remove"], "permission");
    assert!(!bus.is_removed());
}

/// Promise 7 (ARCHITECTURE.md).
#[test]
fn mode_is_exactly_what_was_asked_for() {
    for mode in [0o600, 0o660, 0o666, 0o777, 0o640] {
        let bus = TestBus::new(&Bus::options().mode(mode));
        let have = fs::metadata(path_of(bus.name())).unwrap().permissions().mode();
        assert_eq!(have & 0o7777, mode);
    }
}

#[test]
fn owner_who_took_the_rights_away_is_refused_like_anybody() {
    if Uid::effective().is_root() {
        return; // root may do anything
    }
    let bus = TestBus::new(&Bus::options());
    fs::set_permissions(path_of(bus.name()), fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(Bus::open(bus.name()).unwrap_err().code(), "permission");
    assert_eq!(bus.producer().attach().unwrap_err().code(), "permission");
}
