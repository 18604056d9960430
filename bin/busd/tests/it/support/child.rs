//! Other processes: this test binary runs itself and does one task on one bus.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Leashed;
use busway::{Bus, PollError, Start};

/// What a child does until it is told to stop, or killed.
#[derive(Clone, Copy, Debug)]
pub enum Task {
    /// Attaches as a producer and does nothing.
    HoldProducer,
    /// Attaches as a consumer and does nothing.
    HoldConsumer,
    /// Publishes the numbers 0, 1, 2 … Says how many in the end.
    Publish,
    /// Reads until every producer has gone, checks that the numbers come without a gap. Says how
    /// many there were.
    Consume,
    /// Publishes at full rate and reads it all again, in order. Says how many there were.
    Race,
}

/// A child process.
pub struct Child {
    process: Leashed,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Child {
    /// Starts a child and waits until it is attached.
    pub fn start(task: Task, bus: &str) -> Self {
        Self::start_through(task, bus, None)
    }

    /// The same on a brokered bus, through its daemon's socket.
    pub fn start_brokered(task: Task, bus: &str, socket: &Path) -> Self {
        Self::start_through(task, bus, Some(socket))
    }

    fn start_through(task: Task, bus: &str, socket: Option<&Path>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "support::child::runs_a_task", "--nocapture", "--ignored"])
            .env("BUSD_TEST_TASK", format!("{task:?}"))
            .env("BUSD_TEST_BUS", bus)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(socket) = socket {
            command.env("BUSD_TEST_SOCKET", socket);
        }
        let mut process = Leashed::spawn(&mut command);
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut child = Self { process, lines };
        assert_eq!(child.hear(), "attached");
        child
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
    }

    /// Has it detach and end; gives what it says.
    pub fn stop(mut self) -> String {
        drop(self.process.stdin.take());
        let said = self.hear();
        assert!(self.process.wait().unwrap().success());
        said
    }

    /// The next thing that it says; the test harness in it talks too.
    fn hear(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("the child ended in silence").unwrap();
            if let Some((_, said)) = line.split_once("@@") {
                return said.to_owned();
            }
        }
    }
}

fn say(what: impl std::fmt::Display) {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "@@{what}").unwrap();
    stdout.flush().unwrap();
}

/// Comes back when the parent closes our stdin, or is gone.
fn wait_for_stop() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

#[test]
#[ignore = "the entry of child processes"]
fn runs_a_task() {
    let Ok(task) = std::env::var("BUSD_TEST_TASK") else {
        return;
    };
    let name = std::env::var("BUSD_TEST_BUS").unwrap();
    let bus = match std::env::var_os("BUSD_TEST_SOCKET") {
        Some(socket) => Bus::connect(socket, &name).unwrap(),
        None => Bus::open(&name).unwrap(),
    };
    match task.as_str() {
        "HoldProducer" => {
            let producer = bus.producer().name("holder").attach().unwrap();
            say("attached");
            wait_for_stop();
            producer.detach();
            say("detached");
        }
        "HoldConsumer" => {
            let consumer = bus.consumer().name("holder").attach().unwrap();
            say("attached");
            wait_for_stop();
            consumer.detach();
            say("detached");
        }
        "Publish" => publish(&bus),
        "Consume" => consume(&bus),
        "Race" => race(&bus),
        other => panic!("no task {other:?}"),
    }
}

fn publish(bus: &Bus) {
    let mut producer = bus.producer().name("counter").attach().unwrap();
    say("attached");
    let stopper = std::thread::spawn(wait_for_stop);
    let mut count = 0_u64;
    while !stopper.is_finished() {
        producer.publish_bytes(7, &count.to_le_bytes()).unwrap();
        count += 1;
        std::thread::sleep(Duration::from_micros(100));
    }
    producer.detach();
    say(count);
}

fn consume(bus: &Bus) {
    let mut consumer = bus.consumer().name("checker").start(Start::Oldest).attach().unwrap();
    say("attached");
    let mut count = 0_u64;
    loop {
        match consumer.recv_timeout(super::PATIENCE) {
            Ok(Some(frame)) => {
                assert_eq!(frame.payload(), count.to_le_bytes());
                count += 1;
            }
            Ok(None) => panic!("nothing came for {:?}", super::PATIENCE),
            Err(PollError::Closed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(consumer.lost(), 0);
    consumer.detach();
    say(count);
}

fn race(bus: &Bus) {
    // At full rate, and behind whatever else the test does with the cores.
    rustix::process::nice(19).unwrap();
    let mut producer = bus.producer().name("racer").attach().unwrap();
    let mut consumer = bus.consumer().name("racer").attach().unwrap();
    say("attached");
    let stopper = std::thread::spawn(wait_for_stop);
    let (mut published, mut read) = (0_u64, 0_u64);
    while !stopper.is_finished() {
        // Fewer than the lane holds, so that it never waits for itself.
        for _ in 0..32 {
            producer.publish_bytes(7, &published.to_le_bytes()).unwrap();
            published += 1;
        }
        while let Some(frame) = consumer.poll().unwrap() {
            assert_eq!(frame.payload(), read.to_le_bytes());
            read += 1;
        }
    }
    assert_eq!((read, consumer.lost()), (published, 0));
    say(read);
}
