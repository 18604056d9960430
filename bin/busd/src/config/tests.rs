//! What a config file may say, and where the finger points when it may not.

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(PathBuf::from("busd.toml"), text)
}

/// Where and with which words a text is refused.
fn refused(text: &str) -> (usize, usize, String) {
    match parse(text) {
        Err(ConfigError::Content { line, column, message, .. }) => (line, column, message),
        other => panic!("{text:?} gave {other:?}"),
    }
}

#[test]
fn every_key_reaches_the_wish() {
    let config = parse(
        r#"
        [daemon]
        socket-mode = "0660"
        socket-group = "root"
        allow-uids = [1000, 1001]

        [[bus]]
        name = "cpu"
        topology = "ordered"
        payload = 112
        capacity = 1024
        lanes = 4
        consumers = 2
        on-full = "drop-oldest"
        timestamps = "frame"
        frames = "event"
        align = 64
        mode = "0640"
        group = "0"
        size-max = 16777216

        [[bus]]
        name = "plain"
        "#,
    )
    .unwrap();
    assert_eq!(config.daemon.socket_mode, Some(FileMode(0o660)));
    assert_eq!(config.daemon.allow_uids, [1000, 1001]);
    let (line, cpu) = &config.buses[0];
    assert_eq!(*line, 8);
    assert_eq!(cpu.topology, Some(Topology::Ordered));
    assert_eq!(cpu.payload_bytes, Some(112));
    assert_eq!(cpu.capacity_frames, Some(1024));
    assert_eq!((cpu.lanes_max, cpu.consumers_max), (Some(4), Some(2)));
    assert_eq!(cpu.on_full, Some(OnFull::DropOldest));
    assert_eq!(cpu.timestamps, Some(Timestamps::Frame));
    assert_eq!(cpu.frames, Some(FrameLayout::Event));
    assert_eq!((cpu.align_bytes, cpu.mode), (Some(64), Some(FileMode(0o640))));
    assert_eq!(cpu.size_max_bytes, Some(1 << 24));
    let plain = CreateBus { if_not_exists: true, ..CreateBus::new("plain") };
    assert_eq!(config.buses[1].1, plain);
}

#[test]
fn the_example_is_as_it_should_be() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/busd.toml");
    let text = fs::read_to_string(path).unwrap();
    let config = parse(&text).unwrap();
    let names: Vec<&str> = config.buses.iter().map(|(_, bus)| &*bus.name).collect();
    assert_eq!(names, ["telemetry", "alarms"]);
    // What is commented out is right as well.
    let schema = "# schema = \"sample.json\"";
    let all = text
        .replace(schema, "")
        .replace("# group =", "group =")
        .replace("# size-max =", "size-max =");
    assert!(parse(&all).unwrap().buses[0].1.size_max_bytes.is_some());
}

#[test]
fn an_empty_file_declares_nothing() {
    assert!(parse("").unwrap().buses.is_empty());
}

#[test]
fn unknown_keys_are_refused_where_they_stand() {
    let (line, column, message) = refused("[[bus]]\nname = \"a\"\n  topolgy = \"lanes\"\n");
    assert_eq!((line, column), (3, 3));
    assert!(message.contains("topolgy") && message.contains("`topology`"), "{message}");
    let (line, column, message) = refused("[daemon]\nsocket_mode = \"0600\"\n");
    assert_eq!((line, column), (2, 1));
    assert!(message.contains("socket_mode"), "{message}");
    assert_eq!(refused("\n[bu]\n").0, 2);
}

#[test]
fn bad_values_are_refused_where_they_stand() {
    let cases = [
        ("[[bus]]\nname = \"a\"\ntopology = \"mesh\"", 3, "mesh"),
        ("[[bus]]\nname = \"a\"\nmode = \"0999\"", 3, "0999"),
        ("[[bus]]\nname = \"a\"\npayload = -1", 3, "-1"),
        ("[[bus]]\nname = \"a\"\npayload = \"48\"", 3, "string"),
        ("[[bus]]\nname = \"sl/ash\"", 2, "sl/ash"),
        ("[[bus]]\nname = \"a\"\n[[bus]]\nname = \"a\"", 4, "first in line 2"),
        ("[[bus]]\nlanes = 2", 1, "name"),
        ("[[bus]]\nname = \"a\"\nname = \"b\"", 3, "duplicate"),
        ("[[bus]]\nname = \"a\"\nschema = \"no-such-file.json\"", 3, "no-such-file.json"),
        ("[[bus]\nname = 1", 1, ""),
    ];
    for (text, line, words) in cases {
        let found = refused(text);
        assert_eq!(found.0, line, "{text:?} gave {found:?}");
        assert!(found.2.contains(words), "{text:?} gave {found:?}");
    }
}

#[test]
fn the_users_file_comes_before_the_systems() {
    let set = |name: &str, value: &str| {
        let (name, value) = (name.to_owned(), OsString::from(value));
        move |asked: &str| (asked == name).then(|| value.clone())
    };
    let system = PathBuf::from("/etc/busway/busd.toml");
    let paths = usual_paths(set("XDG_CONFIG_HOME", "/c"));
    assert_eq!(paths, [PathBuf::from("/c/busway/busd.toml"), system.clone()]);
    let paths = usual_paths(set("HOME", "/h"));
    assert_eq!(paths, [PathBuf::from("/h/.config/busway/busd.toml"), system.clone()]);
    assert_eq!(usual_paths(|_| None), [system]);
}

#[test]
fn positions_count_characters_of_the_line() {
    assert_eq!(position("ab\ncd", 0), (1, 1));
    assert_eq!(position("ab\nüd", 5), (2, 2));
    assert_eq!(position("ab", 99), (1, 3));
}
