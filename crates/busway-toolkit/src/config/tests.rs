//! Both languages, and what is refused.

use std::time::Duration;

use super::*;
use crate::dispatch::Unhandled;
use crate::policy::{Breaker, Rate, Retry, WhileOpen};

const TOML: &str = r#"
[dispatcher.orders]
workers = { min = 1, max = 4, grow-after = "2ms" }
buffer = 2048
batch = 64
unhandled = "dead-letter"
dead-letter-bus = "orders.dead"
policy = { timeout = "1s" }

[[dispatcher.orders.kind]]
kind = 7
name = "placed"
timeout = "100ms"
concurrency = 2
retry = { attempts = 5, first = "10ms", factor = 3.0, longest = "1s", jitter = false }
breaker = { failures = 3, open-for = "30s", probes = 2, while-open = "dead-letter" }
rate = { per-second = 1000.0, burst = 100 }
dead-letter = false

[batcher.lookup]
items = 64
linger = "50us"
queue = 512
workers = 2
rate = { per-second = 0.5 }
"#;

const YAML: &str = r"
dispatcher:
  orders:
    workers: { min: 1, max: 4, grow-after: 2ms }
    buffer: 2048
    batch: 64
    unhandled: dead-letter
    dead-letter-bus: orders.dead
    policy: { timeout: 1s }
    kind:
      - kind: 7
        name: placed
        timeout: 100ms
        concurrency: 2
        retry: { attempts: 5, first: 10ms, factor: 3.0, longest: 1s, jitter: false }
        breaker: { failures: 3, open-for: 30s, probes: 2, while-open: dead-letter }
        rate: { per-second: 1000.0, burst: 100 }
        dead-letter: false
batcher:
  lookup:
    items: 64
    linger: 50us
    queue: 512
    workers: 2
    rate: { per-second: 0.5 }
";

#[test]
fn every_key_is_read_alike_from_both_languages() {
    let config = Config::parse(TOML, ConfigFormat::Toml).unwrap();
    assert_eq!(config, Config::parse(YAML, ConfigFormat::Yaml).unwrap());
    let orders = &config.dispatcher["orders"];
    let grow_after = Duration::from_millis(2);
    assert_eq!(orders.workers, Workers { grow_after, ..Workers::between(1, 4) });
    assert_eq!((orders.buffer, orders.batch), (2048, 64));
    assert_eq!(orders.unhandled, Unhandled::DeadLetter);
    assert_eq!(orders.dead_letter_bus.as_deref(), Some("orders.dead"));
    assert_eq!(orders.policy.timeout, Some(Duration::from_secs(1)));
    let kind = &orders.kind[0];
    assert_eq!((kind.kind, kind.name.as_deref()), (7, Some("placed")));
    let want = Policy {
        timeout: Some(Duration::from_millis(100)),
        concurrency: NonZeroU32::new(2),
        retry: Retry {
            attempts: 5,
            first: Duration::from_millis(10),
            factor: 3.0,
            longest: Duration::from_secs(1),
            jitter: false,
        },
        breaker: Some(Breaker {
            failures: 3,
            open_for: Duration::from_secs(30),
            probes: 2,
            while_open: WhileOpen::DeadLetter,
        }),
        rate: Some(Rate { per_second: 1000.0, burst: 100 }),
        dead_letter: false,
    };
    assert_eq!(kind.policy(), want);
    let lookup = &config.batcher["lookup"];
    assert_eq!((lookup.items, lookup.queue, lookup.workers), (64, 512, Workers::fixed(2)));
    assert_eq!(lookup.linger, Duration::from_micros(50));
    assert_eq!(lookup.rate, Some(Rate { per_second: 0.5, burst: 1 }));
}

#[test]
fn what_is_not_said_is_the_default() {
    for format in [ConfigFormat::Toml, ConfigFormat::Yaml] {
        assert_eq!(Config::parse("", format).unwrap(), Config::default());
        assert_eq!(Config::parse("# nothing\n", format).unwrap(), Config::default());
    }
    let config = Config::parse("[dispatcher.a]\n[batcher.b]\n", ConfigFormat::Toml).unwrap();
    assert_eq!(config.dispatcher["a"], DispatcherConfig::default());
    assert_eq!(config.batcher["b"], BatcherConfig::default());
    assert_eq!(Policy::from(PolicyConfig::default()), Policy::default());
}

#[test]
fn unknown_keys_are_refused_with_line_and_column() {
    let cases = [
        ("[dispatcher.a]\nworker = 1\n", "dispatcher:\n  a:\n    worker: 1\n", (2, 1), (3, 5)),
        (
            "[dispatcher.a.policy]\n retri = { attempts = 1 }\n",
            "dispatcher:\n  a:\n    policy:\n      retri: {}\n",
            (2, 2),
            (4, 7),
        ),
        (
            "[batcher.a]\nrate = { per-second = 1.0, brst = 2 }\n",
            "batcher:\n  a:\n    rate:\n      per-second: 1.0\n      brst: 2\n",
            (2, 28),
            (5, 7),
        ),
        (
            "[batcher.a]\nworkers = { min = 1, max = 2, mid = 3 }\n",
            "batcher:\n  a:\n    workers: { min: 1, max: 2, mid: 3 }\n",
            (2, 31),
            (3, 32),
        ),
    ];
    for (toml, yaml, in_toml, in_yaml) in cases {
        let error = Config::parse(toml, ConfigFormat::Toml).unwrap_err();
        assert_eq!((error.line, error.column), in_toml, "{toml}: {error}");
        assert!(error.message.contains("unknown field"), "{error}");
        let error = Config::parse(yaml, ConfigFormat::Yaml).unwrap_err();
        assert_eq!((error.line, error.column), in_yaml, "{yaml}: {error}");
        assert!(error.message.contains("unknown field"), "{error}");
    }
}

#[test]
fn wrong_values_are_refused_with_line_and_column() {
    let cases = [
        ("[batcher.a]\nlinger = \"soon\"\n", "batcher:\n  a:\n    linger: soon\n"),
        ("[batcher.a]\nitems = \"many\"\n", "batcher:\n  a:\n    items: many\n"),
        ("[batcher.a]\nworkers = -1\n", "batcher:\n  a:\n    workers: -1\n"),
        ("[dispatcher.a]\nunhandled = \"drop\"\n", "dispatcher:\n  a:\n    unhandled: drop\n"),
    ];
    for (toml, yaml) in cases {
        let error = Config::parse(toml, ConfigFormat::Toml).unwrap_err();
        assert_eq!(error.line, 2, "{toml}: {error}");
        let error = Config::parse(yaml, ConfigFormat::Yaml).unwrap_err();
        assert_eq!(error.line, 3, "{yaml}: {error}");
    }
}

#[test]
fn file_is_named_in_its_errors() {
    let error = Config::read("nowhere.toml").unwrap_err();
    assert!(error.to_string().starts_with("nowhere.toml:"), "{error}");
    assert!(Config::read("settings.json").unwrap_err().message.contains(".yaml"));
}

#[test]
fn every_key_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/toolkit.md");
    let page = std::fs::read_to_string(path).unwrap();
    let keys = TOML.lines().flat_map(|line| line.split(['{', ',']));
    let keys = keys.filter_map(|part| part.split_once('=')).map(|(key, _)| key.trim());
    let missing: Vec<_> = keys.filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "{missing:?} of the configuration are not in docs/toolkit.md");
}
