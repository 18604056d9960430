//! The daemon's binary: parses the command line and runs the library.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    busd::run(&busd::Args::parse())
}
