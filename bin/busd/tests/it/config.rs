//! The config file, as the daemon applies it at start.

use serde_json::json;

use crate::support::{BusName, Daemon, Scratch, refused};

/// Writes a config file and gives the arguments that name it.
fn write(scratch: &Scratch, text: &str) -> [String; 2] {
    let file = scratch.join("busd.toml");
    std::fs::write(&file, text).unwrap();
    ["--config".to_owned(), file.to_str().unwrap().to_owned()]
}

fn start(scratch: &Scratch, text: &str) -> Daemon {
    let arguments = write(scratch, text);
    Daemon::start_with(&arguments.each_ref().map(String::as_str))
}

fn refuse(scratch: &Scratch, text: &str) -> (i32, String) {
    let arguments = write(scratch, text);
    refused(&scratch.join("run"), &arguments.each_ref().map(String::as_str))
}

#[test]
fn declared_buses_exist_before_anybody_is_served() {
    let scratch = Scratch::new();
    let (cpu, log) = (BusName::new(), BusName::new());
    let text = format!(
        "[[bus]]\nname = \"{}\"\ntopology = \"ordered\"\npayload = 100\nlanes = 3\n\
         evict-lag = 8\nevict-after = \"1m 500ms\"\n\
         [[bus]]\nname = \"{}\"\non-full = \"drop-oldest\"\ncapacity = 64\n",
        &*cpu, &*log
    );
    let daemon = start(&scratch, &text);
    let list = daemon.list(&[&cpu, &log]);
    assert_eq!(list.len(), 2);
    assert_eq!((&list[0]["topology"], &list[0]["payload_bytes"]), (&json!("ordered"), &json!(100)));
    assert_eq!(
        (&list[1]["on_full"], &list[1]["capacity_frames"]),
        (&json!("drop-oldest"), &json!(64))
    );
    assert_eq!(
        (&list[0]["evict_lag_frames"], &list[0]["evict_after_ns"]),
        (&json!(8), &json!(60_500_000_000_u64))
    );
    let file = daemon.get("/v1/health").json()["config_file"].clone();
    assert_eq!(file, json!(scratch.join("busd.toml")));
    drop(daemon);

    let daemon = start(&scratch, &text);
    daemon.wait_for_log(&[("message", json!("exists as declared")), ("bus", json!(&*cpu))]);
    assert_eq!(daemon.list(&[&cpu, &log]), list, "the same buses, not new ones");
}

#[test]
fn a_bus_that_exists_with_other_options_is_an_error_that_names_the_difference() {
    let scratch = Scratch::new();
    let (first, second) = (BusName::new(), BusName::new());
    busway::Bus::options().payload_bytes(64).create(&second).unwrap();
    let text = format!(
        "[[bus]]\nname = \"{}\"\n\n[[bus]]\nname = \"{}\"\npayload = 32\n",
        &*first, &*second
    );
    let (code, said) = refuse(&scratch, &text);
    assert_eq!(code, 8, "{said}");
    for words in ["line 5", &*second, "payload", "64", "32", "hint: "] {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert!(!first.segment().exists(), "nothing is created when something is wrong");
    assert_eq!(busway::Bus::open(&second).unwrap().info().payload_bytes, 64);
}

#[test]
fn mistakes_are_refused_with_file_line_and_column() {
    let scratch = Scratch::new();
    let name = BusName::new();
    for (text, words) in [
        (
            format!("[[bus]]\nname = \"{}\"\ntopolgy = \"lanes\"", &*name),
            "busd.toml, line 3, column 1: unknown",
        ),
        (format!("[[bus]]\nname = \"{}\"\nlanes = \"three\"", &*name), "line 3, column 9"),
        (format!("[[bus]]\nname = \"{}\"\nlanes = 3\n[[bus]]\nname = \"{0}\"", &*name), "line 5"),
        (format!("[[bus]]\nname = \"{}\"\ncapacity = 1000", &*name), "1000"),
        (format!("[[bus]]\nname = \"{}\"\nevict-after = \"soon\"", &*name), "line 3, column 15"),
        (format!("[[bus]]\nname = \"{}\"\nevict-lag = 4097", &*name), "evict-lag 4097"),
        (
            "[daemon]\nsocket-group = \"no-such-group\"".to_owned(),
            "busd.toml: socket-group: this host has no group \"no-such-group\"",
        ),
        ("[[bus]".to_owned(), "line 1"),
    ] {
        let (code, said) = refuse(&scratch, &text);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(words), "{words:?} in {said}");
        assert!(said.starts_with("error: "), "{said}");
    }
    assert!(!name.segment().exists());
    let missing = scratch.join("missing.toml");
    let (code, said) = refused(&scratch.join("run"), &["--config", missing.to_str().unwrap()]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("missing.toml"), "{said}");
}

#[test]
fn what_was_created_before_a_failure_is_removed_again() {
    let scratch = Scratch::new();
    let (first, second) = (BusName::new(), BusName::new());
    // A terabyte: refused by the size cap when it is created, after the first was.
    let text = format!(
        "[[bus]]\nname = \"{}\"\n[[bus]]\nname = \"{}\"\npayload = 65536\ncapacity = 16777216\n\
         topology = \"single\"\nsize-max = 9000000000000000000\n",
        &*first, &*second
    );
    if shm_bytes() > 1 << 40 {
        eprintln!("skipped: /dev/shm may hold a terabyte");
        return;
    }
    let (code, said) = refuse(&scratch, &text);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&*second), "{said}");
    assert!(!first.segment().exists());
    assert!(!second.segment().exists());
}

fn shm_bytes() -> u64 {
    let found = rustix::fs::statvfs("/dev/shm").unwrap();
    found.f_blocks.saturating_mul(found.f_frsize)
}
