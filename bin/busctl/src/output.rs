//! The only road to stdout and stderr: data on stdout, talk on stderr, colour only where it is
//! wanted, and a reader that goes away (`| head`) is an ordinary end instead of a panic.
//!
//! Stdout is buffered until [`Out::flush`]: a verb that waits flushes before it does. `print!` and
//! `eprintln!` are not used anywhere, since they panic on a closed pipe.

use crate::exit::Failure;
use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes gathered before a write to stdout.
const STDOUT_BUFFER_BYTES: usize = 64 * 1024;

/// When output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`.
    #[default]
    Auto,
    /// Always, even into a pipe or with NO_COLOR.
    Always,
    /// Never.
    Never,
}

/// How a word stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Names and headings.
    Bold,
    /// What matters less.
    Dim,
    /// Good.
    Green,
    /// Worth a look.
    Yellow,
    /// Wrong.
    Red,
}

impl Paint {
    fn escape(self) -> &'static str {
        match self {
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Red => "\x1b[31m",
        }
    }
}

/// Where a verb puts what it has to say. Shared by reference; may be used from any thread.
pub struct Out {
    json: bool,
    color_stdout: bool,
    color_stderr: bool,
    // Not `io::stdout()`: that one flushes at every line whatever it is connected to.
    stdout: Mutex<BufWriter<Stdout>>,
}

impl Out {
    /// Output as the global flags ask for it.
    pub fn new(json: bool, color: Color) -> Self {
        let wanted = |is_terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && environment_allows_color(),
        };
        Self {
            json,
            color_stdout: wanted(io::stdout().is_terminal()),
            color_stderr: wanted(io::stderr().is_terminal()),
            stdout: Mutex::new(BufWriter::with_capacity(STDOUT_BUFFER_BYTES, Stdout)),
        }
    }

    /// Whether `--json` was given.
    pub fn json(&self) -> bool {
        self.json
    }

    /// How many columns the terminal on stdout has; `None` in a pipe.
    #[allow(clippy::unused_self, reason = "output goes through Out, whatever it needs of it")]
    pub fn columns(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    /// `text` as it stands on stdout: painted there if colour is wanted.
    pub fn paint(&self, paint: Paint, text: impl Display) -> String {
        painted(self.color_stdout, paint, text)
    }

    /// Writes a line of data.
    pub fn line(&self, text: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.lock(), "{text}")?)
    }

    /// Writes bytes as they are.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.lock().write_all(bytes)?)
    }

    /// Writes one JSON document, indented, with `"schema": name` (such as `busway.ls/1`) first.
    pub fn document(&self, schema: &str, body: &impl Serialize) -> Result<(), Failure> {
        let mut stdout = self.lock();
        serde_json::to_writer_pretty(&mut *stdout, &Tagged { schema, body })
            .map_err(|error| Failure::from(io::Error::from(error)))?;
        Ok(writeln!(stdout)?)
    }

    /// Writes one line of a JSON Lines stream, with `"schema": name` first.
    pub fn record(&self, schema: &str, body: &impl Serialize) -> Result<(), Failure> {
        let mut stdout = self.lock();
        serde_json::to_writer(&mut *stdout, &Tagged { schema, body })
            .map_err(|error| Failure::from(io::Error::from(error)))?;
        Ok(writeln!(stdout)?)
    }

    /// Hands what is buffered to the reader of stdout.
    pub fn flush(&self) -> Result<(), Failure> {
        Ok(self.lock().flush()?)
    }

    /// Whether stdout is a pipe or socket that nobody reads any more. Costs a system call; for
    /// verbs that may wait long before they write again.
    #[allow(clippy::unused_self, reason = "output goes through Out, whatever it needs of it")]
    pub fn reader_is_gone(&self) -> bool {
        let stdout = rustix::stdio::stdout();
        // Asks for nothing: errors and hang-ups are always reported (poll(2)).
        let mut looked_at = [PollFd::new(&stdout, PollFlags::empty())];
        let gone = PollFlags::ERR | PollFlags::HUP;
        rustix::event::poll(&mut looked_at, Some(&Timespec::default())).is_ok()
            && looked_at.iter().any(|stdout| stdout.revents().intersects(gone))
    }

    /// Says something on stderr. A stderr that is closed is nobody to talk to: no error.
    #[allow(clippy::unused_self, reason = "output goes through Out, whatever it needs of it")]
    pub fn note(&self, text: impl Display) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Says on stderr what is not an error but ought to be known.
    pub fn warn(&self, text: impl Display) {
        let label = painted(self.color_stderr, Paint::Yellow, "warning:");
        let _ = writeln!(io::stderr(), "{label} {text}");
    }

    /// Says `error: …` and `hint: …` on stderr, or nothing when the pipe was closed.
    pub fn failure(&self, failure: &Failure) {
        if failure.is_silent() {
            return;
        }
        let label = painted(self.color_stderr, Paint::Red, "error:");
        let _ = writeln!(io::stderr(), "{label} {}", failure.message());
        if let Some(hint) = failure.hint_text() {
            let label = painted(self.color_stderr, Paint::Green, "hint:");
            let _ = writeln!(io::stderr(), "{label} {hint}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BufWriter<Stdout>> {
        // A panic elsewhere leaves the buffer whole: a write to it is not half done.
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A JSON object that starts with the name of its schema.
#[derive(Serialize)]
struct Tagged<'a, T> {
    schema: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

fn painted(wanted: bool, paint: Paint, text: impl Display) -> String {
    if wanted { format!("{}{text}\x1b[0m", paint.escape()) } else { text.to_string() }
}

/// NO_COLOR counts when it is present and not empty (no-color.org).
fn environment_allows_color() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !no_color && !dumb
}

/// Descriptor 1 without the line buffer that the standard library keeps before it.
struct Stdout;

impl io::Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(rustix::stdio::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
