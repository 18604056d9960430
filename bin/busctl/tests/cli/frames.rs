//! `pub` and `sub`: frames in and out in every format.

use crate::create::TICK;
use crate::sandbox::{Done, Sandbox, until_consumers};
use busway::{Bus, FrameLayout, OnFull, Schema};
use serde_json::Value;

fn tick_bus(sandbox: &Sandbox) -> Bus {
    sandbox.bus("tick", |options| options.schema(Schema::from_json(TICK).unwrap()))
}

/// Starts `sub`, publishes once it is attached, and returns what `sub` wrote.
fn through(sandbox: &Sandbox, bus: &Bus, sub: &[&str], publish: impl FnOnce() -> Done) -> String {
    let sub = sandbox.start(&[&["sub", bus.name()], sub].concat());
    until_consumers(bus, 1);
    let published = publish();
    assert_eq!(published.code(), 0, "{published:?}");
    let done = sub.wait();
    assert_eq!(done.code(), 0, "{done:?}");
    assert_eq!(done.stderr, "");
    done.stdout
}

const TICKS: &str = r#"{"seq": 1, "price": 1.5, "load": [1, 2], "host": "a b"}

{"seq": 2, "host": "x,\"y"}
"#;

#[test]
fn fields_go_in_as_json_lines_and_come_out_in_every_format() {
    let expected = [
        (
            "text",
            "[-] lane 0 #0 tick seq=1 price=1.5 load=[1, 2] host=\"a b\"\n\
             [-] lane 0 #1 tick seq=2 price=0 load=[0, 0] host=x,\"y\n",
        ),
        (
            "csv",
            "lane,position,time_ns,kind,seq,price,load[0],load[1],host\n\
             0,0,0,7,1,1.5,1,2,a b\n\
             0,1,0,7,2,0,0,0,\"x,\"\"y\"\n",
        ),
        (
            "hex",
            "0100000000000000000000000000f83f0100020061206200\n\
             0200000000000000000000000000000000000000782c2279\n",
        ),
    ];
    let sandbox = Sandbox::new();
    for (format, text) in expected {
        let bus = sandbox.bus(format, |o| o.schema(Schema::from_json(TICK).unwrap()));
        let got = through(&sandbox, &bus, &["-n", "2", "-o", format], || {
            sandbox.run_with(&["pub", bus.name(), "--stdin", "jsonl"], TICKS)
        });
        // Text of a field may be short of its last bytes: "a b" has a NUL after it.
        assert_eq!(got, text, "{format}");
    }
}

#[test]
fn json_lines_carry_fields_and_where_they_come_from() {
    let sandbox = Sandbox::new();
    let bus = tick_bus(&sandbox);
    let got = through(&sandbox, &bus, &["-n", "2", "--json"], || {
        sandbox.run_with(&["pub", bus.name(), "--stdin", "jsonl"], TICKS)
    });
    let lines: Vec<Value> = got.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["schema"], "busway.frame/1");
    assert_eq!(lines[1]["bus"], bus.name());
    assert_eq!(lines[1]["lane"], 0);
    assert_eq!(lines[1]["position"], 1);
    assert_eq!(lines[1]["kind"], 7);
    assert_eq!(lines[1]["len_bytes"], 24);
    assert_eq!(lines[0]["fields"]["load"], serde_json::json!([1, 2]));
    assert_eq!(lines[1]["fields"]["host"], "x,\"y");

    // What `sub` wrote, `pub` reads: the same frames on another bus.
    let copy = sandbox.bus("copy", |o| o.schema(Schema::from_json(TICK).unwrap()));
    let again = through(&sandbox, &copy, &["-n", "2", "-o", "jsonl"], || {
        sandbox.run_with(&["pub", copy.name(), "--stdin", "jsonl"], &got)
    });
    assert_eq!(again, got.replace(bus.name(), copy.name()));
}

