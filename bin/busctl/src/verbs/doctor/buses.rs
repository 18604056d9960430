//! What the segments have to say, one after the other.

use super::{Finding, file, inside, table};
use crate::exit::Failure;
use busway::Bus;

/// Every segment of the host that is named like a bus.
pub fn look_at_all() -> Vec<Finding> {
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
        // Removed between the two looks.
        let Some((found, is_readable)) = look(name) else {
            continue;
        };
        readable += usize::from(is_readable);
        findings.extend(found);
    }
    findings.insert(0, Finding::ok("buses", format!("{readable} of {} can be read", names.len())));
    findings
}

/// These buses alone.
///
/// # Errors
/// When there is no such bus, or it cannot have such a name.
pub fn look_at(names: &[String]) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for name in names {
        busway::check_name(name)?;
        let Some((found, _)) = look(name) else {
            return Err(busway::Error::NotFound { name: name.clone() }.into());
        };
        if found.is_empty() {
            findings.push(Finding::ok("buses", format!("bus {name:?} is as it should be")));
        }
        findings.extend(found);
    }
    Ok(findings)
}

/// What is to be said of one, and whether it can be read; `None` when it is not there.
fn look(name: &str) -> Option<(Vec<Finding>, bool)> {
    let meta = file::metadata(name)?;
    let mut findings = file::look_at_it(name, &meta);
    let opened = if meta.is_file() { Some(Bus::open(name)) } else { None };
    let is_readable = match opened {
        Some(Ok(bus)) => {
            findings.extend(file::look_at_owner(name, &meta, bus.info().creator_uid));
            findings.extend(inside::look(&bus, &meta));
            true
        }
        Some(Err(error)) if error.code() == "not_found" => return None,
        Some(Err(error)) if error.code() == "wrong_kind" => {
            findings.extend(table::look(name, &meta));
            true
        }
        // What is wrong with the file has been said.
        Some(Err(error)) if error.code() == "untrusted" => false,
        Some(Err(error)) => {
            findings.push(file::look_at_unreadable(name, &meta, &error));
            false
        }
        None => false,
    };
    Some((findings.into_iter().map(|finding| finding.of_bus(name)).collect(), is_readable))
}
