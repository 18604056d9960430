//! `create`: its flags, its refusals, and the daemon that it starts.

use crate::sandbox::{Done, Running, Sandbox};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

fn segment(name: &str) -> String {
    format!("/dev/shm/busway.{name}")
}

#[test]
fn create_starts_a_daemon_when_none_runs_and_uses_it_when_one_does() {
    let sandbox = Sandbox::new();
    let (first, second) = (sandbox.name("first"), sandbox.name("second"));
    let done = sandbox.run(&["create", &first]);
    assert_eq!(done.code(), 0, "{done:?}");
    assert_eq!(done.stdout, "", "what was done is talk, not data");
    assert!(done.stderr.contains(&format!("created {first}")), "{done:?}");
    let pid = sandbox.daemon_pid().expect("a daemon runs");
    sandbox.ok(&["create", &second]);
    assert_eq!(sandbox.daemon_pid(), Some(pid), "it is still the same daemon");
    assert!(Path::new(&segment(&first)).exists() && Path::new(&segment(&second)).exists());
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(comm, "busd\n", "ps shows what it is");
}

#[test]
fn two_that_start_a_daemon_at_once_share_it() {
    let sandbox = Sandbox::new();
    let names: Vec<String> = (0..4).map(|index| sandbox.name(&index.to_string())).collect();
    let running: Vec<Running> = names.iter().map(|name| sandbox.start(&["create", name])).collect();
    for done in running.into_iter().map(Running::wait) {
        assert_eq!(done.code(), 0, "{done:?}");
    }
    let pid = sandbox.daemon_pid().expect("a daemon runs");
    let dir = sandbox.runtime_dir().into_os_string().into_encoded_bytes();
    let daemons: Vec<String> = fs::read_dir("/proc")
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|argument| argument == dir)
        })
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(daemons, [pid.to_string()], "those that came second are gone");
}

#[test]
fn no_daemon_works_straight_on_the_segment() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("bus");
    sandbox.ok(&["create", &name, "--no-daemon"]);
    assert!(!sandbox.runtime_dir().exists(), "no daemon was even looked for");
    assert!(Path::new(&segment(&name)).exists());
}

#[test]
fn every_flag_reaches_the_bus() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("bus");
    let line = format!(
        "create {name} --no-daemon --topology ordered --payload 4k --capacity 1k --lanes 3 \
         --consumers 5 --on-full reject --timestamps frame --frames bare --align 64 --mode 0640 \
         --group 0 --size-max 64M --evict-lag 512 --evict-after 2s"
    );
    let mut args: Vec<&str> = line.split_whitespace().collect();
    if !rustix::process::geteuid().is_root() {
        // Only root may give a file to any group.
        args.retain(|arg| !matches!(*arg, "--group" | "0"));
    }
    let document = sandbox.document("busway.create/1", &args);
    assert_eq!(document["created"], true);
    let bus = &document["bus"];
    let expected = json!({
        "name": name, "topology": "ordered", "on_full": "reject", "timestamps": "frame",
        "frames": "bare", "payload_bytes": 4096, "align_bytes": 64, "capacity_frames": 1024,
        "lanes_max": 3, "consumers_max": 5, "schema_hash": null,
        "evict_lag_frames": 512, "evict_after_ns": 2_000_000_000,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&bus[key], value, "{key}");
    }
    let metadata = fs::metadata(segment(&name)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
    assert_eq!(metadata.gid(), rustix::process::getegid().as_raw());
}

#[test]
fn a_schema_file_says_what_frames_are_and_comes_back_as_it_was() {
    let sandbox = Sandbox::new();
    let (name, copy) = (sandbox.name("bus"), sandbox.name("copy"));
    let file = sandbox.file("tick.json", TICK);
    let document =
        sandbox.document("busway.create/1", &["create", &name, "--no-daemon", "--schema", &file]);
    assert_eq!(document["bus"]["payload_bytes"], 24);
    let schema = sandbox.document("busway.schema/1", &["schema", &name]);
    assert_eq!(schema["bus"], name.as_str());
    assert_eq!(schema["frame"]["name"], "tick");
    assert_eq!(schema["hash"], document["bus"]["schema_hash"]);
    assert_eq!(schema["frame"]["fields"][1]["offset_bytes"], 8);
    // The document that `schema --json` prints makes the same bus again, from stdin.
    let done =
        sandbox.run_with(&["create", &copy, "--no-daemon", "--schema", "-"], schema.to_string());
    assert_eq!(done.code(), 0, "{done:?}");
    let again = sandbox.document("busway.schema/1", &["schema", &copy]);
    assert_eq!(again["frame"], schema["frame"]);
    let table = sandbox.ok(&["schema", &name]);
    assert!(table.contains("price") && table.contains("EUR"), "{table}");
}

/// A schema of the tests.
pub const TICK: &str = r#"{"name": "tick", "kind": 7, "fields": [
    {"name": "seq", "type": "u64"},
    {"name": "price", "type": "f64", "unit": "EUR", "doc": "Last price."},
    {"name": "load", "type": "u16", "count": 2},
    {"name": "host", "type": "text", "count": 4}
]}"#;

