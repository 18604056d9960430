//! Log lines on stderr, as text or JSON.

use std::io::{IsTerminal, stderr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;

use crate::args::{Args, LogFormat};

/// Starts logging. In a process that logs already (a host of the daemon) nothing changes.
pub fn start(args: &Args) {
    let level = LevelFilter::from(args.log_level);
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = fmt()
        .with_max_level(level)
        .with_writer(stderr)
        .with_ansi(colours)
        .with_target(false)
        // Whoever started the daemon may have closed the other end of stderr: a line that cannot
        // be written is dropped, where the default is to complain on stderr, which panics.
        .log_internal_errors(false);
    let subscriber: Box<dyn tracing::Subscriber + Send + Sync> = match args.log {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    };
    let _ = tracing::subscriber::set_global_default(subscriber);
}
