//! A daemon process in a runtime directory of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Answer, Leashed, Pass, Scratch, alone, eventually, exchange, in_company};

/// A daemon, and its directory for as long as it lives.
pub struct Daemon {
    // Before the place: the process ends before its directory is removed.
    process: Leashed,
    place: Arc<Place>,
    log: Arc<Mutex<Vec<String>>>,
}

/// Where one daemon after another runs.
struct Place {
    directory: Scratch,
    _pass: Pass,
}

impl Daemon {
    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with more arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(in_company(), arguments)
    }

    /// The same, while no other daemon of these tests runs.
    pub fn start_alone() -> Self {
        Self::start_in(alone(), &[])
    }

    fn start_in(pass: Pass, arguments: &[&str]) -> Self {
        let place = Place { directory: Scratch::new(), _pass: pass };
        let mut daemon = Self::spawn_in(Arc::new(place), arguments);
        daemon.wait_until_ready();
        daemon
    }

    /// Another daemon in the directory of this one, which has ended.
    pub fn start_again(&self) -> Self {
        let mut daemon = Self::spawn_in(Arc::clone(&self.place), &[]);
        daemon.wait_until_ready();
        daemon
    }

    fn spawn_in(place: Arc<Place>, arguments: &[&str]) -> Self {
        let mut command = command(&place.directory.join("run"));
        let mut process = Leashed::spawn(command.args(arguments).stderr(Stdio::piped()));
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let sink = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        Self { process, place, log }
    }

    fn wait_until_ready(&mut self) {
        eventually("the daemon", || {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the daemon ended with {status}: {:?}", self.log.lock().unwrap());
            }
            let answer = exchange(&self.socket(), "GET", "/v1/health", "").ok()?;
            (answer.status == 200).then_some(())
        });
    }

    pub fn runtime_dir(&self) -> PathBuf {
        self.place.directory.join("run")
    }

    pub fn socket(&self) -> PathBuf {
        self.runtime_dir().join("busd.sock")
    }

    /// Where those who attach to brokered buses ask.
    pub fn broker_socket(&self) -> PathBuf {
        self.runtime_dir().join("broker.sock")
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn request(&self, method: &str, path: &str, body: &str) -> Answer {
        exchange(&self.socket(), method, path, body).unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "")
    }

    /// Creates a bus that must be new.
    pub fn create(&self, name: &str, options: &str) {
        let body = format!("{{\"name\": \"{name}\"{options}}}");
        let answer = self.request("POST", "/v1/buses", &body);
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// The answer of `GET /v1/buses`, only those of these names and in their order: the daemon
    /// sorts by name, and which of two made-up names comes first is left to their numbers.
    pub fn list(&self, names: &[&str]) -> Vec<Value> {
        let list = self.get("/v1/buses").json();
        let buses = list["buses"].as_array().unwrap();
        names
            .iter()
            .filter_map(|name| buses.iter().find(|bus| bus["name"] == **name))
            .cloned()
            .collect()
    }

    /// Everything that it has said so far.
    pub fn log_lines(&self) -> Vec<Value> {
        let log = self.log.lock().unwrap();
        log.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a log line whose fields have these values.
    pub fn wait_for_log(&self, wanted: &[(&str, Value)]) -> Value {
        eventually(&format!("{wanted:?} in the log"), || {
            let log = self.log.lock().unwrap();
            log.iter().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                wanted.iter().all(|(key, value)| line[*key] == *value).then_some(line)
            })
        })
    }

    /// How many lines of the log have this message.
    pub fn logged(&self, message: &str) -> usize {
        let log = self.log.lock().unwrap();
        let is_it = |line: &&String| {
            serde_json::from_str::<Value>(line).is_ok_and(|line| line["message"] == message)
        };
        log.iter().filter(is_it).count()
    }

    /// Waits until the log says that this process attached.
    pub fn wait_for_attach(&self, bus: &str, pid: u32) {
        let attached = [("message", json!("attached")), ("bus", json!(bus)), ("pid", json!(pid))];
        self.wait_for_log(&attached);
    }

    /// Waits until the log says that this process died, which it has seen attached. A daemon of somebody else's on this host
    /// may have given its seat back before ours did; then the line says so and there is no more
    /// to see: `None`.
    pub fn wait_for_recovery(&self, bus: &str, role: &str, pid: u32) -> Option<Value> {
        let line = eventually(&format!("the death of {pid} in the log"), || {
            let log = self.log.lock().unwrap();
            log.iter().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let is_death = line["message"].as_str()?.starts_with("died; ");
                (is_death && line["bus"] == bus && line["pid"] == pid).then_some(line)
            })
        });
        assert_eq!(line["role"], role, "{line}");
        let is_ours = line["level"] == "WARN";
        if !is_ours {
            eprintln!("another daemon was first: {line}");
        }
        is_ours.then_some(line)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it without giving it a chance.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn wait_for_end(&mut self) -> ExitStatus {
        eventually("the daemon's end", || self.process.try_wait().unwrap())
    }
}

/// The daemon's command, in this runtime directory and apart from the user's config.
pub fn command(runtime_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_busd"));
    command
        .args(["--log", "json", "--runtime-dir"])
        .arg(runtime_dir)
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Runs a daemon that must not come up; gives its exit code and what it said.
pub fn refused(runtime_dir: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = command(runtime_dir);
    let mut process = Leashed::spawn(command.args(arguments).stderr(Stdio::piped()));
    let status = eventually("the refusal", || process.try_wait().unwrap());
    let mut text = String::new();
    process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (status.code().unwrap_or(-1), text)
}
