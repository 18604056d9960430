//! The interface as curl sees it.

use serde_json::{Value, json};

use crate::support::{BusName, Child, Daemon, Task, exchange, send_raw};

#[test]
fn a_bus_is_created_listed_inspected_and_removed() {
    let daemon = Daemon::start();
    let name = BusName::new();
    let wish = json!({
        "name": &*name, "topology": "ordered", "payload_bytes": 100, "capacity_frames": 256,
        "lanes_max": 3, "consumers_max": 2, "on_full": "reject", "timestamps": "frame",
        "frames": "event", "mode": "0640", "origin_position": u64::MAX - 10,
    });
    let created = daemon.request("POST", "/v1/buses", &wish.to_string());
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("location"), Some(&*format!("/v1/buses/{}", &*name)));
    let bus = created.json();
    for key in ["name", "topology", "payload_bytes", "capacity_frames", "lanes_max", "on_full"] {
        assert_eq!(bus[key], wish[key], "{key}");
    }
    for key in ["consumers_max", "timestamps", "frames", "origin_position"] {
        assert_eq!(bus[key], wish[key], "{key}");
    }
    let size = std::fs::metadata(name.segment()).unwrap().len();
    assert_eq!(bus["segment_bytes"], json!(size));
    assert_eq!(bus["creator_pid"], json!(daemon.pid()));

    assert_eq!(daemon.list(&[&name]), std::slice::from_ref(&bus));
    let detail = daemon.get(&format!("/v1/buses/{}", &*name)).json();
    assert_eq!(detail["bus"], bus);
    assert_eq!(detail["lanes"].as_array().unwrap().len(), 3);
    assert_eq!(detail["lanes"][2]["position"], json!(u64::MAX - 10));
    assert_eq!(detail["consumers"], json!([]));

    let removed = daemon.request("DELETE", &format!("/v1/buses/{}", &*name), "");
    assert_eq!((removed.status, removed.json()["removed"].as_str()), (200, Some(&*name)));
    assert!(!name.segment().exists());
    let gone = daemon.get(&format!("/v1/buses/{}", &*name));
    assert_eq!((gone.status, &*gone.code()), (404, "not_found"));
}

#[test]
fn an_existing_bus_is_accepted_only_when_asked_for_with_the_same_options() {
    let daemon = Daemon::start();
    let name = BusName::new();
    daemon.create(&name, ", \"payload_bytes\": 64");
    let ask = |more: &str| {
        let body = format!("{{\"name\": \"{}\"{more}}}", &*name);
        daemon.request("POST", "/v1/buses", &body)
    };
    let again = ask(", \"payload_bytes\": 64");
    assert_eq!((again.status, &*again.code()), (409, "already_exists"));
    let accepted = ask(", \"payload_bytes\": 64, \"if_not_exists\": true");
    assert_eq!(accepted.status, 200, "{accepted:?}");
    let other = ask(", \"payload_bytes\": 32, \"if_not_exists\": true");
    assert_eq!((other.status, &*other.code()), (409, "differs"));
    assert!(other.message().contains("payload"), "{other:?}");
}

#[test]
fn bad_wishes_name_the_value_and_create_nothing() {
    let daemon = Daemon::start();
    let name = BusName::new();
    let cases = [
        (json!({"name": "sl/ash"}), "bad_name", "sl/ash"),
        (json!({"name": ""}), "bad_name", ""),
        (json!({"name": ".hidden"}), "bad_name", ".hidden"),
        (json!({"name": "x".repeat(65)}), "bad_name", ""),
        (json!({"name": &*name, "capacity_frames": 1000}), "bad_geometry", "1000"),
        (json!({"name": &*name, "payload_bytes": 0}), "bad_geometry", "0"),
        (json!({"name": &*name, "lanes_max": 257}), "bad_geometry", "257"),
        (json!({"name": &*name, "evict_lag_frames": 4097}), "bad_geometry", "4097"),
        (json!({"name": &*name, "evict_after_ns": 0}), "bad_option", "from a nanosecond"),
        (
            json!({"name": &*name, "evict_lag_frames": 1, "on_full": "drop-oldest"}),
            "bad_option",
            "block, reject",
        ),
        (json!({"name": &*name, "evict_after_ns": "1s"}), "bad_request", "1s"),
        (json!({"name": &*name, "consumers_max": 65}), "bad_geometry", "65"),
        (json!({"name": &*name, "group": "no-such-group"}), "bad_option", "no-such-group"),
        (json!({"name": &*name, "schema": {"fields": 7}}), "bad_schema", ""),
        (json!({"name": &*name, "topology": "mesh"}), "bad_request", "mesh"),
        (json!({"name": &*name, "mode": "rw"}), "bad_request", "rw"),
        (json!({"name": &*name, "payload_bytes": -1}), "bad_request", "-1"),
        (json!({"name": &*name, "lanes_max": 4_294_967_296_u64}), "bad_request", "4294967296"),
        (json!({"name": &*name, "payload": 48}), "bad_request", "payload"),
        (json!({"name": 7}), "bad_request", "line 1 column"),
        (json!(["name"]), "bad_request", ""),
    ];
    for (wish, code, words) in cases {
        let answer = daemon.request("POST", "/v1/buses", &wish.to_string());
        assert_eq!((answer.status, &*answer.code()), (400, code), "{wish}: {answer:?}");
        assert!(answer.message().contains(words), "{wish}: {answer:?}");
    }
    assert!(!name.segment().exists());
}

