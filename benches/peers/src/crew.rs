//! The parent's end of a set of worker processes: start them, wait for what they say, and be sure
//! that none is left.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::plan::{Outcome, Plan, Report};

/// How often the parent looks whether somebody has ended.
const LOOK: Duration = Duration::from_millis(1);

/// What the last words of a worker that died may be long, in bytes.
const LAST_WORDS_BYTES: usize = 300;

/// Worker processes. Dropping kills and reaps those that still run.
pub struct Crew {
    members: Vec<Member>,
}

struct Member {
    child: Child,
    status: Option<ExitStatus>,
    stderr: PathBuf,
}

impl Crew {
    /// Starts a worker for each plan. What they write to stderr goes to files in `place`.
    ///
    /// # Errors
    /// What was tried and what the system said.
    pub fn start(plans: &[Plan], place: &Path) -> Result<Self, String> {
        let mut crew = Self { members: Vec::new() };
        for (number, plan) in plans.iter().enumerate() {
            let stderr = place.join(format!("stderr-{number}"));
            crew.members.push(Member::start(plan, stderr)?);
        }
        Ok(crew)
    }

    /// Waits until all have ended and returns what they measured.
    ///
    /// # Errors
    /// What the first worker to fail said, how it died, or that time is over.
    pub fn finish(mut self, limit: Duration) -> Result<Vec<Report>, String> {
        let deadline = Instant::now() + limit;
        while self.members.iter().any(|member| member.status.is_none()) {
            for member in &mut self.members {
                if member.status.is_none() {
                    member.status = member.child.try_wait().map_err(|error| error.to_string())?;
                    if member.status.is_some_and(|status| !status.success()) {
                        return Err(member.failure());
                    }
                }
            }
            if Instant::now() > deadline {
                return Err(format!("not finished after {} s, killed", limit.as_secs()));
            }
            std::thread::sleep(LOOK);
        }
        let mut reports = Vec::new();
        for member in &mut self.members {
            reports.extend(member.outcome()?);
        }
        Ok(reports)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for member in &mut self.members {
            // Both fail when the member has ended already, which is what is wanted.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

impl Member {
    fn start(plan: &Plan, stderr: PathBuf) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| format!("own program: {error}"))?;
        let file = File::create(&stderr);
        let file = file.map_err(|error| format!("making {}: {error}", stderr.display()))?;
        let mut child = Command::new(program)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("starting a worker: {error}"))?;
        let stdin = child.stdin.take();
        let member = Self { child, status: None, stderr };
        let text = serde_json::to_vec(plan).map_err(|error| format!("the plan: {error}"))?;
        // Dropping stdin at the end of this statement tells the worker that the plan is complete.
        match stdin.map(|mut stdin| stdin.write_all(&text)) {
            Some(Err(error)) => Err(format!("giving a worker its plan: {error}")),
            _ => Ok(member),
        }
    }

    /// What it said on stdout.
    fn outcome(&mut self) -> Outcome {
        let mut text = String::new();
        if let Some(stdout) = &mut self.child.stdout {
            stdout.read_to_string(&mut text).map_err(|error| format!("a worker: {error}"))?;
        }
        serde_json::from_str(&text).unwrap_or_else(|_| Err(self.last_words()))
    }

    fn failure(&mut self) -> String {
        match self.outcome() {
            Err(why) => why,
            Ok(_) => self.last_words(),
        }
    }

    /// How it died, and the end of what it wrote to stderr.
    fn last_words(&self) -> String {
        let stderr = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        let text = stderr.trim();
        let from = text.len().saturating_sub(LAST_WORDS_BYTES);
        let from = (from..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(from);
        let how = self.status.map_or_else(|| String::from("no exit"), |status| status.to_string());
        format!("a worker ended with {how}: {}", text[from..].replace('\n', " "))
    }
}