#[test]
fn bad_input_is_refused_by_value_and_nothing_is_made() {
    let sandbox = Sandbox::new();
    let good = sandbox.name("bus");
    let long = "n".repeat(65);
    let not_json = sandbox.file("bad.json", "{");
    let no_fields = sandbox.file("none.json", r#"{"name": "x", "fields": []}"#);
    let unknown = sandbox.file("key.json", r#"{"name": "x", "fields": [], "colour": 1}"#);
    let cases: &[(&[&str], &[&str])] = &[
        (&["a/b"], &["\"a/b\"", "1 to 64"]),
        (&[".hidden"], &["\".hidden\"", "not starting with a dot"]),
        (&[""], &["\"\"", "1 to 64"]),
        (&[&long], &[&long, "1 to 64"]),
        (&[&good, "--capacity", "3"], &["3", "power of two", "16777216"]),
        (&[&good, "--capacity", "1"], &["1", "power of two"]),
        (&[&good, "--evict-lag", "4097"], &["evict-lag 4097", "1 to 4096"]),
        (&[&good, "--evict-after", "0s"], &["evict-after", "from a nanosecond"]),
        (&[&good, "--evict-after", "soon"], &["\"soon\"", "500ms"]),
        (
            &[&good, "--evict-after", "1s", "--on-full", "drop-oldest"],
            &["drop-oldest", "block, reject"],
        ),
        (&[&good, "--payload", "0"], &["0", "1048576"]),
        (&[&good, "--payload", "2M"], &["2097152", "1048576"]),
        (&[&good, "--payload", "5G"], &["5G", "4294967295"]),
        (&[&good, "--payload", "many"], &["\"many\"", "64, 4k or 1M"]),
        (&[&good, "--lanes", "257"], &["257", "256"]),
        (&[&good, "--lanes", "0"], &["0", "256"]),
        (&[&good, "--consumers", "65"], &["65", "64"]),
        (&[&good, "--topology", "single", "--lanes", "2"], &["2", "1"]),
        (&[&good, "--topology", "star"], &["star", "single, lanes, ordered"]),
        (&[&good, "--on-full", "wait"], &["wait", "block, reject, drop-oldest"]),
        (&[&good, "--align", "7"], &["7", "64"]),
        (&[&good, "--mode", "0999"], &["\"0999\"", "octal"]),
        (&[&good, "--group", "no-such-group"], &["no-such-group"]),
        (&[&good, "--schema", &not_json], &["bad.json", "line 1"]),
        (&[&good, "--schema", &no_fields], &["none.json"]),
        (&[&good, "--schema", &unknown], &["key.json", "colour"]),
        (&[&good, "--schema", &not_json, "--payload", "8"], &["--schema", "--payload"]),
    ];
    for (args, says) in cases {
        sandbox.run(&[&["create"], *args].concat()).failed(2, says);
    }
    sandbox.run(&["create", &good, "--schema", "/no/such/file"]).failed(3, &["/no/such/file"]);
    assert!(!Path::new(&segment(&good)).exists(), "nothing was made");
    assert!(!sandbox.runtime_dir().exists(), "no daemon was started for it");
}

#[test]
fn a_bus_that_is_too_large_is_refused_with_its_size() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("bus");
    let line = ["create", &name, "--capacity", "1M", "--payload", "1M"];
    sandbox.run(&["create", &name, "--size-max", "1k"]).failed(2, &["at most 1024 bytes"]);
    sandbox.run(&["create", &name, "--mode", "0000"]).failed(2, &["\"0000\"", "the owner"]);
    sandbox.run(&line).failed(2, &["1073741824", "`--size-max BYTES` raises"]);
    assert!(!sandbox.runtime_dir().exists(), "no daemon was started for it");
    assert!(!Path::new(&segment(&name)).exists());
}

#[test]
fn a_name_that_is_taken_is_code_7_both_ways() {
    let sandbox = Sandbox::new();
    for mode in [&["--no-daemon"][..], &[]] {
        let name = sandbox.name(if mode.is_empty() { "daemon" } else { "straight" });
        let run =
            |more: &[&str]| -> Done { sandbox.run(&[&["create", &name], mode, more].concat()) };
        assert_eq!(run(&[]).code(), 0);
        run(&[]).failed(7, &[&name, "hint: "]);
        let done = run(&["--if-not-exists", "--json"]);
        assert_eq!(done.code(), 0, "{done:?}");
        assert!(done.stdout.contains("\"created\": false"), "{done:?}");
        run(&["--if-not-exists", "--capacity", "16"]).failed(7, &["capacity", "4096", "16"]);
    }
}

#[test]
fn a_runtime_dir_that_is_none_is_code_4() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("not-a-directory", "");
    let name = sandbox.name("bus");
    let done = sandbox.run(&["create", &name, "--runtime-dir", &file]);
    done.failed(4, &["not-a-directory", "hint: "]);
    assert!(!Path::new(&segment(&name)).exists());
}

#[test]
fn a_daemon_that_cannot_start_is_code_4_with_its_reason() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("bus");
    fs::create_dir(sandbox.runtime_dir()).unwrap();
    fs::create_dir(sandbox.runtime_dir().join("busd.lock")).unwrap();
    sandbox.run(&["create", &name]).failed(4, &["did not start", "busd.lock", "hint: "]);
    assert!(!Path::new(&segment(&name)).exists());
}

#[test]
fn what_others_may_not_have_is_code_5() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let secret = sandbox.file("secret.json", TICK);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything, so as root the program is run as nobody, from where nobody may
    // execute it.
    let copy = sandbox.executable("busctl", env!("CARGO_BIN_EXE_busctl"));
    let run = |args: &[&str]| {
        let mut command = sandbox.program(&copy, args);
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        Running::start(&mut command, None).wait()
    };
    let other = sandbox.name("other");
    run(&["create", &other, "--no-daemon", "--schema", &secret]).failed(5, &["secret.json"]);
    if rustix::process::geteuid().is_root() {
        run(&["stat", bus.name()]).failed(5, &[bus.name(), "permission"]);
        run(&["rm", bus.name()]).failed(5, &[bus.name()]);
        run(&["kick", bus.name(), "1"]).failed(5, &[bus.name()]);
        assert!(Path::new(&segment(bus.name())).exists());
    }
}
