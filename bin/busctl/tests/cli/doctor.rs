//! `doctor`: what it finds wrong with buses, what `--fix` does about it, and what it leaves alone.

use crate::sandbox::{Sandbox, eventually, until_consumers};
use busway::{Bus, Start};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Where the header says where the lanes' words are (docs/format.md).
const HEADS_OFFSET_AT: u64 = 264;

fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/busway.{name}"))
}

/// A file that is no bus, and has not been touched for a while.
fn junk(sandbox: &Sandbox, word: &str) -> String {
    let name = sandbox.name(word);
    fs::write(path(&name), [7; 5000]).unwrap();
    age(&name);
    name
}

/// Has a file look as if nobody had written to it for a while.
fn age(name: &str) {
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    OpenOptions::new().write(true).open(path(name)).unwrap().set_modified(hour_ago).unwrap();
}

/// The exit code and the findings of `doctor --json` about these.
fn findings(sandbox: &Sandbox, args: &[&str]) -> (i32, Vec<Value>) {
    let done = sandbox.run(&[&["doctor", "--json"], args].concat());
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(report["schema"], "busway.doctor/1");
    assert_eq!(report["healthy"], done.code() == 0, "{report}");
    (done.code(), report["findings"].as_array().unwrap().clone())
}

#[track_caller]
fn one<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {findings:?}"))
}

fn says(finding: &Value, key: &str, words: &str) -> bool {
    finding[key].as_str().is_some_and(|text| text.contains(words))
}

#[test]
fn damaged_segment_that_nobody_uses_is_removed_by_fix_and_only_then() {
    let sandbox = Sandbox::new();
    let name = junk(&sandbox, "junk");
    // Daemons and tools of other tests look at it as well, and have it open for a moment.
    let (mut code, mut found) = (0, Vec::new());
    eventually("nobody has it open", || {
        (code, found) = findings(&sandbox, &[&name]);
        !one(&found, "segment")["fix"].is_null()
    });
    let finding = one(&found, "segment");
    assert_eq!((code, &finding["level"]), (1, &"wrong".into()));
    assert_eq!(finding["bus"], *name);
    assert_eq!(finding["fix"]["action"], "remove-segment");
    assert!(says(&finding["fix"], "proof", "no seat is locked, and none of "), "{finding}");
    assert!(finding["fix"]["done"].is_null() && finding["fix"]["failed"].is_null(), "{finding}");
    eventually("people are told too", || {
        let page = sandbox.run(&["doctor", &name]).stdout;
        page.contains("fix: --fix would remove it: no seat is locked")
    });
    assert!(path(&name).exists(), "looking changes nothing");

    eventually("nobody has it open", || {
        let done = sandbox.run(&["doctor", "--fix", &name]);
        assert_eq!(path(&name).exists(), done.code() == 1, "{done:?}");
        let is_told = done.stdout.contains("fix: removed it: no seat is locked");
        assert_eq!(is_told && done.stdout.starts_with("fixed  segment"), done.code() == 0);
        done.code() == 0
    });
    sandbox.run(&["doctor", "--fix", &name]).failed(3, &[&name]);

    let again = junk(&sandbox, "again");
    eventually("nobody has it open", || {
        let (code, found) = findings(&sandbox, &["--fix", &again]);
        code == 0 && found[0]["level"] == "fixed" && found[0]["fix"]["done"] == "removed it"
    });
}

#[test]
fn damaged_segment_that_may_be_in_use_is_left() {
    let sandbox = Sandbox::new();
    let open = junk(&sandbox, "open");
    let _held = File::open(path(&open)).unwrap();
    let fresh = sandbox.name("fresh");
    fs::write(path(&fresh), [7; 5000]).unwrap();
    let bus = sandbox.bus("mapped", |options| options);
    // The consumer keeps its mappings and its lock; the handle's own file would be found as well.
    let _consumer = bus.consumer().attach().unwrap();
    let mapped = bus.name().to_owned();
    drop(bus);
    let file = OpenOptions::new().write(true).open(path(&mapped)).unwrap();
    file.write_all_at(b"not a bus", 0).unwrap();
    drop(file);
    age(&mapped);
    let pid = format!(" {} (", std::process::id());
    for (name, why) in [(&open, pid.as_str()), (&mapped, &pid), (&fresh, "changed less than 10 s")]
    {
        let (code, found) = findings(&sandbox, &["--fix", name]);
        let finding = one(&found, "segment");
        assert_eq!((code, &finding["level"]), (1, &"wrong".into()), "{finding}");
        assert!(finding["fix"].is_null(), "{finding}");
        assert!(says(finding, "what_to_do", "--fix leaves it"), "{finding}");
        assert!(says(finding, "what_to_do", why), "{why} in {finding}");
        assert!(path(name).exists());
    }
}

