//! The served description against what the server does: every route is described, every
//! described route answers, with a described status and a body of the described form.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::support::{Answer, BusName, Daemon, Scratch, as_other_user, exchange, is_root};

/// The document that the daemon serves, and what has been checked against it.
struct Description {
    document: Value,
    /// Method, path and status of every answer that was checked.
    seen: BTreeSet<(String, String, u16)>,
}

impl Description {
    fn of(daemon: &Daemon) -> Self {
        Self { document: daemon.get("/v1/openapi.json").json(), seen: BTreeSet::new() }
    }

    /// Every described method and path.
    fn routes(&self) -> BTreeSet<(String, String)> {
        let mut routes = BTreeSet::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                routes.insert((method.to_ascii_uppercase(), path.clone()));
            }
        }
        routes
    }

    /// Holds an answer against what is described for it.
    fn check(&mut self, method: &str, path: &str, answer: &Answer) {
        let operation = &self.document["paths"][path][method.to_ascii_lowercase()];
        let described = &operation["responses"][answer.status.to_string()];
        let media = answer.header("content-type").unwrap().split(';').next().unwrap();
        let schema = &described["content"][media]["schema"];
        assert!(schema.is_object(), "{method} {path}: {} is not described", answer.status);
        if media == "application/json" {
            self.validate(schema, &answer.json(), &format!("{method} {path}"));
        }
        self.seen.insert((method.to_owned(), path.to_owned(), answer.status));
    }

    /// Strictly: a key that is not described is an error as well.
    fn validate(&self, schema: &Value, body: &Value, what: &str) {
        let mut components = self.document["components"].clone();
        close_objects(&mut components);
        let mut root = schema.clone();
        root["components"] = components;
        let validator = jsonschema::validator_for(&root).unwrap();
        let faults: Vec<String> =
            validator.iter_errors(body).map(|fault| format!("{fault}")).collect();
        assert!(faults.is_empty(), "{what}: {faults:?} in {body}");
    }
}

/// Forbids every key that a schema does not name.
fn close_objects(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") && map.contains_key("type") {
                map.insert("additionalProperties".to_owned(), json!(false));
            }
            map.values_mut().for_each(close_objects);
        }
        Value::Array(items) => items.iter_mut().for_each(close_objects),
        _ => {}
    }
}

/// The path about this bus, and the first schedule.
fn of(path: &str, name: &str) -> String {
    path.replace("{name}", name).replace("{id}", "1")
}

#[test]
fn the_description_and_the_server_have_the_same_routes() {
    let daemon = Daemon::start();
    let description = Description::of(&daemon);
    let described = description.routes();
    let served: BTreeSet<(String, String)> = busd::routes()
        .into_iter()
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    assert_eq!(described, served);

    for path in described.iter().map(|(_, path)| path) {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let is_described = described.contains(&(method.to_owned(), path.clone()));
            let answer = daemon.request(method, &of(path, "t-nobody-made-this"), "");
            assert_eq!(answer.status != 405, is_described, "{method} {path}: {answer:?}");
        }
    }
}

#[test]
fn the_handbook_names_every_route_and_every_error_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md");
    let handbook = std::fs::read_to_string(path).unwrap();
    let daemon = Daemon::start();
    let description = Description::of(&daemon);
    for (method, path) in description.routes() {
        assert!(handbook.contains(&format!("| `{method} {path}` |")), "{method} {path}");
    }
    let codes = &description.document["components"]["schemas"]["ErrorBody"]["properties"]["code"];
    for code in codes["enum"].as_array().unwrap() {
        assert!(handbook.contains(&format!("`{}`", code.as_str().unwrap())), "{code}");
    }
    for wish in ["CreateBus", "CreateSchedule"] {
        let wish = &description.document["components"]["schemas"][wish]["properties"];
        for key in wish.as_object().unwrap().keys() {
            assert!(handbook.contains(&format!("| `{key}` |")), "{key}");
        }
    }
}

