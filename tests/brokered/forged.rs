//! Brokers that hand out what is not what it should be: it is refused before it is mapped, by what is
//! wrong with it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use busway::{Bus, Error};
use rustix::fs::{
    MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, fcntl_get_seals, memfd_create,
};

use crate::support::Running;

/// What a copy of a region has that the region has not.
#[derive(Clone, Copy, Debug)]
enum Fault {
    NoMemfd,
    OtherLabel,
    Shorter,
    Longer,
    OpenToAll,
    Unsealed,
    NotSealedForWriting,
    OpenForWriting,
    Magic,
}

/// A copy of a region with one fault.
fn forge(original: &File, fault: Fault) -> File {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", number_of(original))).unwrap();
    let label = link.to_str().unwrap().trim_start_matches("/memfd:").trim_end_matches(" (deleted)");
    let label = if matches!(fault, Fault::OtherLabel) { "busway:other" } else { label };
    if matches!(fault, Fault::NoMemfd) {
        return File::open("/dev/null").unwrap();
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = File::from(memfd_create(label, flags).unwrap());
    let mut bytes = vec![0; usize::try_from(original.metadata().unwrap().len()).unwrap()];
    original.read_exact_at(&mut bytes, 0).unwrap();
    match fault {
        Fault::Shorter => bytes.truncate(bytes.len() - 4096),
        Fault::Longer => bytes.resize(bytes.len() + 4096, 0),
        Fault::Magic => bytes[0] ^= 1,
        _ => {}
    }
    copy.write_all_at(&bytes, 0).unwrap();
    let mode = if matches!(fault, Fault::OpenToAll) { 0o666 } else { 0o600 };
    fchmod(&copy, Mode::from_raw_mode(mode)).unwrap();
    let seals = fcntl_get_seals(original).unwrap() - SealFlags::EXEC;
    match fault {
        Fault::Unsealed => {}
        Fault::NotSealedForWriting => {
            fcntl_add_seals(&copy, seals - SealFlags::FUTURE_WRITE).unwrap();
        }
        _ => fcntl_add_seals(&copy, seals).unwrap(),
    }
    let path = format!("/proc/self/fd/{}", number_of(&copy));
    File::options().read(true).write(matches!(fault, Fault::OpenForWriting)).open(path).unwrap()
}

fn number_of(file: &File) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(file)
}

/// A broker that forges the descriptors of those answers that contain `what`.
fn forging(what: &'static str, place: usize, fault: Fault) -> Running {
    Running::start_tampering(move |answer, files| {
        if answer.contains(what)
            && let Some(file) = files.get_mut(place)
        {
            *file = Arc::new(forge(file, fault));
        }
    })
}

const ALL: [(Fault, &str); 9] = [
    (Fault::NoMemfd, "is something else"),
    (Fault::OtherLabel, "is something else"),
    (Fault::Shorter, "bytes"),
    (Fault::Longer, "bytes"),
    (Fault::OpenToAll, "mode 0666"),
    (Fault::Unsealed, "is sealed"),
    (Fault::NotSealedForWriting, "is sealed"),
    (Fault::OpenForWriting, "is open for"),
    (Fault::Magic, "magic"),
];

fn assert_refused<T>(result: Result<T, Error>, fault: Fault, want: &str) {
    let error = result.err().unwrap_or_else(|| panic!("{fault:?} was taken"));
    assert!(matches!(error, Error::Corrupt { .. }), "{fault:?}: {error}");
    assert!(error.to_string().contains(want), "{fault:?}: {error}");
}

#[test]
fn board_that_is_none_is_refused() {
    for (fault, want) in ALL {
        let running = forging("opened", 0, fault);
        running.create(&Bus::options(), "bus");
        assert_refused(Bus::connect(running.socket(), "bus"), fault, want);
    }
}

/// Promise 8 (ARCHITECTURE.md).
#[test]
fn lane_of_another_that_is_none_is_refused() {
    // A lane's first word is its head: any value is one.
    for (fault, want) in ALL.into_iter().take(8) {
        let running = forging("\"regions\":[{", 0, fault);
        let bus = running.bus(&Bus::options().lanes(1));
        let _producer = bus.producer().attach().unwrap();
        assert_refused(bus.consumer().attach(), fault, want);
        assert_refused(bus.observer().attach(), fault, want);
    }
}

#[test]
fn own_memory_and_bells_that_are_none_are_refused() {
    let faults = [Fault::NoMemfd, Fault::OtherLabel, Fault::Shorter, Fault::Longer];
    let texts = ["is something else", "is something else", "bytes", "bytes"];
    for (fault, want) in faults.into_iter().zip(texts) {
        for place in [0, 1] {
            let running = forging("lent", place, fault);
            let bus = running.bus(&Bus::options().lanes(1));
            assert_refused(bus.producer().attach(), fault, want);
            assert_refused(bus.consumer().attach(), fault, want);
        }
    }
    // One that cannot be written to is of no use, and is noticed before it is.
    let running = forging("lent", 1, Fault::OpenToAll);
    let bus = running.bus(&Bus::options().lanes(1));
    assert_refused(bus.producer().attach(), Fault::OpenToAll, "mode 0666");
}

#[test]
fn forged_row_keeps_the_lane_closed() {
    let running = forging("\"regions\":[{", 0, Fault::Unsealed);
    let bus = running.bus(&Bus::options().lanes(1).capacity_frames(4));
    let _consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let refused = producer.try_publish_bytes(0, b"x").unwrap_err();
    assert_eq!(refused, busway::PublishError::Full);
}

#[test]
fn answers_that_are_none_are_errors() {
    for (what, change) in [("too few", 0_usize), ("too many", 3)] {
        let running = Running::start_tampering(move |answer, files| {
            if answer.contains("opened") {
                let file = files.remove(0);
                files.resize(change, file);
            }
        });
        running.create(&Bus::options(), "bus");
        let error = Bus::connect(running.socket(), "bus").unwrap_err();
        assert_eq!(error.code(), "broker", "{what}: {error}");
    }
}
