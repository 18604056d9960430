//! What workers say to the conductor: lines of JSON through one pipe that they all write to.
//!
//! A line is one write of at most PIPE_BUF bytes, which the kernel does not mix with others nor
//! cuts when the writer is killed. References: pipe(7).

use super::plan::Part;
use super::violation::Violation;
use crate::exit::Failure;
use serde::{Deserialize, Serialize};
use std::io;

/// Bytes of a line at most: what POSIX promises for PIPE_BUF is less than what Linux has (4096).
const LINE_BYTES_MAX: usize = 4096;

/// Violations that one worker reports; the first tell the most.
const SAID_MAX: u32 = 4;

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Which life.
    pub life: u64,
    pub part: Part,
    pub violation: Violation,
    /// What was seen, in words.
    pub what: String,
}

/// A worker's mouth.
#[derive(Debug)]
pub struct Voice {
    life: u64,
    part: Part,
    left: u32,
}

impl Voice {
    pub fn new(life: u64, part: Part) -> Self {
        Self { life, part, left: SAID_MAX }
    }

    /// Reports a violation. A conductor that is gone hears nothing, and the worker ends with it.
    pub fn report(&mut self, violation: Violation, what: impl Into<String>) -> Result<(), Failure> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(());
        };
        self.left = left;
        // Escaped characters take more room; what is said here has hardly any.
        let what: String = what.into().chars().take(LINE_BYTES_MAX / 4).collect();
        let said = Said { life: self.life, part: self.part, violation, what };
        let mut line = serde_json::to_vec(&said).map_err(io::Error::from)?;
        line.push(b'\n');
        rustix::io::write(rustix::stdio::stdout(), &line).map_err(io::Error::from)?;
        Ok(())
    }
}