#[test]
fn every_answer_is_as_described() {
    let scratch = Scratch::new();
    let file = scratch.join("busd.toml");
    std::fs::write(&file, "[daemon]\nsocket-mode = \"0666\"\n").unwrap();
    let daemon = Daemon::start_with(&["--config", file.to_str().unwrap()]);
    let mut description = Description::of(&daemon);
    let (name, broken) = (BusName::new(), BusName::new());
    std::fs::write(broken.segment(), "not a bus").unwrap();
    let schema = json!({"name": "sample", "kind": 7, "fields": [{"name": "value", "type": "u64"}]});
    let wish = |more: Value| {
        let mut wish = json!({"name": &*name, "topology": "ordered", "schema": schema});
        wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        wish.to_string()
    };
    let request = &description.document["components"]["schemas"]["CreateBus"].clone();
    let all: Value = serde_json::to_value(busd::api::CreateBus::new("a")).unwrap();
    description.validate(request, &all, "a wish");
    let described: BTreeSet<&String> = request["properties"].as_object().unwrap().keys().collect();
    assert_eq!(described, all.as_object().unwrap().keys().collect(), "keys of a wish");

    let request = &description.document["components"]["schemas"]["CreateSchedule"].clone();
    let all: Value = serde_json::to_value(busd::api::CreateSchedule {
        bus: "a".to_owned(),
        ..Default::default()
    })
    .unwrap();
    description.validate(request, &all, "a wish for later");
    let described: BTreeSet<&String> = request["properties"].as_object().unwrap().keys().collect();
    assert_eq!(described, all.as_object().unwrap().keys().collect(), "keys of a wish for later");

    let mut ask = |method: &str, path: &str, query: &str, body: &str| {
        let answer = daemon.request(method, &format!("{}{query}", of(path, &name)), body);
        description.check(method, path, &answer);
        answer
    };
    assert_eq!(ask("POST", "/v1/buses", "", &wish(json!({}))).status, 201);
    assert_eq!(ask("POST", "/v1/buses", "", &wish(json!({}))).status, 409);
    assert_eq!(ask("POST", "/v1/buses", "", &wish(json!({"if_not_exists": true}))).status, 200);
    assert_eq!(ask("POST", "/v1/buses", "", "{").status, 400);
    assert_eq!(ask("POST", "/v1/buses", "", &" ".repeat(2 << 20)).status, 413);

    let bus = busway::Bus::open(&name).unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let consumer = bus.consumer().attach().unwrap();
    producer.publish_bytes(7, &[1; 8]).unwrap();
    let own = ["/v1/version", "/v1/health", "/v1/openapi.json", "/metrics", "/healthz", "/readyz"];
    for path in own.into_iter().chain(["/v1/buses", "/v1/participants"]) {
        assert_eq!(ask("GET", path, "", "").status, 200);
    }
    let detail = ask("GET", "/v1/buses/{name}", "", "").json();
    assert_every_part_is_there(&detail);
    assert_eq!(ask("GET", "/v1/buses/{name}/participants", "", "").status, 200);
    assert_eq!(ask("DELETE", "/v1/buses/{name}", "", "").status, 409);
    let later = json!({"bus": &*name, "at_unix_ns": u64::MAX, "payload_hex": "00".repeat(8)});
    assert_eq!(ask("POST", "/v1/schedules", "", &later.to_string()).status, 201);
    assert_eq!(ask("POST", "/v1/schedules", "", "{\"bus\": \"a\"}").status, 400);
    let nowhere = "{\"bus\": \"t-nobody\", \"after_ns\": 1}";
    assert_eq!(ask("POST", "/v1/schedules", "", nowhere).status, 404);
    for (method, path) in
        [("GET", "/v1/schedules"), ("GET", "/v1/schedules/{id}"), ("DELETE", "/v1/schedules/{id}")]
    {
        assert_eq!(ask(method, path, "", "").status, 200);
    }
    for method in ["GET", "DELETE"] {
        assert_eq!(ask(method, "/v1/schedules/{id}", "", "").status, 404);
    }
    assert_eq!(ask("DELETE", "/v1/buses/{name}", "?force=7", "").status, 400);
    drop((producer, consumer));
    assert_eq!(ask("DELETE", "/v1/buses/{name}", "", "").status, 200);
    for (method, path) in [
        ("GET", "/v1/buses/{name}"),
        ("GET", "/v1/buses/{name}/participants"),
        ("DELETE", "/v1/buses/{name}"),
    ] {
        assert_eq!(ask(method, path, "", "").status, 404);
    }
    check_other_user(&mut description, &daemon);

    let answered: BTreeSet<(String, String)> = description
        .seen
        .iter()
        .filter(|(_, _, status)| *status < 300)
        .map(|(method, path, _)| (method.clone(), path.clone()))
        .collect();
    assert_eq!(answered, description.routes(), "every described route has answered");
}

/// A detail in which something optional is missing would prove nothing about it.
fn assert_every_part_is_there(detail: &Value) {
    assert!(detail["schema"].is_object(), "{detail}");
    assert!(detail["bus"]["schema_hash"].is_string(), "{detail}");
    assert!(detail["order"].is_object(), "{detail}");
    assert!(detail["lanes"][0]["producer"].is_object(), "{detail}");
    assert!(detail["consumers"][0]["lanes"][0].is_object(), "{detail}");
}

fn check_other_user(description: &mut Description, daemon: &Daemon) {
    if !is_root() {
        eprintln!("skipped: the answer to another user needs root");
        return;
    }
    for (method, path) in [
        ("POST", "/v1/buses"),
        ("DELETE", "/v1/buses/{name}"),
        ("POST", "/v1/schedules"),
        ("DELETE", "/v1/schedules/{id}"),
    ] {
        let (socket, target) = (daemon.socket(), of(path, "a"));
        let answer = as_other_user(move || exchange(&socket, method, &target, "")).unwrap();
        assert_eq!(answer.status, 403);
        description.check(method, path, &answer);
    }
}

#[test]
fn every_reference_and_operation_of_the_description_is_whole() {
    let daemon = Daemon::start();
    let description = Description::of(&daemon);
    let text = description.document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let pointer = reference.strip_prefix('#').expect(reference);
        assert!(description.document.pointer(pointer).is_some(), "{reference}");
    }
    let mut ids = BTreeSet::new();
    for item in description.document["paths"].as_object().unwrap().values() {
        for (_, operation) in
            item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters")
        {
            assert!(operation["summary"].is_string(), "{operation}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{operation}");
        }
    }
    let schemas: &Map<String, Value> =
        description.document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        let keys: BTreeSet<&str> =
            schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let required: BTreeSet<&str> =
            schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        // Answers have every key always; a wish needs a name, or a bus.
        let wanted = match name.as_str() {
            "CreateBus" => BTreeSet::from(["name"]),
            "CreateSchedule" => BTreeSet::from(["bus"]),
            _ => keys,
        };
        assert_eq!(required, wanted, "{name}");
        for (key, property) in schema["properties"].as_object().unwrap() {
            let is_described = property["description"].is_string() || property["$ref"].is_string();
            assert!(is_described || key == "name" || property["enum"].is_array(), "{name}.{key}");
        }
    }
}
