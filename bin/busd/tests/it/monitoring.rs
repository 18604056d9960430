//! The metrics page, and whether the daemon says that it is well.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use busway::Bus;
use serde_json::json;

use crate::support::{Answer, BusName, Daemon, Scratch, exchange_with};

/// The page, as whoever accepts `media` gets it.
fn page(daemon: &Daemon, media: &str) -> Answer {
    let accept = format!("Accept: {media}\r\n");
    exchange_with(&daemon.socket(), "GET", "/metrics", &accept, "").unwrap()
}

/// The value of a series of this page, given by its name and labels as they are written.
fn value(page: &str, series: &str) -> Option<f64> {
    let mut lines = page.lines().filter_map(|line| line.rsplit_once(' '));
    lines.find(|(found, _)| *found == series).map(|(_, value)| value.parse().unwrap())
}

/// A bus with a producer that has published five frames, a consumer that has read one, and a group.
struct Busy {
    bus: Bus,
    _ends: (busway::Producer, busway::Consumer),
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Its files are not the bus's; they are there unless the test came not that far. Letters outlive
        // their group.
        let _removed = self.bus.remove_group("workers");
        let _letters = Bus::remove(&format!("{}.workers.dead", self.bus.name()));
    }
}

fn busy(name: &BusName) -> Busy {
    let bus = Bus::options().payload_bytes(16).capacity_frames(64).create(name).unwrap();
    bus.group("workers").create().unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    for _ in 0..3 {
        producer.publish_bytes(1, b"four").unwrap();
    }
    let mut batch = producer.claim_batch(2).unwrap();
    batch.frame(0).unwrap().set_len(6).unwrap();
    batch.commit().unwrap();
    thread::sleep(Duration::from_millis(2));
    assert!(consumer.poll().unwrap().is_some());
    consumer.release();
    Busy { bus, _ends: (producer, consumer) }
}

#[test]
fn page_has_every_value_of_a_bus() {
    let daemon = Daemon::start();
    let name = BusName::new();
    let _busy = busy(&name);
    let answer = page(&daemon, "text/plain");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let name = &*name;
    for (series, wanted) in [
        ("busway_bus_published_frames_total", 5.0),
        ("busway_bus_published_bytes_total", 3.0 * 4.0 + 6.0 + 16.0),
        ("busway_bus_producers", 1.0),
        ("busway_bus_consumers", 2.0),
        ("busway_bus_recoveries_total", 0.0),
    ] {
        let series = format!("{series}{{bus=\"{name}\"}}");
        assert_eq!(value(&answer.body, &series), Some(wanted), "{series} in {}", answer.body);
    }
    for (series, labels, wanted) in [
        ("busway_lane_published_frames_total", "lane=\"0\"", 5.0),
        ("busway_lane_batches_total", "lane=\"0\"", 1.0),
        ("busway_lane_batched_frames_total", "lane=\"0\"", 2.0),
        ("busway_lane_blocked_seconds_total", "lane=\"0\"", 0.0),
        ("busway_consumer_read_frames_total", "seat=\"1\"", 1.0),
        ("busway_consumer_lag_frames", "seat=\"1\"", 4.0),
        ("busway_consumer_latency_seconds_count", "seat=\"1\"", 1.0),
        ("busway_consumer_latency_seconds_bucket", "le=\"0.001\",seat=\"1\"", 0.0),
        ("busway_consumer_latency_seconds_bucket", "le=\"+Inf\",seat=\"1\"", 1.0),
        ("busway_group_backlog_frames", "group=\"workers\"", 5.0),
        ("busway_group_members", "group=\"workers\"", 0.0),
    ] {
        let orders = match labels.split_once(',') {
            Some((one, two)) => vec![
                format!("{series}{{{one},bus=\"{name}\",{two}}}"),
                format!("{series}{{bus=\"{name}\",{two},{one}}}"),
            ],
            None => vec![format!("{series}{{bus=\"{name}\",{labels}}}")],
        };
        let found = orders.iter().find_map(|series| value(&answer.body, series));
        assert_eq!(found, Some(wanted), "{orders:?} in {}", answer.body);
    }
    // Lanes that nobody ever used are not there.
    assert!(!answer.body.contains(&format!("{{bus=\"{name}\",lane=\"1\"}}")));
}

#[test]
fn open_metrics_is_for_who_accepts_it() {
    let daemon = Daemon::start();
    let accepted = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let answer = page(&daemon, accepted);
    let media = answer.header("content-type").unwrap();
    assert!(media.starts_with("application/openmetrics-text; version=1.0.0"), "{media}");
    assert!(answer.body.ends_with("# EOF\n"));
    assert!(answer.body.contains("# UNIT busway_bus_published_bytes bytes\n"));
    let info = format!("busway_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&answer.body, &info), Some(1.0), "{}", answer.body);
}

#[test]
fn every_metric_of_the_table_is_documented_by_its_name_on_the_page() {
    let daemon = Daemon::start();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let handbook = std::fs::read_to_string(path).unwrap();
    let body = page(&daemon, "text/plain").body;
    let names: Vec<&str> = body
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(|name| name.starts_with("busway_"))
        .collect();
    assert!(names.len() > busway::metrics::all().count(), "{names:?}");
    for name in names {
        assert!(handbook.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
    }
}

/// Prometheus's own opinion of the page. Where it is not installed, `.ci/run` holds the page to it.
#[test]
fn promtool_finds_nothing_wrong_with_the_page() {
    let daemon = Daemon::start();
    let name = BusName::new();
    let _busy = busy(&name);
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let Ok(mut promtool) = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        eprintln!("skipped: promtool is not installed");
        return;
    };
    let body = page(&daemon, "text/plain").body;
    promtool.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{body}");
}

#[test]
fn daemon_is_ready_while_what_it_declares_is_there() {
    let scratch = Scratch::new();
    let file = scratch.join("busd.toml");
    let (kept, lost) = (BusName::new(), BusName::new());
    let declared = format!("[[bus]]\nname = \"{}\"\n\n[[bus]]\nname = \"{}\"\n", &*kept, &*lost);
    std::fs::write(&file, declared).unwrap();
    let daemon = Daemon::start_with(&["--config", file.to_str().unwrap()]);
    let alive = daemon.get("/healthz");
    assert_eq!((alive.status, alive.json()), (200, json!({"status": "ok"})));
    let ready = daemon.get("/readyz");
    assert_eq!((ready.status, ready.json()), (200, json!({"ready": true, "missing": []})));
    Bus::remove(&lost).unwrap();
    let ready = daemon.get("/readyz");
    let missing = json!({"ready": false, "missing": [&*lost]});
    assert_eq!((ready.status, ready.json()), (503, missing));
    assert_eq!(daemon.get("/healthz").status, 200);
}