#[test]
fn bus_of_a_dead_creator_is_as_it_should_be() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("bus");
    // The process that creates it is gone when the next one looks.
    sandbox.ok(&["create", &name, "--no-daemon"]);
    age(&name);
    let page = sandbox.ok(&["doctor", "--fix", &name]);
    assert!(page.starts_with("ok     buses") && page.contains("as it should be"), "{page}");
    assert!(Bus::open(&name).is_ok());
}

#[test]
fn segment_of_another_version_is_left() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let file = OpenOptions::new().write(true).open(path(bus.name())).unwrap();
    // The version is the 32-bit number at offset 8.
    file.write_all_at(&99_u32.to_le_bytes(), 8).unwrap();
    drop(file);
    age(bus.name());
    let (code, found) = findings(&sandbox, &["--fix", bus.name()]);
    let finding = one(&found, "segment");
    assert_eq!((code, &finding["level"]), (1, &"wrong".into()));
    assert!(
        finding["fix"].is_null() && says(finding, "what_to_do", "--fix leaves it"),
        "{finding}"
    );
    assert!(path(bus.name()).exists());
}

#[test]
fn bus_that_says_it_was_removed_is_removed_when_nobody_is_attached() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let consumer = bus.consumer().attach().unwrap();
    let name = bus.name().to_owned();
    drop(bus);
    let file = OpenOptions::new().write(true).open(path(&name)).unwrap();
    // The control region of a bus without a schema starts at 4096, with `removed` at 12.
    file.write_all_at(&1_u32.to_le_bytes(), 4096 + 12).unwrap();
    let (code, found) = findings(&sandbox, &["--fix", &name]);
    assert_eq!(code, 1, "{found:?}");
    assert!(says(one(&found, "segment"), "what_to_do", "is attached still"), "{found:?}");
    assert!(path(&name).exists());
    drop(consumer);
    let (code, found) = findings(&sandbox, &["--fix", &name]);
    assert_eq!((code, &found[0]["level"]), (0, &"fixed".into()), "{found:?}");
    assert!(!path(&name).exists());
}

/// Any daemon on this host gives dead seats back within milliseconds: so this tries until it was
/// faster.
#[test]
fn seat_of_the_dead_is_given_back_by_fix_line_by_line() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    eventually("doctor was the first", || {
        let subs = [(); 2].map(|()| sandbox.start(&["sub", bus.name()]));
        until_consumers(&bus, 2);
        for sub in subs {
            sub.signal(Signal::KILL);
            assert!(sub.wait().status.code().is_none());
        }
        let (_, found) = findings(&sandbox, &[bus.name()]);
        let is_offered = found.iter().any(|one| one["fix"]["action"] == "give-back-seat");
        let done = sandbox.run(&["doctor", "--fix", bus.name()]);
        assert_eq!(done.code(), 0, "{done:?}");
        assert!(bus.participants().is_empty());
        let fixed = done.stdout.lines().filter(|line| line.starts_with("fixed  seat")).count();
        let proof = "gave the seat back, it holds up nobody any more: the kernel has released";
        is_offered && fixed == 2 && done.stdout.contains(proof)
    });
}

#[test]
fn what_is_no_file_or_has_two_names_is_named_and_left() {
    let sandbox = Sandbox::new();
    let [link, pipe, directory, twice, alias] =
        ["link", "pipe", "directory", "twice", "alias"].map(|word| sandbox.name(word));
    symlink("/dev/null", path(&link)).unwrap();
    mknodat(CWD, path(&pipe), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::create_dir(path(&directory)).unwrap();
    Bus::options().create(&twice).unwrap();
    fs::hard_link(path(&twice), path(&alias)).unwrap();
    let cases = [
        (&link, "a symbolic link of uid "),
        (&pipe, "a named pipe of uid "),
        (&directory, "a directory of uid "),
        (&twice, "has 2 names instead of one"),
    ];
    for (name, what) in cases {
        let (code, found) = findings(&sandbox, &["--fix", name]);
        let finding = one(&found, "segment");
        assert_eq!((code, &finding["level"]), (1, &"wrong".into()));
        assert!(says(finding, "what", what), "{finding}");
        assert!(fs::symlink_metadata(path(name)).is_ok(), "{what} is left");
    }
}

#[test]
fn bus_that_everybody_may_write_to_is_worth_a_note() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    fs::set_permissions(path(bus.name()), fs::Permissions::from_mode(0o666)).unwrap();
    let (code, found) = findings(&sandbox, &[bus.name()]);
    let finding = one(&found, "segment");
    assert_eq!((code, &finding["level"]), (0, &"note".into()));
    assert!(
        says(finding, "what", "mode 0666") && says(finding, "why", "cut it short"),
        "{finding}"
    );
}

