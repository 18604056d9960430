//! How many instructions the fast path takes: `cargo bench --manifest-path benches/Cargo.toml
//! --bench counted`.
//!
//! Question: did a change make publishing or polling longer? Instructions are the same on a busy
//! machine and on an idle one, so they can be held to a budget where times cannot. Both ends are in
//! one thread; what two cores do to each other's lines is not in it (`benches/peers` measures that).
//!
//! Each way of working (`ways`) runs under callgrind twice, with one count and with three times as many
//! operations. The difference over the count is what one operation takes; start-up cancels out.
//! A few are differences of two ways. `budget.txt` holds what each may take; exit code 1 when one takes
//! more, and a hint when one takes much less.
//!
//! Needs `valgrind`. `--bench counted -- --only NAME` counts one way.

mod budget;
mod callgrind;
mod ways;

use std::process::ExitCode;

use budget::Budget;
use ways::WAYS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--run", way, operations] => {
            run(way, operations.parse().expect("a count"));
            ExitCode::SUCCESS
        }
        ["--only", only, ..] => count(Some(only)),
        _ => count(None),
    }
}

/// What runs under callgrind.
fn run(way: &str, operations: u64) {
    let way = WAYS.iter().find(|one| one.name == way).expect("a way of working");
    (way.run)(operations);
}

/// Counts, prints and judges.
fn count(only: Option<&str>) -> ExitCode {
    let budgets = budget::read();
    let mut over = false;
    println!("{:<28} {:>12} {:>8}", "instructions of one", "counted", "budget");
    for Budget { name, of, minus, most } in budgets {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let counted = callgrind::each(&of) - minus.map_or(0.0, |minus| callgrind::each(&minus));
        let verdict = if counted > most {
            over = true;
            "over its budget"
        } else if counted < most * 0.8 {
            "the budget can be lowered"
        } else {
            ""
        };
        println!("{name:<28} {counted:>12.1} {most:>8} {verdict}");
    }
    ExitCode::from(u8::from(over))
}
