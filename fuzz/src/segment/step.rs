//! Four bytes of an input: one thing to do.

use busway::{Start, Wait};

use super::mutation::{Mutation, Value};
use crate::bytes::Bytes;

/// One thing to do. The first number says which of the ends that are attached does it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Publish(u8, usize, Form),
    Batch(u8, u32, Outcome),
    Drain(u8),
    Poll(u8),
    PollBatch(u8, usize),
    Receive(u8),
    Release(u8),
    Observe(u8, usize),
    Look,
    Reclaim,
    Open,
    Remove,
    AttachProducer(Wait),
    AttachConsumer(Start, Wait),
    AttachObserver(Start),
    DetachProducer(u8),
    DetachConsumer(u8),
    DetachObserver(u8),
    Store(Mutation),
}

/// How a frame is published.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Policy,
    Try,
    Claim,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Commit,
    Abort,
}

impl Step {
    pub(super) fn read(bytes: &mut Bytes<'_>) -> Self {
        let [code, a, b, c] = bytes.array();
        let wait = [Wait::Adaptive, Wait::Busy, Wait::Yielding, Wait::Parking][usize::from(c) % 4];
        match code % 32 {
            0 => Self::Publish(a, b.into(), Form::Policy),
            1 => Self::Publish(a, b.into(), Form::Try),
            2 => Self::Publish(a, b.into(), Form::Claim),
            3 => Self::Batch(a, b.into(), Outcome::Commit),
            4 => Self::Batch(a, b.into(), Outcome::Abort),
            5 => Self::Drain(a),
            6 | 7 => Self::Poll(a),
            8 => Self::PollBatch(a, b.into()),
            9 => Self::PollBatch(a, usize::MAX),
            10 => Self::Receive(a),
            11 => Self::Release(a),
            12 => Self::Observe(a, b.into()),
            14 => Self::Reclaim,
            15 => Self::Open,
            16 if a == 0xff => Self::Remove,
            13 | 16 => Self::Look,
            17 => Self::AttachProducer(wait),
            18 => Self::AttachConsumer(start(a, bytes), wait),
            19 => Self::AttachObserver(start(a, bytes)),
            20 => Self::DetachProducer(a),
            21 => Self::DetachConsumer(a),
            22 => Self::DetachObserver(a),
            code => {
                let value = match code {
                    23 => Value::Small(c),
                    24 => Value::Fill(bytes.word()),
                    25 => Value::BelowZero(c),
                    26 => Value::Plus(c),
                    27 => Value::Minus(c),
                    28 => Value::Flip(c),
                    29 => Value::Swap(c),
                    30 => Value::Near(c),
                    _ => Value::Word(bytes.word()),
                };
                Self::Store(Mutation {
                    region: a % 5,
                    index: u16::from_le_bytes([b, a / 5]),
                    value,
                })
            }
        }
    }
}

fn start(byte: u8, bytes: &mut Bytes<'_>) -> Start {
    match byte % 4 {
        0 => Start::Latest,
        1 => Start::Oldest,
        2 => Start::Position(u64::from(byte / 4)),
        _ => Start::Position(bytes.word()),
    }
}
