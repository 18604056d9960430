//! The command line of busway, as a program: parse → run → exit code.
//!
//! Each verb is one file under `verbs/` with its argument struct and a `run` function; `cli` names
//! them all, `exit` says what a failure is, `output` is the only road to stdout and stderr.
//! Nothing here knows the layout of a segment: that is the library's.

mod bench;
mod cli;
mod demo;
mod exit;
mod output;
mod signal;

use clap::Parser as _;
use cli::{Cli, Verb};
use exit::Failure;
use output::Out;
use std::process::ExitCode;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A pipe that is closed while help is printed is not worth a word.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let out = Out::new(cli.globals.json, cli.globals.color);
    let result = run(cli, &out).and_then(|code| out.flush().map(|()| code));
    match result {
        Ok(code) => code,
        Err(failure) => {
            // What was written before the failure belongs before it.
            let _ = out.flush();
            out.failure(&failure);
            failure.exit().code()
        }
    }
}

fn run(cli: Cli, out: &Out) -> Result<ExitCode, Failure> {
    match cli.verb {
        Verb::Bench(args) => bench::run(args, out),
        Verb::Demo(args) => demo::run(args, out),
    }
}
