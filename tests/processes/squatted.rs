//! Names that somebody else was at first: nobody is led to a bus of a stranger.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use busway::{Bus, BusOptions, Error};
use nix::unistd::Uid;

use crate::support::bus::{SegmentFile, TestBus, path_of};

/// A user that owns nothing.
const NOBODY: u32 = 65534;
/// A group that this process is surely not in.
const STRANGERS: u32 = 65533;

/// A bus whose file belongs to somebody else; `None` when this user cannot give files away.
fn foreign(options: &BusOptions, mode: u32, gid: u32) -> Option<TestBus> {
    if !Uid::effective().is_root() {
        return None;
    }
    let bus = TestBus::new(options);
    chown(path_of(bus.name()), Some(NOBODY), Some(gid)).unwrap();
    fs::set_permissions(path_of(bus.name()), Permissions::from_mode(mode)).unwrap();
    Some(bus)
}

fn refused(error: &Error) {
    assert_eq!(error.code(), "untrusted", "{error}");
    assert!(error.to_string().contains("65534"), "{error}");
}

/// Promise 7 (ARCHITECTURE.md).
#[test]
fn bus_of_a_stranger_is_looked_at_and_not_attached_to() {
    let Some(theirs) = foreign(&Bus::options(), 0o666, STRANGERS) else {
        return;
    };
    let bus = Bus::open(theirs.name()).unwrap();
    refused(&bus.producer().attach().unwrap_err());
    refused(&bus.consumer().attach().unwrap_err());
    assert!(bus.observer().attach().is_ok());
    assert_eq!(bus.seat_changes(), 0, "a refusal changes nothing");
}

#[test]
fn bus_of_a_stranger_that_is_named_is_trusted() {
    let Some(theirs) = foreign(&Bus::options(), 0o666, STRANGERS) else {
        return;
    };
    let bus = Bus::open_owned_by(theirs.name(), NOBODY).unwrap();
    assert!(bus.producer().attach().is_ok() && bus.consumer().attach().is_ok());
    let other = Bus::open_owned_by(theirs.name(), NOBODY - 1).unwrap_err();
    assert!(other.to_string().contains("user 65533 was expected"), "{other}");
    // Whoever names somebody gets nobody else's, not even this user's own.
    let own = TestBus::new(&Bus::options());
    assert_eq!(Bus::open_owned_by(own.name(), NOBODY).unwrap_err().code(), "untrusted");
}

#[test]
fn bus_given_to_a_group_is_trusted_by_its_members() {
    let own_group = nix::unistd::getegid().as_raw();
    let Some(shared) = foreign(&Bus::options(), 0o660, own_group) else {
        return;
    };
    let bus = Bus::open(shared.name()).unwrap();
    assert!(bus.producer().attach().is_ok());
    // A group that may only read was not given the bus.
    let theirs = foreign(&Bus::options(), 0o646, own_group).unwrap();
    refused(&Bus::open(theirs.name()).unwrap().consumer().attach().unwrap_err());
}

#[test]
fn bus_that_changed_hands_after_it_was_opened_is_refused() {
    if !Uid::effective().is_root() {
        return;
    }
    let bus = TestBus::new(&Bus::options());
    chown(path_of(bus.name()), Some(NOBODY), Some(STRANGERS)).unwrap();
    refused(&bus.producer().attach().unwrap_err());
}

#[test]
fn second_name_of_a_bus_is_refused_and_so_is_the_first() {
    let bus = TestBus::new(&Bus::options());
    let link = SegmentFile::new();
    fs::hard_link(path_of(bus.name()), &link.path).unwrap();
    for name in [bus.name(), &link.name] {
        let error = Bus::open(name).unwrap_err();
        assert_eq!(error.code(), "untrusted");
        assert!(error.to_string().contains("2 names"), "{error}");
    }
    fs::remove_file(&link.path).unwrap();
    assert!(Bus::open(bus.name()).is_ok());
}

#[test]
fn symbolic_link_to_a_bus_is_refused() {
    let bus = TestBus::new(&Bus::options());
    let link = SegmentFile::new();
    symlink(path_of(bus.name()), &link.path).unwrap();
    assert_eq!(Bus::open(&link.name).unwrap_err().code(), "corrupt");
}

/// Promise 7 (ARCHITECTURE.md).
#[test]
fn squatted_name_is_not_created_over() {
    let file = SegmentFile::new();
    fs::write(&file.path, b"mine").unwrap();
    assert_eq!(Bus::options().create(&file.name).unwrap_err().code(), "already_exists");
    assert_eq!(fs::read(&file.path).unwrap(), b"mine");
    let error = Bus::options().if_not_exists(true).create(&file.name).unwrap_err();
    assert_eq!(error.code(), "corrupt");
}
