//! The command line of busway, as a program: parse → run → exit code.
//!
//! Each verb is one file under `verbs/` with its argument struct and a `run` function; `cli` names
//! them all, `exit` says what a failure is, `output` is the only road to stdout and stderr.
//! Nothing here knows the layout of a segment: that is the library's.

mod bench;
mod cli;
mod context;
mod daemon;
mod demo;
mod exit;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod open;
mod output;
mod private_dir;
mod process;
mod shared;
mod signal;
mod table;
mod torture;
mod units;
mod verbs;

use clap::{Arg, ColorChoice, Command, CommandFactory as _, FromArgMatches as _};
use cli::{Cli, Verb};
use context::Context;
use exit::Failure;
use output::{Color, Out};
use std::ffi::OsString;
use std::process::ExitCode;
use verbs::stat;
use verbs::subscribe;
use verbs::{
    about, check, create, dlq, doctor, group, kick, list, participants, publish, rate, remove,
    schedule, schema,
};

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Err(failure) = handover::give_way(&arguments) {
        Out::new(false, Color::Auto).failure(&failure);
        return failure.exit().code();
    }
    let command = negative_numbers_are_values(Cli::command())
        .name(about::called_by())
        .color(clap_color(&arguments));
    let is_plugin = check::is_plugin(&arguments);
    let parsed = command
        .try_get_matches_from(arguments)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) if is_plugin && error.use_stderr() => return check::misused(&error),
        Err(error) => {
            // A pipe that is closed while help is printed is not worth a word.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let context = Context::new(&cli.globals);
    let result = run(cli.verb, &context).and_then(|code| context.out.flush().map(|()| code));
    match result {
        Ok(code) => code,
        Err(failure) => {
            // What was written before the failure belongs before it.
            let _ = context.out.flush();
            context.out.failure(&failure);
            failure.exit().code()
        }
    }
}

/// `--lanes -1` is a value out of range, which is what the parsers say, and no unknown flag.
fn negative_numbers_are_values(command: Command) -> Command {
    let taken = |arg: Arg| {
        let takes = arg.get_action().takes_values() && !arg.is_positional();
        if takes { arg.allow_negative_numbers(true) } else { arg }
    };
    command.mut_args(taken).mut_subcommands(negative_numbers_are_values)
}

fn run(verb: Verb, context: &Context) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Create(args) => create::run(args, context),
        Verb::Ls(args) => list::run(&args, context),
        Verb::Stat(args) => stat::run(&args, context),
        Verb::Ps(args) => participants::run(&args, context),
        Verb::Rm(args) => remove::run(args, context),
        Verb::Kick(args) => kick::run(&args, context),
        Verb::Group(args) => group::run(&args, context),
        Verb::Dlq(args) => dlq::run(&args, context),
        Verb::Schema(args) => schema::run(&args, context),
        Verb::Pub(args) => publish::run(&args, context),
        Verb::Schedule(args) => schedule::run(&args, context),
        Verb::Sub(args) => subscribe::run_consumer(&args, context),
        Verb::Tap(args) => subscribe::run_observer(&args, context),
        Verb::Hz(args) => rate::run_hz(&args, context),
        Verb::Bw(args) => rate::run_bw(&args, context),
        Verb::Table(args) => verbs::table::run(&args, context),
        Verb::Bench(args) => bench::run(args, &context.out),
        Verb::Torture(args) => torture::run(args, &context.out),
        Verb::Demo(args) => demo::run(args, &context.out),
        Verb::Check(args) => check::run(&args, context),
        Verb::Doctor(args) => doctor::run(&args, context),
        Verb::Completions(args) => about::run_completions(&args, context),
        Verb::Man(args) => about::run_man(&args, context),
        Verb::HostDaemon(_) => Ok(daemon::host(context)),
    }
}

/// Help and usage errors are printed before the flags are parsed: `--color` is looked for by hand.
fn clap_color(arguments: &[OsString]) -> ColorChoice {
    let mut choice = ColorChoice::Auto;
    for (index, argument) in arguments.iter().enumerate() {
        let value = match argument.to_str() {
            Some("--color") => arguments.get(index + 1).and_then(|value| value.to_str()),
            Some(text) => text.strip_prefix("--color="),
            None => None,
        };
        match value {
            Some("always") => choice = ColorChoice::Always,
            Some("never") => choice = ColorChoice::Never,
            _ => {}
        }
    }
    choice
}
