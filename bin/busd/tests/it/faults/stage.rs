//! A place for one daemon after another: a runtime directory, a config file that declares a bus, a
//! bus with a peer at full rate, and what must be true between two daemons.

use busway::Bus;
use busway_faults::{Begin, End, Fault, Hit, Stride, Sweep, Tally};

use super::traced::Traced;
use crate::support::{BusName, Child, Pass, Scratch, Task, in_company};

pub struct Stage {
    pub place: Scratch,
    /// Declared in the config file.
    pub declared: BusName,
    /// What requests create and remove.
    pub wish: BusName,
    peer_bus: BusName,
    peer: Child,
    _pass: Pass,
}

impl Stage {
    pub fn set() -> Self {
        let pass = in_company();
        let place = Scratch::new();
        let (declared, wish, peer_bus) = (BusName::new(), BusName::new(), BusName::new());
        let small = "payload = 8\ncapacity = 4\nlanes = 1\nconsumers = 1\n";
        let config = format!("[[bus]]\nname = \"{}\"\n{small}", &*declared);
        std::fs::write(place.join("busd.toml"), config).unwrap();
        drop(Bus::options().lanes(2).consumers(2).create(&peer_bus).unwrap());
        let peer = Child::start(Task::Race, &peer_bus);
        Self { place, declared, wish, peer_bus, peer, _pass: pass }
    }

    /// The first window begins where the daemon looks at its config file.
    pub fn begin_at_config(&self) -> Begin {
        Begin::AtPath(self.place.join("busd.toml").to_str().unwrap().to_owned())
    }

    /// A daemon that answers.
    pub fn daemon(&self) -> Traced {
        self.daemon_of(Begin::WhenArmed)
    }

    fn daemon_of(&self, begin: Begin) -> Traced {
        let daemon = Traced::start(&self.place, Fault::None, begin);
        assert!(daemon.is_up(), "{}", daemon.log());
        daemon
    }

    /// Where its schedules are kept.
    pub fn state(&self) -> std::path::PathBuf {
        self.place.join("state")
    }

    /// A daemon that answers, at full speed: nothing is done to it.
    pub fn untouched_daemon(&self) -> Traced {
        // It makes no mark, so that no call of it is looked at.
        self.daemon_of(Begin::AtMark)
    }

    /// A fresh daemon starts where the last one was, lists exactly the buses that are there, and
    /// leaves nothing of its own when it ends.
    pub fn next_daemon_is_whole(&self, context: &str) {
        let mut daemon = self.untouched_daemon();
        let list = daemon.request("GET", "/v1/buses", "").expect("a list").json();
        for name in [&self.declared, &self.wish, &self.peer_bus] {
            let listed = |part: &str| {
                let buses = list[part].as_array().unwrap();
                buses.iter().filter(|bus| bus["name"] == **name).count()
            };
            let there = usize::from(name.segment().exists());
            assert_eq!((listed("buses"), listed("unreadable")), (there, 0), "{context}");
        }
        daemon.terminate();
        assert_eq!(daemon.wait(), End::Code(0), "{context}: {}", daemon.log());
        self.assert_nothing_left(context);
    }

    /// Buses are whole or not there.
    pub fn assert_whole(&self, context: &str) {
        for name in [&self.declared, &self.wish] {
            if name.segment().exists() {
                assert!(Bus::open(name).is_ok(), "{context}");
            }
        }
    }

    /// The runtime directory is empty, or not there.
    pub fn assert_nothing_left(&self, context: &str) {
        if let Ok(entries) = std::fs::read_dir(self.place.join("run")) {
            let left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            assert!(left.is_empty(), "{left:?} left: {context}");
        }
    }

    /// The peer has read everything that it published.
    pub fn finish(self) {
        let frames: u64 = self.peer.stop().parse().unwrap();
        assert!(frames > 0);
    }
}

/// Which faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    Failures,
    Kills,
}

/// One experiment for each fault, on one stage; each returns what came of the fault and of the
/// daemon.
pub fn sweep(title: &str, faults: Faults, every: usize, run: impl Fn(&Stage, Fault) -> Seen) {
    let stride = Stride::every(every);
    let mut tally = Tally::new(&format!("{title}, {faults:?}"), stride);
    let stage = Stage::set();
    let experiment = |fault| {
        let (hit, outcome) = run(&stage, fault);
        tally.note(&hit, outcome);
        stage.assert_whole(&describe(fault, &hit));
        hit
    };
    match faults {
        Faults::Failures => Sweep::new(stride).failures(experiment),
        Faults::Kills => Sweep::new(stride).kills(experiment),
    }
    stage.finish();
    assert!(tally.experiments() > 0, "{tally}");
    println!("{tally}");
}

/// What came of a fault, and of the daemon.
pub type Seen = (Hit, String);

/// Whether the daemon was killed.
pub fn is_kill(fault: Fault, hit: &Hit) -> bool {
    matches!((fault, hit), (Fault::Kill { .. }, Hit::Done { .. }))
}

/// Whether it was one of these calls.
pub fn is_of(hit: &Hit, calls: &[&str]) -> bool {
    matches!(hit, Hit::Done { call, .. } if calls.contains(&call.as_str()))
}

/// For messages.
pub fn describe(fault: Fault, hit: &Hit) -> String {
    format!("{fault:?}: {hit:?}")
}