#[test]
fn a_bus_in_use_is_removed_only_by_force() {
    let daemon = Daemon::start();
    let name = BusName::new();
    daemon.create(&name, "");
    let child = Child::start(Task::HoldConsumer, &name);
    let path = format!("/v1/buses/{}", &*name);
    let refused = daemon.request("DELETE", &path, "");
    assert_eq!((refused.status, &*refused.code()), (409, "in_use"));
    assert!(refused.message().contains(&child.pid().to_string()), "{refused:?}");
    assert!(name.segment().exists());
    let removed = daemon.request("DELETE", &format!("{path}?force=true"), "");
    assert_eq!(removed.status, 200, "{removed:?}");
    assert_eq!(removed.json()["participants"][0]["pid"], json!(child.pid()));
    assert!(!name.segment().exists());
}

#[test]
fn participants_are_listed_with_who_they_are() {
    let daemon = Daemon::start();
    let name = BusName::new();
    daemon.create(&name, "");
    let producer = Child::start(Task::HoldProducer, &name);
    let consumer = Child::start(Task::HoldConsumer, &name);
    let list = daemon.get(&format!("/v1/buses/{}/participants", &*name)).json();
    let found = list["participants"].as_array().unwrap();
    let seen: Vec<(&str, u64)> =
        found.iter().map(|p| (p["role"].as_str().unwrap(), p["pid"].as_u64().unwrap())).collect();
    let wanted = [("producer", producer.pid().into()), ("consumer", consumer.pid().into())];
    assert_eq!(seen, wanted);
    for who in found {
        assert_eq!(who["name"], "holder");
        assert_eq!(who["alive"], true);
        assert_eq!(who["uid"], json!(rustix::process::geteuid().as_raw()));
    }
    let all = daemon.get("/v1/participants").json();
    for who in found {
        assert!(all["participants"].as_array().unwrap().contains(who));
    }
}

#[test]
fn a_segment_that_is_no_bus_is_listed_with_the_reason() {
    let daemon = Daemon::start();
    let name = BusName::new();
    std::fs::write(name.segment(), [0xa5; 8192]).unwrap();
    let list = daemon.get("/v1/buses").json();
    let is_ours = |entry: &&Value| entry["name"] == *name;
    let unreadable = list["unreadable"].as_array().unwrap();
    let entry = unreadable.iter().find(is_ours).expect("it is not listed");
    let code = entry["error"]["code"].as_str().unwrap();
    assert!(["corrupt", "incompatible"].contains(&code), "{entry}");
    let answer = daemon.get(&format!("/v1/buses/{}", &*name));
    assert_eq!((answer.status, &*answer.code()), (409, code));
    daemon.wait_for_log(&[("bus", json!(&*name)), ("level", json!("WARN"))]);
    assert_eq!(daemon.request("DELETE", &format!("/v1/buses/{}", &*name), "").status, 200);
    assert!(!name.segment().exists());
}

#[test]
fn a_segment_with_a_second_name_is_not_trusted() {
    let daemon = Daemon::start();
    let (name, alias) = (BusName::new(), BusName::new());
    daemon.create(&name, "");
    std::fs::hard_link(name.segment(), alias.segment()).unwrap();
    let answer = daemon.get(&format!("/v1/buses/{}", &*alias));
    assert_eq!((answer.status, &*answer.code()), (409, "untrusted"));
}

