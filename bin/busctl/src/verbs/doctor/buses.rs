//! What the segments have to say: unreadable ones, removed ones still there, seats of the dead.

use super::Finding;
use crate::process::process_name;
use busd::api::BusDetail;
use busway::Bus;

pub fn look() -> Vec<Finding> {
    let names = match Bus::list() {
        Ok(names) => names,
        Err(error) => {
            return vec![
                Finding::wrong("buses", format!("cannot be listed: {error}"))
                    .because("without a list only named buses can be used")
                    .so("see what is said of the memory above"),
            ];
        }
    };
    let mut findings = Vec::new();
    let mut readable = 0;
    for name in &names {
        match Bus::open(name) {
            Ok(bus) => {
                readable += 1;
                findings.extend(look_at_bus(&BusDetail::read(&bus)));
            }
            // Removed between the two looks.
            Err(error) if error.code() == "not_found" => {}
            Err(error) => findings.push(look_at_unreadable(name, &error)),
        }
    }
    findings.insert(0, Finding::ok("buses", format!("{readable} of {} can be read", names.len())));
    findings
}

fn look_at_unreadable(name: &str, error: &busway::Error) -> Finding {
    const CHECK: &str = "segment";
    match error.code() {
        "permission" => Finding::note(CHECK, error.to_string())
            .because("it belongs to somebody else, who chose so at create"),
        "incompatible" => Finding::wrong(CHECK, error.to_string())
            .because("another version made it; this one can neither read nor watch it")
            .so(format!("use that version, or `busctl rm -f {name}` when nobody does")),
        _ => Finding::wrong(CHECK, error.to_string())
            .because("it takes memory and is of no use; its maker may have died while making it")
            .so(format!("`busctl rm -f {name}`")),
    }
}

fn look_at_bus(detail: &BusDetail) -> Vec<Finding> {
    let name = &detail.bus.name;
    let mut findings = Vec::new();
    if detail.bus.removed {
        findings.push(
            Finding::wrong("segment", format!("bus {name:?} is removed and its segment is not"))
                .because("whoever removed it died half way; nobody can attach")
                .so(format!("`busctl rm -f {name}`")),
        );
    }
    for dead in detail.participants().filter(|one| !one.alive) {
        findings.push(
            Finding::wrong(
                "seat",
                format!(
                    "{} seat {} of bus {name:?} is held by {:?}, pid {} ({}), which is dead",
                    dead.role,
                    dead.seat,
                    dead.name,
                    dead.pid,
                    process_name(dead.pid)
                ),
            )
            .because("producers that wait for a dead consumer stand still until one proves it dead")
            .so("start the daemon (`busd`), which gives such seats back; so does whoever waits"),
        );
    }
    findings
}