#[test]
fn bus_that_was_given_to_somebody_else_is_wrong() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root gives files away");
        return;
    }
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    std::os::unix::fs::chown(path(bus.name()), Some(65534), None).unwrap();
    let (code, found) = findings(&sandbox, &[bus.name()]);
    assert_eq!(code, 1);
    let what: Vec<&str> = found.iter().filter_map(|one| one["what"].as_str()).collect();
    assert!(what.iter().any(|what| what.contains("belongs to uid 65534")), "{what:?}");
    assert!(what.iter().any(|what| what.contains("says that uid 0 made it")), "{what:?}");
}

#[test]
fn lane_that_a_stopped_consumer_holds_up_is_wrong_and_fix_touches_nobody() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(4));
    let sub = sandbox.start(&["sub", bus.name()]);
    until_consumers(&bus, 1);
    sub.freeze();
    let publisher = sandbox.start(&["pub", bus.name(), "-n", "100"]);
    let mut found = Vec::new();
    eventually("it is held up for long enough", || {
        found = findings(&sandbox, &["--fix", bus.name()]).1;
        found.iter().any(|one| one["check"] == "held up")
    });
    let (finding, pid) = (one(&found, "held up"), sub.pid().to_string());
    assert_eq!(finding["level"], "wrong");
    assert!(says(finding, "what", "lane 0") && says(finding, "what", &pid), "{finding}");
    assert!(says(finding, "what", "stopped") && says(finding, "what_to_do", "-CONT"), "{finding}");
    sub.thaw();
    assert_eq!(publisher.wait().code(), 0);
    sub.signal(Signal::INT);
    assert_eq!(sub.wait().code(), 0, "it was not told to leave");
}

#[test]
fn evictions_are_noted_and_impossible_words_are_wrong() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let mut consumer = bus.consumer().start(Start::Oldest).attach().unwrap();
    bus.kick(std::process::id()).unwrap();
    assert!(consumer.poll().is_err());
    // It knows and keeps its seat: shown, and holding up nobody.
    let page = sandbox.ok(&["stat", bus.name()]);
    assert!(page.contains("evicted: holds up nobody"), "{page}");
    assert!(sandbox.ok(&["ps", bus.name()]).contains(" evicted "));
    drop(consumer);
    let (code, found) = findings(&sandbox, &[bus.name()]);
    assert_eq!((code, &one(&found, "eviction")["level"]), (0, &"note".into()));
    assert!(says(one(&found, "eviction"), "what", "1 participant "), "{found:?}");

    let mut consumer = bus.consumer().attach().unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path(bus.name())).unwrap();
    let mut heads = [0; 8];
    file.read_exact_at(&mut heads, HEADS_OFFSET_AT).unwrap();
    file.write_all_at(&77_777_u64.to_le_bytes(), u64::from_le_bytes(heads)).unwrap();
    assert!(consumer.poll().is_err());
    drop(consumer);
    let (code, found) = findings(&sandbox, &[bus.name()]);
    assert_eq!((code, &one(&found, "corruption")["level"]), (1, &"wrong".into()));
    assert!(says(one(&found, "corruption"), "what", "impossible words 1 time"), "{found:?}");
}

#[test]
fn several_daemons_are_worth_a_note() {
    let sandboxes = [Sandbox::new(), Sandbox::new()];
    for sandbox in &sandboxes {
        sandbox.ok(&["create", &sandbox.name("bus")]);
    }
    let page = sandboxes[0].run(&["doctor"]).stdout;
    let line = page.lines().find(|line| line.contains("daemons run: ")).unwrap();
    assert!(line.starts_with("note "), "{line}");
    for sandbox in &sandboxes {
        let daemon = format!("pid {} in ", sandbox.daemon_pid().unwrap());
        assert!(line.contains(&daemon), "{daemon} in {line}");
        assert!(line.contains(sandbox.runtime_dir().to_str().unwrap()), "{line}");
    }
}
