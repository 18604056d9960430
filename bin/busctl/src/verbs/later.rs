//! `pub --at`, `--after`, `--every`: hands the frame to the daemon, which publishes it in its time.

use crate::context::Context;
use crate::daemon;
use crate::exit::{Exit, Failure};
use crate::units::{parse_duration, parse_interval};
use crate::verbs::input::Input;
use crate::verbs::schedule::describe_due;
use busd::api::{CreateSchedule, hex};
use busway_schedule::{When, parse_time};
use clap::Args;
use jiff::ZonedDateTime;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What makes no sense for a frame that is published later by somebody else.
const NOW_ONLY: [&str; 7] =
    ["count", "rate", "batch", "stdin", "wait_consumers", "timeout", "owner"];

/// When to publish, if not now.
#[derive(Debug, Args)]
#[command(next_help_heading = "Later, by the daemon (see `busctl schedule`)")]
pub struct LaterArgs {
    /// Publish at a time: 10:30, "2026-12-01 10:30", 2026-12-01T10:30:00Z; +5s is --after 5s
    #[arg(long, value_name = "TIME", value_parser = parse_at, conflicts_with_all = NOW_ONLY)]
    at: Option<When>,
    /// Publish after a while (500ms, 5s, 1h 30m), whatever the clock is set to meanwhile
    #[arg(long, value_name = "DUR", value_parser = parse_duration, conflicts_with = "at",
        conflicts_with_all = NOW_ONLY)]
    after: Option<Duration>,
    /// Publish again and again, so far apart; for the first time as --at or --after says, else
    /// after one such time
    #[arg(long, value_name = "DUR", value_parser = parse_interval, conflicts_with_all = NOW_ONLY)]
    every: Option<Duration>,
    /// How long the daemon tries again while the bus is full or missing [default: 10m]
    #[arg(long, value_name = "DUR", value_parser = parse_duration, conflicts_with_all = NOW_ONLY)]
    give_up_after: Option<Duration>,
}

impl LaterArgs {
    /// When that is; `None`: now, and by this process.
    fn when(&self) -> Result<Option<When>, Failure> {
        match (self.at, self.after.or(self.every)) {
            (Some(when), _) => Ok(Some(when)),
            (None, Some(delay)) => Ok(Some(When::After(delay))),
            (None, None) if self.give_up_after.is_some() => {
                Err(Failure::usage("--give-up-after needs --at, --after or --every".to_owned()))
            }
            (None, None) => Ok(None),
        }
    }

    /// Hands the frame that `input` makes over to the daemon, if it is for later. `None`: it is not.
    pub fn hand_over(
        &self,
        bus: &str,
        context: &Context,
        input: impl FnOnce() -> Result<Input, Failure>,
    ) -> Result<Option<ExitCode>, Failure> {
        let Some(when) = self.when()? else {
            return Ok(None);
        };
        if context.no_daemon {
            let message = "a frame for later is kept by the daemon; leave --no-daemon out";
            return Err(Failure::usage(message.to_owned()));
        }
        let mut payload = Vec::new();
        let kind = input()?.next(&mut payload)?.unwrap_or_default();
        let (at_unix_ns, after_ns) = match when {
            When::At(time) => (Some(unix_ns(time)), None),
            When::After(delay) => (None, Some(nanoseconds(delay))),
        };
        let wish = CreateSchedule {
            bus: bus.to_owned(),
            kind,
            payload_hex: hex::encode(&payload),
            at_unix_ns,
            after_ns,
            every_ns: self.every.map(nanoseconds),
            give_up_after_ns: self.give_up_after.map(nanoseconds),
        };
        let made = daemon::ensure(context)?.create_schedule(&wish)?;
        if context.out.json() {
            context.out.document("busway.schedule/1", &made)?;
        } else {
            let (id, due) = (made.id, describe_due(&made));
            context.out.note(format_args!("scheduled as {id} on {bus}: due {due}"));
        }
        Ok(Some(Exit::Ok.code()))
    }
}

fn parse_at(text: &str) -> Result<When, String> {
    parse_time(text, &ZonedDateTime::now()).map_err(|error| error.to_string())
}

/// Times before 1970 are over, as 1970 is.
fn unix_ns(time: SystemTime) -> u64 {
    nanoseconds(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
