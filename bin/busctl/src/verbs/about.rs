//! `completions` and `man`: what the program can say of itself.

use crate::cli::Cli;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The page of this verb, `bench-rtt` for `bench rtt` [default: of the whole program]
    verb: Option<String>,
    /// Write every page into this directory instead of one to stdout
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    dir: Option<PathBuf>,
}

/// Writes a completion script for the name that the program was called by.
pub fn run_completions(args: &CompletionsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), called_by(), &mut script);
    context.out.bytes(&script)?;
    Ok(Exit::Ok.code())
}

/// Writes a manual page, or all of them.
pub fn run_man(args: &ManArgs, context: &Context) -> Result<ExitCode, Failure> {
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(command(), dir))
            .map_err(|error| Failure::from(error).context(dir.display()))?;
        return Ok(Exit::Ok.code());
    }
    let mut command = command();
    command.build();
    if let Some(verb) = &args.verb {
        // Named as the pages are: `bench-rtt` is the page of `bench rtt`.
        for word in verb.split('-') {
            let Some(found) = command.find_subcommand(word) else {
                return Err(Failure::usage(format!("there is no verb {verb:?}"))
                    .hint(format!("`{} --help` lists the verbs", called_by())));
            };
            command = found.clone();
        }
    }
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    context.out.bytes(&page)?;
    Ok(Exit::Ok.code())
}

/// The grammar, under the name that the program was called by, without what is hidden.
fn command() -> Command {
    without_hidden(&Cli::command()).name(called_by())
}

/// Generators write hidden verbs too, so a command that has some is put together anew.
fn without_hidden(command: &Command) -> Command {
    if command.get_subcommands().all(|verb| !verb.is_hide_set() && !verb.has_subcommands()) {
        return command.clone();
    }
    let visible = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut shown = Command::new(command.get_name().to_owned())
        .args(command.get_arguments().cloned())
        .subcommands(visible.map(without_hidden))
        .disable_help_subcommand(true);
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_owned());
    }
    if let Some(after) = command.get_after_help() {
        shown = shown.after_help(after.clone());
    }
    shown
}

/// `busway` when called so, else `busctl`.
pub fn called_by() -> &'static str {
    let called = std::env::args_os().next();
    let name = called.as_deref().and_then(|path| Path::new(path).file_name());
    if name.is_some_and(|name| name == "busway") { "busway" } else { "busctl" }
}
