//! `table`: made, written, read, watched and removed; and what the other verbs make of one.

use crate::create::TICK;
use crate::sandbox::{Sandbox, eventually};
use busway::Table;
use serde_json::Value;

/// Makes a table; the sandbox removes it.
fn create(sandbox: &Sandbox, args: &[&str]) -> String {
    let name = sandbox.name("table");
    sandbox.ok(&[&["table", "create", &name], args].concat());
    name
}

#[test]
fn values_are_set_and_got_by_text_hex_and_version() {
    let sandbox = Sandbox::new();
    let name = &create(&sandbox, &["--key-kind", "text", "--keys", "4"]);
    sandbox.ok(&["table", "set", name, "motor/1", "1200"]);
    assert_eq!(sandbox.ok(&["table", "get", name, "motor/1"]), "1200\n");
    sandbox.ok(&["table", "set", name, "motor/1", "--hex", "00ff", "--if-version", "1"]);
    assert_eq!(sandbox.ok(&["table", "get", name, "motor/1"]), "00ff\n");
    let late = sandbox.run(&["table", "set", name, "motor/1", "x", "--if-version", "1"]);
    late.failed(1, &["version 2"]);
    sandbox.run(&["table", "get", name, "nobody"]).failed(3, &["nobody"]);
    sandbox.run(&["table", "set", name, "", "x"]).failed(2, &["1 to 32"]);
    sandbox.run(&["table", "set", name, "k", &"x".repeat(17)]).failed(2, &["17 bytes"]);
    sandbox.run(&["table", "set", name, "k"]).failed(2, &["value is missing"]);
    let document = sandbox.document("busway.table.get/1", &["table", "get", name, "motor/1"]);
    assert_eq!((&document["version"], &document["hex"]), (&Value::from(2), &Value::from("00ff")));
    sandbox.ok(&["table", "unset", name, "motor/1"]);
    sandbox.run(&["table", "get", name, "motor/1"]).failed(3, &["no value"]);
    for key in ["a", "b", "c"] {
        sandbox.ok(&["table", "set", name, key, "x"]);
    }
    sandbox.run(&["table", "set", name, "d", "x"]).failed(1, &["4 keys"]);
}

#[test]
fn fields_are_set_one_by_one_and_shown_by_name() {
    let sandbox = Sandbox::new();
    let schema = sandbox.dir().join("schema.json");
    std::fs::write(&schema, TICK).unwrap();
    let name = &create(&sandbox, &["--schema", schema.to_str().unwrap()]);
    let schema = busway::Schema::from_json(TICK).unwrap();
    let field = &schema.fields[0].name;
    sandbox.ok(&["table", "set", name, "7", "--set", &format!("{field}=5")]);
    let shown = sandbox.ok(&["table", "get", name, "7"]);
    assert!(shown.contains(&format!("{field}=5")), "{shown}");
    let listed = sandbox.document("busway.table.keys/1", &["table", "ls", name]);
    assert_eq!(listed["entries"][0]["fields"][field], 5);
    sandbox.run(&["table", "set", name, "7", "--set", "nothing=1"]).failed(2, &["nothing"]);
    sandbox.run(&["table", "set", name, "seven", "--hex", "00"]).failed(2, &["seven"]);
}

#[test]
fn watch_prints_what_is_there_and_what_changes() {
    let sandbox = Sandbox::new();
    let name = &create(&sandbox, &[]);
    sandbox.ok(&["table", "set", name, "1", "first"]);
    let args = ["table", "watch", name, "-n", "2", "--timeout", "60s"];
    let mut watcher = sandbox.start(&args);
    let mut number = 0;
    eventually("the watcher has seen a change", || {
        number += 1;
        sandbox.ok(&["table", "set", name, "2", &format!("change {number}")]);
        !watcher.is_running()
    });
    let done = watcher.wait();
    assert_eq!(done.code(), 0, "{done:?}");
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("  v")), "{lines:?}");
    sandbox.run(&["table", "watch", name, "9", "--timeout", "10ms"]).failed(6, &["nothing"]);
}

#[test]
fn other_verbs_know_a_table() {
    let sandbox = Sandbox::new();
    let name = &create(&sandbox, &["--keys", "8"]);
    let bus = sandbox.bus("bus", |options| options);
    sandbox.ok(&["table", "set", name, "1", "x"]);
    let listed = sandbox.document("busway.ls/1", &["ls"]);
    let named =
        |list: &Value, name: &str| list.as_array().unwrap().iter().any(|one| one["name"] == name);
    assert!(named(&listed["tables"], name) && !named(&listed["buses"], name), "{listed}");
    assert!(named(&listed["buses"], bus.name()) && !named(&listed["tables"], bus.name()));
    assert!(sandbox.ok(&["ls"]).contains(name));
    assert!(sandbox.ok(&["stat", name]).contains("table, 1 of 8 keys"));
    assert_eq!(sandbox.document("busway.table.stat/1", &["stat", name])["stat"]["writes"], 1);
    sandbox.ok(&["doctor", name]);
    for verb in [&["pub", name] as &[&str], &["sub", name], &["tap", name], &["ps", name]] {
        sandbox.run(verb).failed(2, &["is a table, not a bus"]);
    }
    sandbox.run(&["table", "get", bus.name(), "1"]).failed(2, &["is a bus, not a table"]);
    let table = Table::open(name).unwrap();
    let writer = table.writer().name("holder").attach().unwrap();
    sandbox.run(&["rm", name]).failed(1, &["in use", "holder"]);
    drop(writer);
    sandbox.ok(&["rm", name]);
    assert!(table.is_removed());
}

#[test]
fn torture_of_a_table_finds_nothing_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let args = ["torture", "table", "--seconds", "2", "--writers", "3", "--seed", "5"];
    let report = sandbox.document("busway.torture-table/1", &args);
    assert_eq!(report["violations"].as_array().unwrap().len(), 0, "{report}");
    for count in ["workers", "reads", "versions", "writes_of_the_bystander"] {
        assert!(report[count].as_u64().unwrap() > 0, "{count}: {report}");
    }
}

#[test]
fn bench_of_a_table_accounts_for_every_message() {
    let sandbox = Sandbox::new();
    for ends in ["threads", "processes"] {
        let args = ["bench", "table", "--messages", "2000", "--runs", "1", "--rows", "1,3"];
        let report =
            sandbox.document("busway.bench-table/1", &[&args[..], &["--as", ends]].concat());
        let rows = report["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 8, "two modes, two rows, two stores: {report}");
        assert!(
            rows.iter().all(|row| row["written_per_s"]["median"].as_u64() > Some(0)),
            "{report}"
        );
    }
}
