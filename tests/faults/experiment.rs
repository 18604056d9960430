//! One child, one fault, and what must be true afterwards: no panic and no hang, the right error,
//! nothing left behind, seats that can be taken again, a peer that notices nothing.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Instant;

use busway::Bus;
use busway_faults::{Begin, End, Fault, Hit, Plan, Stride, Sweep, Tally, Tracer};
use nix::libc;

use crate::PATIENCE;
use crate::operation::{self, DIE, Operation, SAID};
use crate::peer::{self, Peer};
use crate::scratch::Name;
use crate::verdict;

/// Where an operation takes place.
struct Stage {
    operation: Operation,
    name: Name,
    peer: Option<Peer>,
}

/// What a child said.
struct Said {
    outcome: String,
    leak: Option<String>,
}

/// One experiment for every failure of the calls that are taken, one in `every`.
pub fn failures(operation: Operation, every: usize) {
    let stride = Stride::every(every);
    let stage = Stage::set(operation);
    let mut tally = Tally::new(&format!("{operation}, calls fail"), stride);
    let (_, outcome) = stage.perform(Fault::None);
    assert_eq!(outcome, "ok", "{operation} without a fault");
    Sweep::new(stride).failures(|fault| {
        let (hit, outcome) = stage.perform(fault);
        tally.note(&hit, &outcome);
        hit
    });
    stage.leave(&tally);
}

/// Two experiments, a kill before and one after, for each of the calls that are taken.
pub fn kills(operation: Operation, every: usize) {
    let stride = Stride::every(every);
    let stage = Stage::set(operation);
    let mut tally = Tally::new(&format!("{operation}, killed"), stride);
    Sweep::new(stride).kills(|fault| {
        let (hit, outcome) = stage.perform(fault);
        tally.note(&hit, &outcome);
        hit
    });
    stage.leave(&tally);
}

impl Stage {
    fn set(operation: Operation) -> Self {
        let name = Name::new();
        let mut peer = None;
        if Self::is_shared(operation) {
            let options = Bus::options().lanes(3).consumers(3).capacity_frames(128);
            drop(options.payload_bytes(8).create(&name).unwrap());
            peer = Some(Peer::start(&name));
        }
        Self { operation, name, peer }
    }

    /// Whether a peer is attached to the bus of the operation.
    fn is_shared(operation: Operation) -> bool {
        use Operation::{AttachOverDead, Consume, List, Observe, Open, Produce, Reclaim};
        matches!(operation, Open | List | Observe | Produce | Consume | Reclaim | AttachOverDead)
    }

    /// Runs the operation under a fault and checks everything. Returns what came of the fault and
    /// of the operation.
    fn perform(&self, fault: Fault) -> (Hit, String) {
        self.prepare();
        let plan = Arc::new(Plan::new(fault));
        let command = peer::command(&self.operation.to_string(), &self.name);
        let mut tracer = Tracer::start(command, Begin::AtMark, Arc::clone(&plan));
        let mut output = tracer.child().stdout.take().unwrap();
        let end = tracer.run(PATIENCE);
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        let hit = plan.hit();
        let context = format!("{}, {fault:?}: {hit:?}: {end:?}: {text}", self.operation);
        let is_killed = matches!((fault, &hit), (Fault::Kill { .. }, Hit::Done { .. }));
        let outcome = if is_killed {
            assert_eq!(end, End::Signal(libc::SIGKILL), "{context}");
            "killed".to_owned()
        } else {
            assert_eq!(end, End::Code(0), "{context}");
            let said = Said::of(&text).unwrap_or_else(|| panic!("{context}"));
            verdict::check(self.operation, &hit, &said.outcome, &context);
            if !verdict::keeps_what_it_held(&hit) {
                assert_eq!(said.leak, None, "{context}");
            }
            said.outcome
        };
        self.check(&outcome, is_killed, &context);
        (hit, outcome)
    }

    /// Sets up what each run needs anew.
    fn prepare(&self) {
        use Operation::{AcceptExisting, AttachOverDead, Reclaim, Remove};
        use Operation::{WaitForFrame, WaitForRoom, Wake};
        match self.operation {
            AcceptExisting | Remove | WaitForFrame | WaitForRoom | Wake => {
                drop(operation::options().create(&self.name).unwrap());
            }
            Reclaim | AttachOverDead => {
                let dead = peer::command(DIE, &self.name).status().unwrap();
                assert!(!dead.success());
            }
            _ => {}
        }
    }

    /// The bus is whole or not there, and others can go on with it.
    fn check(&self, outcome: &str, is_killed: bool, context: &str) {
        use Operation::{Create, CreateUnlessThere, Remove};
        let exists = self.name.path().exists();
        match self.operation {
            _ if is_killed => {}
            Create | CreateUnlessThere => assert_eq!(exists, outcome == "ok", "{context}"),
            Remove => assert_eq!(exists, outcome != "ok", "{context}"),
            _ => assert!(exists, "{context}"),
        }
        if !exists {
            return;
        }
        let file = self.name.path().metadata().unwrap();
        assert!(file.blocks() * 512 >= file.len(), "not all of it is allocated: {context}");
        let bus = Bus::open(&self.name).unwrap_or_else(|error| panic!("{error}: {context}"));
        if let Some(peer) = &self.peer {
            self.check_seats(&bus, peer, is_killed, context);
        } else {
            drop(bus);
            Bus::remove(&self.name).unwrap();
        }
    }

    /// Nobody but the peer is attached, at once or after the dead are reclaimed, and others can
    /// attach.
    fn check_seats(&self, bus: &Bus, peer: &Peer, is_killed: bool, context: &str) {
        use Operation::{AttachOverDead, Reclaim};
        let has_died = is_killed || matches!(self.operation, Reclaim | AttachOverDead);
        let start = Instant::now();
        loop {
            if has_died {
                bus.reclaim().unwrap_or_else(|error| panic!("{error}: {context}"));
            }
            let attached: Vec<u32> = bus.participants().iter().map(|who| who.pid).collect();
            if attached == [peer.pid(), peer.pid()] {
                break;
            }
            // A daemon on this host may be about to reclaim the same seat.
            assert!(has_died && start.elapsed() < PATIENCE, "{attached:?} attached: {context}");
        }
        let _ends = (bus.producer().attach().unwrap(), bus.consumer().attach().unwrap());
    }

    /// Ends the peer and shows the table.
    fn leave(self, tally: &Tally) {
        if let Some(peer) = self.peer {
            peer.finish();
        }
        assert!(tally.experiments() > 0, "{tally}");
        println!("{tally}");
    }
}

impl Said {
    fn of(text: &str) -> Option<Self> {
        let mut said = text.lines().filter_map(|line| line.split_once(SAID)).map(|(_, said)| said);
        let outcome = said.next()?.to_owned();
        Some(Self { outcome, leak: said.next().map(str::to_owned) })
    }
}