#[test]
fn hex_goes_in_as_it_comes_out() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.payload_bytes(8));
    let got = through(&sandbox, &bus, &["-n", "3", "-o", "hex"], || {
        sandbox.run_with(&["pub", bus.name(), "--stdin", "hex"], "00ff\n\nDE AD be ef\n01\n")
    });
    assert_eq!(got, "00ff\ndeadbeef\n01\n");
    let text = through(&sandbox, &bus, &["-n", "1"], || {
        sandbox.run_with(&["pub", bus.name(), "--kind", "9", "--stdin", "hex"], "6869")
    });
    assert_eq!(text, "[-] lane 0 #3 kind 9 2 bytes 6869\n");
    let csv = through(&sandbox, &bus, &["-n", "1", "-o", "csv"], || {
        sandbox.run_with(&["pub", bus.name(), "--stdin", "hex"], "6869")
    });
    assert_eq!(csv, "lane,position,time_ns,kind,payload_hex\n0,4,0,0,6869\n");
}

#[test]
fn raw_bytes_are_cut_into_payloads() {
    let sandbox = Sandbox::new();
    let event = sandbox.bus("event", |options| options.payload_bytes(4));
    let got = through(&sandbox, &event, &["-n", "3", "-o", "hex"], || {
        sandbox.run_with(
            &["pub", event.name(), "--stdin", "raw"],
            b"\x00\x01\x02\x03\n\x05\x06\x07\x08",
        )
    });
    assert_eq!(got, "00010203\n0a050607\n08\n", "the last may be shorter");

    let bare = sandbox.bus("bare", |options| options.payload_bytes(4).frames(FrameLayout::Bare));
    let done = sandbox.run_with(&["pub", bare.name(), "--stdin", "raw"], b"\x00\x01\x02\x03\x04");
    done.failed(2, &["frame 2", "1 bytes", "4"]);
    assert!(done.stderr.contains("published 1 frame "), "{done:?}");
}

#[test]
fn bare_frames_are_decoded_too() {
    let sandbox = Sandbox::new();
    let schema = Schema::from_json(TICK).unwrap();
    let bus = sandbox.bus("bus", |o| o.schema(schema).frames(FrameLayout::Bare));
    let got = through(&sandbox, &bus, &["-n", "2"], || {
        sandbox.run(&["pub", bus.name(), "-n", "2", "--batch", "2", "--set", "seq=5"])
    });
    assert_eq!(got.lines().count(), 2);
    assert!(got.starts_with("[-] lane 0 #0 tick seq=5 "), "{got}");
}

#[test]
fn set_sets_fields_and_count_repeats_them() {
    let sandbox = Sandbox::new();
    let bus = tick_bus(&sandbox);
    let args =
        ["pub", bus.name(), "-n", "3", "--set", "seq=9", "--set", "host=me", "--set", "load=3,4"];
    let got = through(&sandbox, &bus, &["-n", "3"], || sandbox.run(&args));
    for (index, line) in got.lines().enumerate() {
        let expected = format!("[-] lane 0 #{index} tick seq=9 price=0 load=[3, 4] host=me");
        assert_eq!(line, expected);
    }
}

#[test]
fn a_frame_that_the_schema_does_not_describe_is_shown_as_bytes() {
    let sandbox = Sandbox::new();
    let bus = tick_bus(&sandbox);
    let got = through(&sandbox, &bus, &["-n", "1"], || {
        sandbox.run_with(&["pub", bus.name(), "--kind", "8", "--stdin", "hex"], "00ff")
    });
    assert_eq!(got, "[-] lane 0 #0 kind 8 2 bytes 00ff\n");
}

#[test]
fn a_batch_is_published_whole_and_positions_go_on() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(64));
    let summary =
        sandbox.document("busway.pub/1", &["pub", bus.name(), "-n", "25", "--batch", "10"]);
    assert_eq!(summary["published_frames"], 25);
    assert_eq!(summary["published_bytes"], 25 * 48);
    assert_eq!(summary["first_position"], 0);
    assert_eq!(summary["next_position"], 25);
    assert_eq!(summary["rejected_frames"], 0);
    assert_eq!(bus.stat().published, 25);
    sandbox.run(&["pub", bus.name(), "-n", "99", "--batch", "99"]).failed(2, &["--batch 99", "64"]);
    assert_eq!(bus.stat().published, 25);
}

#[test]
fn a_paced_run_does_not_run_ahead_of_its_schedule() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let args = ["pub", bus.name(), "-n", "21", "--rate", "100", "--batch", "2"];
    let summary = sandbox.document("busway.pub/1", &args);
    assert_eq!(summary["published_frames"], 21);
    // The last batch, of frame 20 alone, is due 200 ms after the first.
    assert!(summary["elapsed_ns"].as_u64().unwrap() >= 200_000_000, "{summary}");
}

