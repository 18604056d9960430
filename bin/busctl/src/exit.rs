//! What the program ends with: the exit codes, which are an interface, and the failure that
//! carries one together with what to say on stderr.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// The exit codes. A number here never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// Something went wrong that has no code of its own.
    Failure = 1,
    /// The arguments or the input are wrong; nothing was created or changed.
    Usage = 2,
    /// No bus (or file) has that name.
    NotFound = 3,
    /// The daemon is needed and cannot be reached or started.
    Daemon = 4,
    /// The bus or the file is there, but not for this user.
    Permission = 5,
    /// A wait ended before what it waited for.
    Timeout = 6,
    /// A bus of that name exists already.
    AlreadyExists = 7,
    /// The segment, or its frame type, is not what this build or this program understands.
    Incompatible = 8,
    /// Frames were lost and `--strict` was given, or torture saw a promise broken.
    Loss = 9,
    /// `check` found something critical.
    Critical = 10,
}

impl Exit {
    /// Every code with what it means, in order, as `--help` and the manual list them.
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::Ok, "ok"),
        (Self::Failure, "failure"),
        (Self::Usage, "usage: wrong arguments or input; nothing was changed"),
        (Self::NotFound, "not found"),
        (Self::Daemon, "daemon needed and unreachable"),
        (Self::Permission, "permission denied"),
        (Self::Timeout, "timeout"),
        (Self::AlreadyExists, "already exists"),
        (Self::Incompatible, "incompatible layout or frame type"),
        (Self::Loss, "data loss seen under --strict, or a violation found by torture"),
        (Self::Critical, "check found a limit exceeded, or a bus that is not healthy"),
    ];

    /// As the process returns it.
    pub fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }

    /// The code that stands for an error of the library, by its stable name.
    pub fn from_error_code(code: &str) -> Self {
        match code {
            "bad_name" | "bad_geometry" | "bad_option" | "bad_schema" | "too_large"
            | "wrong_length" | "batch_size" | "bad_request" | "bad_key" | "wrong_key"
            | "wrong_kind" | "group_unsupported" => Self::Usage,
            "not_found" | "removed" | "no_group" => Self::NotFound,
            "daemon_unreachable" | "protocol" | "broker" | "broker_gone" => Self::Daemon,
            "permission" | "untrusted" => Self::Permission,
            "timed_out" => Self::Timeout,
            "already_exists" | "differs" | "group_exists" | "group_differs" => Self::AlreadyExists,
            "incompatible" | "schema_mismatch" => Self::Incompatible,
            _ => Self::Failure,
        }
    }
}

/// Why a verb did not do what it was asked: an exit code, a sentence, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure that ends with `exit` and says `message` (lower case, with the offending value).
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// Something went wrong that has no code of its own.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failure, message)
    }

    /// The arguments or the input are wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The reader of stdout went away: the program ends with 0 and without a word.
    pub fn closed_pipe() -> Self {
        Self::new(Exit::Ok, "")
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Ends with another code.
    #[must_use]
    pub fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Puts what was being done before the message: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        if !self.is_silent() {
            self.message = format!("{context}: {}", self.message);
        }
        self
    }

    /// The code the program ends with.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Whether there is nothing to say (a closed pipe).
    pub fn is_silent(&self) -> bool {
        self.exit == Exit::Ok
    }

    /// The sentence for stderr, without the `error:` before it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it, without the `hint:` before it.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// What to do about an error of the library or the daemon, by its stable name.
pub fn hint_for(code: &str) -> Option<&'static str> {
    match code {
        "not_found" => Some("`busctl ls` shows the buses that exist"),
        "already_exists" => Some(
            "`--if-not-exists` accepts a bus of the same shape; `busctl rm` removes what is there",
        ),
        "differs" => Some("take another name, or `busctl rm` it first"),
        "permission" => Some(
            "whoever created the bus chose who may use it: `create --mode`, `--group`, `--allow`",
        ),
        "untrusted" => Some(
            "`--owner USER` of pub, sub, tap, hz, bw and check trusts that user's; `busctl doctor NAME` says more",
        ),
        "wrong_kind" => Some(
            "`busctl table` is for tables, `stat`, `rm` and `doctor` for both, all else for buses",
        ),
        "table_full" => Some(
            "a key that was written once keeps its place; `table create --keys` makes a larger one",
        ),
        "truncated" => Some("`busctl rm -f NAME` and `create` make a whole one"),
        "no_space" => Some("`busctl doctor` shows the space; `ls -lS /dev/shm` who fills it"),
        "seats_taken" => Some("`busctl ps NAME` shows who holds the seats"),
        "evicted" => Some(
            "attach again to go on; `busctl stat NAME` shows the bus's rule for slow consumers",
        ),
        "no_group" | "group_unfinished" => Some("`busctl group ls NAME` shows a bus's groups"),
        "group_in_use" => Some("stop the members first; `busctl group ls NAME` shows them"),
        "in_use" => Some("`busctl rm -f` removes it anyway: who is attached learns of it"),
        "broker" | "broker_gone" => Some("a brokered bus lives as long as the daemon that made it"),
        "daemon_unreachable" | "protocol" => Some("--no-daemon works straight on the segments"),
        _ => None,
    }
}

impl From<busway::Error> for Failure {
    fn from(error: busway::Error) -> Self {
        let hint = hint_for(error.code()).map(str::to_owned);
        Self { exit: Exit::from_error_code(error.code()), message: error.to_string(), hint }
    }
}

impl From<busway::PublishError> for Failure {
    fn from(error: busway::PublishError) -> Self {
        busway::Error::from(error).into()
    }
}

impl From<busway::PollError> for Failure {
    fn from(error: busway::PollError) -> Self {
        busway::Error::from(error).into()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::BrokenPipe => return Self::closed_pipe(),
            io::ErrorKind::NotFound => Exit::NotFound,
            io::ErrorKind::PermissionDenied => Exit::Permission,
            io::ErrorKind::TimedOut => Exit::Timeout,
            _ => Exit::Failure,
        };
        Self::new(exit, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_place_in_the_list() {
        for (place, (exit, _)) in Exit::ALL.iter().enumerate() {
            assert_eq!(*exit as usize, place);
        }
    }

    #[test]
    fn a_closed_pipe_has_nothing_to_say() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing");
        assert!(failure.is_silent());
        assert_eq!(failure.message(), "");
    }
}
