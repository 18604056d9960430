//! What a test runs in: a directory, bus names that nobody else has, processes that end with it.

use busway::Bus;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Far beyond what anything here takes; only there so that a hang ends.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A private place for one test.
pub struct Sandbox {
    dir: PathBuf,
    tag: String,
}

/// A process that ended, and what it said.
#[derive(Debug)]
pub struct Done {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A process that runs; killed when dropped.
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

impl Sandbox {
    pub fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let tag = format!("t-{}-{number}-", std::process::id());
        let dir = std::env::temp_dir().join(format!("{tag}dir"));
        fs::create_dir(&dir).unwrap();
        // Open to pass through, so that a test may run something as another user in it.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir, tag }
    }

    /// A bus name that only this test uses.
    pub fn name(&self, word: &str) -> String {
        format!("{}{word}", self.tag)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a daemon of this sandbox has its socket.
    pub fn runtime_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// A file of the sandbox with this content.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.dir.join(name);
        fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    /// An executable copy of a file. Copied by a process of its own: a descriptor that this one
    /// had open for writing could be inherited by a child that another test starts just then, and
    /// the file could not be executed as long as that child has not executed its own program.
    pub fn executable(&self, path: impl AsRef<Path>, of: impl AsRef<Path>) -> PathBuf {
        let path = self.dir.join(path);
        let mut install = Command::new("install");
        let status = install.args(["-D", "-m", "755"]).arg(of.as_ref()).arg(&path).status();
        assert!(status.unwrap().success());
        path
    }

    /// `program` with these arguments, ready to be run in the sandbox.
    pub fn program(&self, program: impl AsRef<Path>, args: &[&str]) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .args(args)
            .env("BUSWAY_RUNTIME_DIR", self.runtime_dir())
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .stdin(Stdio::null());
        command
    }

    pub fn command(&self, args: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_busctl"), args)
    }

    /// Runs `busctl` to its end.
    pub fn run(&self, args: &[&str]) -> Done {
        Running::start(&mut self.command(args), None).wait()
    }

    /// Runs `busctl` to its end with this on stdin.
    pub fn run_with(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> Done {
        Running::start(&mut self.command(args), Some(stdin.as_ref())).wait()
    }

    /// Runs `busctl`, which must succeed, and returns its stdout.
    pub fn ok(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code(), 0, "{args:?}: {done:?}");
        done.stdout
    }

    /// Runs `busctl --json`, which must succeed and print one document of this schema.
    pub fn document(&self, schema: &str, args: &[&str]) -> Value {
        let stdout = self.ok(&[args, &["--json"]].concat());
        let document: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(document["schema"], schema, "{document}");
        document
    }

    /// Starts `busctl`.
    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(&mut self.command(args), None)
    }

    /// A bus made straight by the library, with the timestamps off so that output is the same
    /// each time.
    pub fn bus(
        &self,
        word: &str,
        options: impl FnOnce(busway::BusOptions) -> busway::BusOptions,
    ) -> Bus {
        let quiet = Bus::options().timestamps(busway::Timestamps::Off);
        options(quiet).create(&self.name(word)).unwrap()
    }

    /// The pid of this sandbox's daemon, if one runs.
    pub fn daemon_pid(&self) -> Option<Pid> {
        let lock = fs::read_to_string(self.runtime_dir().join("busd.lock")).ok()?;
        let pid = lock.trim().parse::<i32>().ok()?;
        // A pid may have been given to somebody else meanwhile: it must be ours by its arguments.
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let ours = self.runtime_dir().into_os_string().into_encoded_bytes();
        let is_ours = line.split(|byte| *byte == 0).any(|argument| argument == ours);
        is_ours.then(|| Pid::from_raw(pid)).flatten()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let start = Instant::now();
        while let Some(pid) = self.daemon_pid() {
            let _ = kill_process(pid, Signal::TERM);
            if start.elapsed() > PATIENCE {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let prefix = format!("busway.{}", self.tag);
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                // A test may have put a directory where a bus is looked for.
                let _ = fs::remove_file(entry.path()).or_else(|_| fs::remove_dir(entry.path()));
            }
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Running {
    pub fn start(command: &mut Command, stdin: Option<&[u8]>) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if stdin.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().unwrap();
        if let Some(bytes) = stdin {
            let (mut pipe, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
            // A program that stops reading is no reason for the test to hang or to fail.
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        let stdout = child.stdout.take().map(read_in_background);
        let stderr = child.stderr.take().map(read_in_background);
        Self { child, stdout, stderr }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it goes on. An end is kept for `wait`.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Stops the process and returns once it stands still.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.pid());
        eventually("the process stands still", || {
            let stat = fs::read_to_string(&stat).unwrap();
            stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
        });
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    pub fn wait(mut self) -> Done {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "still running: pid {}", self.pid());
            std::thread::sleep(Duration::from_millis(2));
        };
        let text = |reader: Option<JoinHandle<String>>| reader.map(|reader| reader.join().unwrap());
        let stdout = text(self.stdout.take()).unwrap_or_default();
        let stderr = text(self.stderr.take()).unwrap_or_default();
        Done { status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Done {
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// Checks the exit code, that stderr has an `error:`, and that it says all of these.
    #[track_caller]
    pub fn failed(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code(), code, "{self:?}");
        assert!(self.stderr.lines().any(|line| line.starts_with("error: ")), "{self:?}");
        for part in says {
            assert!(self.stderr.contains(part), "{part:?} is not in {self:?}");
        }
    }
}

/// Waits until it is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it never came about: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until so many consumers are attached.
#[track_caller]
pub fn until_consumers(bus: &Bus, count: usize) {
    eventually("consumers attach", || bus.stat().consumers.len() == count);
}

fn read_in_background(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
