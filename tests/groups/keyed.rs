//! Frames with keys, and the journal of who had them in hand.
//!
//! A record is written when a frame was handed out, when it is about to be settled, and when it has
//! been: so a frame that was acknowledged in time was its member's from the first of these to the
//! second at least.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use busway_crashable::{Bus, Error, PollError};

use crate::journal::{Scratch, open_journal};
use crate::worker::refuses;

/// Keys that frames have.
pub const KEYS: u64 = 24;

const RECORD_BYTES: usize = 24;

/// What became of a frame in a member's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Begun,
    Ending,
    Acknowledged,
    Late,
    Refused,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub number: u64,
    pub pid: u32,
    pub what: What,
    pub attempt: u32,
}

impl Record {
    pub fn bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let parts =
            [self.number, u64::from(self.pid), (self.what as u64) << 32 | u64::from(self.attempt)];
        for (to, from) in bytes.chunks_exact_mut(8).zip(parts) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        bytes
    }

    fn of(bytes: &[u8]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let all = [What::Begun, What::Ending, What::Acknowledged, What::Late, What::Refused];
        Self {
            number: word(0),
            pid: u32::try_from(word(8)).unwrap(),
            what: all[usize::try_from(word(16) >> 32).unwrap()],
            attempt: u32::try_from(word(16) & 0xff).unwrap(),
        }
    }
}

pub fn key_of(number: u64) -> u64 {
    (number ^ number >> 32) % KEYS
}

pub fn payload_of(number: u64) -> Vec<u8> {
    [number.to_le_bytes(), key_of(number).to_le_bytes()].concat()
}

pub fn number_of(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload[..8].try_into().unwrap())
}

/// Works until the group is removed, which it may be before this begins.
pub fn work(bus: &str, journal: &str) {
    let mut journal = open_journal(journal);
    let attach = || Bus::open(bus)?.open_group("g")?.member().batch(4).name("worker").attach();
    let mut member = match attach() {
        Ok(member) => member,
        Err(Error::Group { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    let pid = std::process::id();
    loop {
        let taken = match member.receive(Duration::from_millis(5)) {
            Ok(Some(taken)) => taken,
            Ok(None) => continue,
            Err(PollError::Removed) => return,
            Err(error) => panic!("{error}"),
        };
        let number = number_of(taken.frame().payload());
        let receipt = taken.receipt();
        let attempt = receipt.attempt();
        let mut note = |what| {
            journal.write_all(&Record { number, pid, what, attempt }.bytes()).unwrap();
        };
        note(What::Begun);
        if number.is_multiple_of(4) {
            // Long enough for somebody to be killed, stopped or robbed meanwhile.
            std::thread::sleep(Duration::from_millis(1));
        }
        note(What::Ending);
        if refuses(number) {
            let refused = member.nack(receipt, Duration::ZERO);
            note(if refused.is_ok() { What::Refused } else { What::Late });
        } else {
            let acknowledged = member.ack(receipt);
            note(if acknowledged.is_ok() { What::Acknowledged } else { What::Late });
        }
    }
}

/// A frame in a member's hands: where in the journal that begins and ends, and how.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    pub first: Record,
    pub begun: usize,
    pub ending: usize,
    /// What the member says; that it was killed, or stands still, when it says nothing.
    pub end: Option<What>,
}

/// All of them, in the order in which they begin.
pub fn holds(scratch: &Scratch) -> Vec<Hold> {
    let bytes = std::fs::read(&scratch.journal).unwrap();
    let mut open: BTreeMap<(u32, u64), usize> = BTreeMap::new();
    let mut holds: Vec<Hold> = Vec::new();
    for (at, bytes) in bytes.chunks_exact(RECORD_BYTES).enumerate() {
        let record = Record::of(bytes);
        let who = (record.pid, record.number);
        match record.what {
            What::Begun => {
                open.insert(who, holds.len());
                holds.push(Hold { first: record, begun: at, ending: at, end: None });
            }
            What::Ending => holds[open[&who]].ending = at,
            end => holds[open[&who]].end = Some(end),
        }
    }
    holds
}
