//! Daemons that are killed while they make and remove buses.
//!
//! A daemon of its own, in a private directory, is asked for buses and for their removal, killed at
//! any moment, and started again. What it has answered must be so: a bus that it made is there and
//! listed, one that it removed is neither. What it was asked and did not answer may be either, but
//! the bus is whole or not there, and the list says what is there.

use super::random::Random;
use super::tally::{Tally, Told};
use super::violation::Violation;
use crate::bench::{Janitor, Litter, run_worker};
use crate::exit::{Exit, Failure};
use crate::private_dir;
use crate::signal::Stop;
use busd::api::CreateBus;
use busd::{Args, Client, LogLevel, RuntimeDir, wait_until_ready};
use busway::Bus;
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

/// How long a daemon may take to answer after its start.
const START: Duration = Duration::from_secs(15);

/// Names that buses are made under.
const NAMES: u64 = 6;

/// How long a daemon lives at most once it has answered.
const LIFE_MS_MAX: u64 = 120;

/// Kills daemons until it is `over`.
pub fn torture(
    seed: u64,
    tally: &mut Tally,
    janitor: &mut Janitor,
    stop: &Stop,
    keep_going: bool,
    mut over: impl FnMut(&Tally) -> bool,
) -> Result<(), Failure> {
    let directory = private_dir::path("torture");
    janitor.expect(Litter::Directory(directory.clone()))?;
    private_dir::make(&directory)?;
    let prefix = format!("torture-{}-daemon", std::process::id());
    let mut litter = vec![Litter::Directory(directory.clone())];
    for number in 0..NAMES {
        let bus = Litter::Bus(format!("{prefix}-{number}"));
        janitor.expect(bus.clone())?;
        litter.push(bus);
    }
    let mut ward = Ward { prefix, buses: BTreeMap::new(), random: Random::of(seed, &[4]) };
    let runtime = RuntimeDir::resolve(Some(&directory));
    while !over(tally) && !stop.requested() && (keep_going || tally.is_clean()) {
        let mut host = Host::start(&directory)?;
        let client = wait_until_ready(&runtime, START).map_err(|error| {
            Failure::new(Exit::Daemon, format!("a daemon did not start after a kill: {error}"))
        })?;
        let found = ward.check_list(&client)?;
        let found = match found {
            None => ward.ask_until_it_dies(&client, &host),
            found => found,
        };
        host.end();
        tally.daemon_kills += 1;
        if let Some((violation, what)) = found {
            let (bus, by) = (String::from("daemon"), String::from("the conductor"));
            tally.violated(Told { violation, bus, by, what });
        }
    }
    litter.iter().try_for_each(|litter| janitor.clear(litter))
}

type Finding = (Violation, String);

/// What the daemon was asked and has answered.
struct Ward {
    prefix: String,
    /// By name, whether it is there; `None` if it was asked and has not answered.
    buses: BTreeMap<String, Option<bool>>,
    random: Random,
}

impl Ward {
    /// Whether the list of a daemon that has just started says what is there, and that is what the
    /// one before has answered. From now on, that is known.
    fn check_list(&mut self, client: &Client) -> Result<Option<Finding>, Failure> {
        let list = client.buses()?;
        let broken = list.unreadable.iter().find(|bus| bus.name.starts_with(&self.prefix));
        if let Some(broken) = broken {
            return Ok(Some((Violation::HalfMadeBus, format!("{broken:?}"))));
        }
        for number in 0..NAMES {
            let name = format!("{}-{number}", self.prefix);
            let (listed, there) = (list.buses.iter().any(|bus| bus.name == name), exists(&name)?);
            let answered = self.buses.insert(name.clone(), Some(there)).flatten();
            if listed != there || answered.is_some_and(|answered| answered != there) {
                let what =
                    format!("{name:?}: answered {answered:?}, listed {listed}, there {there}");
                return Ok(Some((Violation::WrongList, what)));
            }
        }
        Ok(None)
    }

    /// Has buses made and removed until the daemon is killed, which is soon.
    fn ask_until_it_dies(&mut self, client: &Client, host: &Host) -> Option<Finding> {
        let life = Duration::from_micros(self.random.any_size(LIFE_MS_MAX * 1000));
        let pid = host.pid();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(life);
                // It is not reaped before this thread has ended, so the number is its own.
                let _ = kill_process(pid, Signal::KILL);
            });
            loop {
                match self.ask(client) {
                    Ok(None) => {}
                    Ok(found) => return found,
                    // It is dead, or about to die.
                    Err(()) => return None,
                }
            }
        })
    }

    /// Has one bus made or removed. `Err`: there was no answer.
    fn ask(&mut self, client: &Client) -> Result<Option<Finding>, ()> {
        let name = format!("{}-{}", self.prefix, self.random.within(0, NAMES - 1));
        let there = self.buses.insert(name.clone(), None).flatten().unwrap_or(false);
        let result = if there {
            client.remove_bus(&name, true).map(drop)
        } else {
            let wish = CreateBus { capacity_frames: Some(16), ..CreateBus::new(name.clone()) };
            client.create_bus(&wish).map(drop)
        };
        match result {
            Ok(()) => {
                self.buses.insert(name, Some(!there));
                Ok(None)
            }
            Err(busd::ClientError::Refused { body, .. }) => {
                let what = format!("{name:?}, there: {there}: {}", body.message);
                Ok(Some((Violation::WrongList, what)))
            }
            Err(_) => Err(()),
        }
    }
}

/// Whether a bus is there, and whole.
fn exists(name: &str) -> Result<bool, Failure> {
    match Bus::open(name) {
        Ok(_) => Ok(true),
        Err(error) if error.code() == "not_found" => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A daemon's process. Killed and reaped when dropped.
struct Host(Child);

impl Host {
    fn start(directory: &Path) -> Result<Self, Failure> {
        let parent = std::process::id().to_string();
        let child = Command::new("/proc/self/exe")
            .arg0("busctl")
            .args(["torture", "daemon", &parent])
            .arg(directory)
            .current_dir("/")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::from(error).context("starting a daemon"))?;
        Ok(Self(child))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    fn end(&mut self) {
        // Both fail only when it is gone, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}

/// The daemon's process: what the hidden verb does.
pub fn host(parent_pid: u32, directory: PathBuf) -> ExitCode {
    run_worker(|| {
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
        let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        if i64::from(parent) != i64::from(parent_pid) {
            return Err(Failure::failed("the process that started this daemon is gone"));
        }
        let _ = rustix::thread::set_name(c"torture busd");
        let code = busd::run(&Args {
            config: Some(directory.join(private_dir::CONFIG)),
            runtime_dir: Some(directory),
            log_level: LogLevel::Error,
            ..Args::default()
        });
        if code == ExitCode::SUCCESS {
            Ok(())
        } else {
            Err(Failure::failed(format!("the daemon ended with {code:?}")))
        }
    })
}