#[test]
fn what_does_not_exist_is_refused_as_json() {
    let daemon = Daemon::start();
    let cases = [
        ("GET", "/", 404, "no_such_path"),
        ("GET", "/v1/bus", 404, "no_such_path"),
        ("GET", "/v2/buses", 404, "no_such_path"),
        ("PUT", "/v1/buses", 405, "no_such_method"),
        ("DELETE", "/v1/version", 405, "no_such_method"),
        ("GET", "/v1/buses/a%2Fb", 400, "bad_name"),
        ("GET", "/v1/buses/%00", 400, "bad_name"),
        ("GET", "/v1/buses/%ff", 400, "bad_request"),
        ("GET", "/v1/buses/t-nobody-made-this", 404, "not_found"),
        ("GET", "/v1/buses/t-nobody-made-this/participants", 404, "not_found"),
        ("DELETE", "/v1/buses/t-nobody-made-this", 404, "not_found"),
        ("DELETE", "/v1/buses/t-nobody-made-this?force=perhaps", 400, "bad_request"),
        ("DELETE", "/v1/buses/t-nobody-made-this?farce=true", 400, "bad_request"),
    ];
    for (method, path, status, code) in cases {
        let answer = daemon.request(method, path, "");
        assert_eq!((answer.status, &*answer.code()), (status, code), "{method} {path}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{method} {path}");
    }
}

#[test]
fn bodies_that_are_no_wish_are_refused_with_the_place() {
    let daemon = Daemon::start();
    let post = |body: &str| daemon.request("POST", "/v1/buses", body);
    for (body, words) in [
        ("{\"name\": \"a\",\n \"lanes_max\": x}", "line 2 column 15"),
        ("{\"name\": \"a\"", "line 1 column 12"),
        ("{\"name\": \"a\"} trailing", "line 1 column 15"),
        ("{\"name\": \"a\", \"name\": \"b\"}", "duplicate"),
        ("\u{feff}{}", "not a JSON object"),
        ("[\"a\"]", "not a JSON object"),
        ("", "empty"),
    ] {
        let answer = post(body);
        assert_eq!((answer.status, &*answer.code()), (400, "bad_request"), "{body}: {answer:?}");
        assert!(answer.message().contains(words), "{body}: {answer:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(post(&format!("{{\"schema\": {deep}")).code(), "bad_request");
    let large = post(&format!("{{\"name\": \"{}\"}}", "x".repeat(2 << 20)));
    assert_eq!((large.status, &*large.code()), (413, "body_too_large"));
}

/// Requests cut off, garbled and mutated at random: the daemon answers the next one as ever.
#[test]
fn nonsense_neither_stops_nor_confuses_the_daemon() {
    let daemon = Daemon::start();
    let seed = 0x5eed_0001_u64;
    eprintln!("seed {seed:#x}");
    let mut state = seed;
    let mut random = move |below: usize| {
        // xorshift64*: Marsaglia 2003, Vigna 2016.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        usize::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % below
    };
    let valid = b"POST /v1/buses?x=%41 HTTP/1.1\r\nHost: busd\r\nContent-Length: 30\r\n\r\n\
        {\"name\": \"sl/ash\", \"mode\": \"9\"}";
    for _ in 0..300 {
        let mut bytes = valid.to_vec();
        for _ in 0..=random(8) {
            let place = random(bytes.len());
            match random(3) {
                0 => bytes[place] = u8::try_from(random(256)).unwrap(),
                1 => bytes.truncate(place.max(1)),
                _ => bytes.insert(place, b"\r\n:%{}\"\0"[random(8)]),
            }
        }
        let answer = send_raw(&daemon.socket(), &bytes).unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(!text.starts_with("HTTP/1.1 2"), "{text} to {:?}", String::from_utf8_lossy(&bytes));
        assert!(!text.starts_with("HTTP/1.1 5"), "{text} to {:?}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(exchange(&daemon.socket(), "GET", "/v1/health", "").unwrap().status, 200);
}

#[test]
fn one_connection_carries_many_requests() {
    let daemon = Daemon::start();
    let one = "GET /v1/version HTTP/1.1\r\nHost: busd\r\n\r\n";
    let last = "GET /v1/version HTTP/1.1\r\nHost: busd\r\nConnection: close\r\n\r\n";
    let answer = send_raw(&daemon.socket(), format!("{one}{one}{last}").as_bytes()).unwrap();
    let text = String::from_utf8(answer).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3, "{text}");
}
