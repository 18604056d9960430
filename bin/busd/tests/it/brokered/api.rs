//! Brokered buses over HTTP and in the config file.

use serde_json::json;

use super::{connect, make};
use crate::support::{BusName, Daemon, Scratch};

#[test]
fn a_brokered_bus_is_listed_inspected_and_removed_as_any_other() {
    let daemon = Daemon::start();
    let name = make(&daemon, ", \"lanes_max\": 2, \"allow\": [\"7:producer\", \"@9\"]");
    assert!(!name.segment().exists());
    assert_eq!(daemon.list(&[&name])[0]["brokered"], true);
    let bus = connect(&daemon, &name);
    let mut producer = bus.producer().name("p").attach().unwrap();
    let consumer = bus.consumer().name("c").attach().unwrap();
    producer.publish_bytes(0, b"x").unwrap();

    let path = format!("/v1/buses/{}", &*name);
    let detail = daemon.get(&path).json();
    assert_eq!(detail["bus"]["published_frames"], 1, "{detail}");
    assert_eq!(detail["lanes"][0]["producer"]["name"], "p", "{detail}");
    assert_eq!(detail["consumers"][0]["lag_frames"], 1, "{detail}");
    let allow = detail["allow"].as_array().unwrap();
    for line in ["7:producer", "@9:both", "0:both"] {
        assert!(allow.contains(&json!(line)), "{line}: {detail}");
    }
    let who = daemon.get(&format!("{path}/participants")).json();
    assert_eq!(who["participants"].as_array().unwrap().len(), 2, "{who}");
    assert_eq!(who["participants"][0]["pid"], std::process::id());

    let refused = daemon.request("DELETE", &path, "");
    assert_eq!((refused.status, refused.code()), (409, "in_use".to_owned()));
    assert_eq!(daemon.request("DELETE", &format!("{path}?force=true"), "").status, 200);
    assert!(bus.is_removed());
    assert_eq!(daemon.get(&path).status, 404);
    drop((producer, consumer));
}

#[test]
fn a_name_is_of_one_kind() {
    let daemon = Daemon::start();
    let post = |body: serde_json::Value| daemon.request("POST", "/v1/buses", &body.to_string());
    let (brokered, named) = (make(&daemon, ""), BusName::new());
    daemon.create(&named, "");
    for (name, is_brokered) in [(&brokered, false), (&named, true), (&brokered, true)] {
        let answer = post(json!({"name": &**name, "brokered": is_brokered}));
        assert_eq!(answer.code(), "already_exists");
    }
    let again = json!({"name": &*brokered, "brokered": true, "if_not_exists": true});
    assert_eq!(post(again).status, 200);
    for other in [
        json!({"lanes_max": 3, "brokered": true}),
        json!({"allow": ["7"], "brokered": true}),
        json!({}),
    ] {
        let mut wish = json!({"name": &*brokered, "if_not_exists": true});
        wish.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        assert_eq!(post(wish).code(), "differs", "{other}");
    }
}

#[test]
fn what_a_brokered_bus_cannot_be_is_a_bad_option() {
    let daemon = Daemon::start();
    for (more, want) in [
        (json!({"topology": "ordered"}), "ordered"),
        (json!({"mode": "0660"}), "0660"),
        (json!({"group": "0"}), "group"),
        (json!({"allow": ["no-such-user-here"]}), "no-such-user-here"),
        (json!({"brokered": false, "allow": ["0"]}), "unless the bus is brokered"),
    ] {
        let name = BusName::new();
        let mut wish = json!({"name": &*name, "brokered": true});
        wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = daemon.request("POST", "/v1/buses", &wish.to_string());
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_option"), "{answer:?}");
        assert!(answer.message().contains(want), "{answer:?}");
    }
}

#[test]
fn the_config_file_declares_brokered_buses() {
    let scratch = Scratch::new();
    let (file, name) = (scratch.join("busd.toml"), BusName::new());
    let text =
        format!("[[bus]]\nname = \"{}\"\nbrokered = true\nallow = [\"7:consumer\"]\n", &*name);
    std::fs::write(&file, text).unwrap();
    let daemon = Daemon::start_with(&["--config", file.to_str().unwrap()]);
    let detail = daemon.get(&format!("/v1/buses/{}", &*name)).json();
    assert_eq!(detail["bus"]["brokered"], true, "{detail}");
    assert!(detail["allow"].as_array().unwrap().contains(&json!("7:consumer")), "{detail}");
    connect(&daemon, &name).producer().attach().unwrap();
}