#[test]
fn input_that_is_wrong_is_named_by_line_and_value() {
    let sandbox = Sandbox::new();
    let bus = tick_bus(&sandbox);
    let plain = sandbox.bus("plain", |options| options.payload_bytes(2));
    let cases: &[(&Bus, &str, &str, &[&str])] = &[
        (&bus, "jsonl", "\nnonsense", &["line 2: not a JSON object: ", ", column 2\n"]),
        (&bus, "jsonl", "[1]", &["line 1", "JSON object"]),
        (&bus, "jsonl", r#"{"sequence": 1}"#, &["line 1", "\"sequence\"", "seq, price"]),
        (&bus, "jsonl", r#"{"seq": -1}"#, &["line 1", "\"seq\"", "-1", "18446744073709551615"]),
        (&bus, "jsonl", r#"{"host": "too long"}"#, &["line 1", "\"host\"", "8", "4"]),
        (&plain, "jsonl", "{}", &["line 1", "no schema"]),
        (&plain, "hex", "0", &["line 1", "1 hexadecimal digits"]),
        (&plain, "hex", "\n\nxx", &["line 3", "'x'"]),
        (&plain, "hex", "001122", &["line 1", "3 bytes", "2"]),
    ];
    for (bus, format, input, says) in cases {
        sandbox.run_with(&["pub", bus.name(), "--stdin", format], input).failed(2, says);
        assert_eq!(bus.stat().published, 0);
    }
    let cases: &[(&[&str], &[&str])] = &[
        (&["--set", "sequence=1"], &["sequence=1", "seq, price"]),
        (&["--set", "seq"], &["\"seq\"", "field=value"]),
        (&["--set", "seq=many"], &["seq", "\"many\""]),
        (&["--rate", "0"], &["\"0\"", "above 0"]),
        (&["--count", "0"], &["0 is out of range", "1 or more"]),
        (&["--batch", "0"], &["0"]),
        (&["--kind", "65536"], &["65536", "65535"]),
        (&["--timeout", "5"], &["\"5\"", "500ms"]),
        (&["--wait-consumers", "9"], &["9", "at most 8"]),
        (&["--set", "seq=1", "--stdin", "raw"], &["--set", "--stdin"]),
    ];
    for (args, says) in cases {
        sandbox.run(&[&["pub", bus.name()], *args].concat()).failed(2, says);
    }
    sandbox.run(&["pub", plain.name(), "--set", "a=1"]).failed(2, &["no schema", "--set"]);
    sandbox.run(&["sub", bus.name(), "--json", "-o", "csv"]).failed(2, &["--json", "-o"]);
    assert_eq!(bus.stat().published + plain.stat().published, 0, "nothing was published");
}

#[test]
fn pub_waits_for_consumers_and_gives_up_with_code_6() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    sandbox
        .run(&["pub", bus.name(), "--wait-consumers", "1", "--timeout", "50ms"])
        .failed(6, &["0 of 1 consumers"]);
    assert_eq!(bus.stat().published, 0);
    let publisher = sandbox.start(&["pub", bus.name(), "--wait-consumers", "1"]);
    let sub = sandbox.run(&["sub", bus.name(), "-n", "1", "-o", "hex"]);
    assert_eq!(sub.stdout, format!("{}\n", "00".repeat(48)));
    assert_eq!(publisher.wait().code(), 0);
}

#[test]
fn a_full_lane_blocks_until_the_timeout_or_refuses_at_once() {
    let sandbox = Sandbox::new();
    let block = sandbox.bus("block", |options| options.capacity_frames(4));
    let _stuck = block.consumer().attach().unwrap();
    sandbox
        .run(&["pub", block.name(), "-n", "9", "--timeout", "50ms"])
        .failed(6, &["full", "busctl stat"]);
    assert_eq!(block.stat().published, 4);

    let reject =
        sandbox.bus("reject", |options| options.capacity_frames(4).on_full(OnFull::Reject));
    let _stuck = reject.consumer().attach().unwrap();
    let done = sandbox.run(&["pub", reject.name(), "-n", "9", "--json"]);
    assert_eq!(done.code(), 1, "{done:?}");
    assert!(done.stderr.contains("5 frames were refused"), "{done:?}");
    let summary: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&summary["published_frames"], &summary["rejected_frames"]), (&4.into(), &5.into()));
}
