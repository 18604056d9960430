//! What a table says of itself: writers that died, impossible words.

use super::{Finding, file};
use crate::units::format_count;
use busway::Table;
use std::fs::Metadata;

pub fn look(name: &str, meta: &Metadata) -> Vec<Finding> {
    let table = match Table::open(name) {
        Ok(table) => table,
        Err(error) => return vec![file::look_at_unreadable(name, meta, &error)],
    };
    let stat = table.stat();
    let mut findings = Vec::new();
    findings.extend(file::look_at_owner(name, meta, table.info().creator_uid));
    for dead in stat.writers.iter().map(|writer| &writer.participant).filter(|one| !one.alive) {
        findings.push(
            Finding::note("seat", format!("writer {} of table {name:?} has died", dead.seat))
                .because("its seat and slots are given back when somebody needs them")
                .so("nothing: no key waits for it"),
        );
    }
    if stat.corruptions > 0 {
        let times = format_count(stat.corruptions);
        findings.push(
            Finding::wrong("corruption", format!("{times} impossible words met in table {name:?}"))
                .because(
                    "a program stores there what no honest one does; values may be wrong as well",
                )
                .so(format!(
                    "`busctl table stat {name}` shows who writes; end whoever it is, then remove \
                     and create it"
                )),
        );
    }
    findings
}
