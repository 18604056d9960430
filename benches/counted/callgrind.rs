//! Counting by `valgrind --tool=callgrind`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::Command;

/// Operations of the shorter run; enough for whole laps of every ring in `ways`.
const OPERATIONS: u64 = 16 << 10;

/// Instructions of one operation of a way of working.
pub fn each(way: &str) -> f64 {
    thread_local! {
        static COUNTED: RefCell<BTreeMap<String, f64>> = const { RefCell::new(BTreeMap::new()) };
    }
    if let Some(counted) = COUNTED.with_borrow(|counted| counted.get(way).copied()) {
        return counted;
    }
    let more = instructions(way, 3 * OPERATIONS) - instructions(way, OPERATIONS);
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    let each = more as f64 / (2 * OPERATIONS) as f64;
    COUNTED.with_borrow_mut(|counted| counted.insert(way.to_owned(), each));
    each
}

/// Instructions of a whole run.
fn instructions(way: &str, operations: u64) -> u64 {
    let program = std::env::current_exe().expect("this program's path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--run", way, &operations.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("valgrind does not start ({error}); is it installed?"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{way} failed: {said}");
    let counted = said.lines().find_map(|line| line.split_once("Collected : "));
    let counted = counted.unwrap_or_else(|| panic!("callgrind counted nothing: {said}"));
    counted.1.trim().parse().expect("a count")
}
