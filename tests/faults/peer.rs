//! A process that publishes at full rate and reads everything, on the bus where others fail.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use busway::Bus;

use crate::PATIENCE;
use crate::operation::{BUS, PEER, ROLE, SAID};

/// Frames that a peer publishes between two reads; fewer than a lane holds.
const RUN: u64 = 64;

/// The peer, seen from the test. Killed, by its own handle, when this value goes.
pub struct Peer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts it and waits until it publishes.
    pub fn start(bus: &str) -> Self {
        let mut child = command(PEER, bus).stdin(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { child, output };
        assert_eq!(peer.hear(), "ready");
        peer
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it; it must have read all that it published, in order.
    pub fn finish(mut self) {
        drop(self.child.stdin.take());
        let said = self.hear();
        assert!(said.starts_with("undisturbed"), "{said}");
        assert!(self.child.wait().unwrap().success());
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the peer has broken off");
            if let Some((_, said)) = line.split_once(SAID) {
                return said.trim_end().to_owned();
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// This binary, run again with a role.
pub fn command(role: &str, bus: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(BUS, bus)
        .stdout(Stdio::piped());
    command
}

/// Publishes and reads until standard input closes. What others publish comes in order as well.
pub fn run(name: &str) {
    // At full rate, and behind whatever else the test does with the cores.
    rustix::process::nice(19).unwrap();
    let bus = Bus::open(name).unwrap();
    let mut producer = bus.producer().name("peer").timeout(Some(PATIENCE)).attach().unwrap();
    let mut consumer = bus.consumer().name("peer").attach().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _closed = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        told.store(true, Ordering::Relaxed);
    });
    println!("{SAID}ready");
    let lanes = usize::try_from(bus.info().lanes).unwrap();
    let own = usize::try_from(producer.lane()).unwrap();
    let mut next = vec![0; lanes];
    let mut published = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..RUN {
            producer.publish_bytes(0, &published.to_le_bytes()).unwrap();
            published += 1;
        }
        while let Some(frame) = consumer.poll().unwrap() {
            let lane = usize::try_from(frame.lane()).unwrap();
            let number = u64::from_le_bytes(frame.payload().try_into().unwrap());
            // Each of the others begins anew; this one never does.
            let right = number == next[lane] || (lane != own && number == 0);
            assert!(right, "frame {number} of lane {lane} where {} was to come", next[lane]);
            next[lane] = number + 1;
        }
    }
    assert_eq!((next[own], consumer.lost()), (published, 0));
    println!("{SAID}undisturbed: {published}");
}
