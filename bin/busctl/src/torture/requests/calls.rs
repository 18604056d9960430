//! What became of every call of a tortured service: memory that outlives who asks and who answers.
//!
//! A server notes that a request was handed out before it does anything, and that it is going to reply
//! before it does. A caller notes how its call ended. What is not noted was done by the dead, if at all.
//!
//! ```text
//! 0  handed out   8 bits     8  replied   8      16  how it ended   4      20  how often   4
//! ```

#![allow(unsafe_code, reason = "says what may be shared between processes")]

use super::super::random::mix;
use crate::shared;
use std::sync::atomic::{AtomicU32, Ordering};

/// Callers that are remembered; the calls of an older one are audited before its place is used again.
pub const LIVES: usize = 4_096;
/// Calls that a caller makes at most.
pub const CALLS: usize = 4_096;

const HANDED_SHIFT: u32 = 0;
const REPLIED_SHIFT: u32 = 8;
const END_SHIFT: u32 = 16;
const ENDS_SHIFT: u32 = 20;

/// How a call ended, as its caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Replied = 1,
    Refused = 2,
    /// It was not sent.
    Unsent = 3,
    /// It may have been carried out.
    Unknown = 4,
}

/// What was noted of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    pub handed: u32,
    pub replied: u32,
    pub end: Option<End>,
    pub ends: u32,
}

impl Noted {
    fn of(word: u32) -> Self {
        let end = match (word >> END_SHIFT) & 15 {
            1 => Some(End::Replied),
            2 => Some(End::Refused),
            3 => Some(End::Unsent),
            4 => Some(End::Unknown),
            _ => None,
        };
        let field = |shift: u32| (word >> shift) & 255;
        let (handed, replied) = (field(HANDED_SHIFT), field(REPLIED_SHIFT));
        Self { handed, replied, end, ends: (word >> ENDS_SHIFT) & 15 }
    }

    /// What is wrong with it, if anything is.
    pub fn fault(self) -> Option<&'static str> {
        match self.end {
            _ if self.handed > 1 => Some("was handed out twice"),
            _ if self.ends > 1 => Some("ended twice"),
            Some(End::Replied | End::Refused) if self.handed == 0 || self.replied == 0 => {
                Some("was answered by nobody")
            }
            Some(End::Unsent) if self.handed > 0 => Some("was not sent, and was handed out"),
            _ => None,
        }
    }
}

/// The calls of all lives.
#[repr(C)]
pub struct Journal {
    calls: [[AtomicU32; CALLS]; LIVES],
}

impl Journal {
    fn word(&self, life: u64, call: u64) -> Option<&AtomicU32> {
        let lives = u64::try_from(LIVES).unwrap_or(1);
        let calls = self.calls.get(usize::try_from(life % lives).ok()?)?;
        calls.get(usize::try_from(call).ok()?)
    }

    fn add(&self, life: u64, call: u64, what: u32) -> Noted {
        // ORDERING: relaxed; the word is all that is compared, and who adds up does it at the end.
        let before = self.word(life, call).map(|word| word.fetch_add(what, Ordering::Relaxed));
        before.map_or_else(Noted::default, |before| Noted::of(before.wrapping_add(what)))
    }

    /// A request is handed out; what is noted of it, this included.
    pub fn hand_out(&self, life: u64, call: u64) -> Noted {
        self.add(life, call, 1 << HANDED_SHIFT)
    }

    /// It is going to be answered.
    pub fn reply(&self, life: u64, call: u64) {
        self.add(life, call, 1 << REPLIED_SHIFT);
    }

    /// A call has ended.
    pub fn end(&self, life: u64, call: u64, end: End) {
        self.add(life, call, (1 << ENDS_SHIFT) | ((end as u32) << END_SHIFT));
    }

    /// Takes what is noted of all calls of a life, which nobody is about any more.
    pub fn take(&self, life: u64) -> impl Iterator<Item = (u64, Noted)> {
        let words = (0..u64::try_from(CALLS).unwrap_or(0))
            .filter_map(move |call| Some((call, self.word(life, call)?)));
        // ORDERING: relaxed; as above.
        words.map(|(call, word)| (call, Noted::of(word.swap(0, Ordering::Relaxed))))
    }
}

// SAFETY: repr(C) of atomics alone, aligned to less than a page.
unsafe impl shared::Board for Journal {
    const NAME: &'static str = "busway-torture-calls";
    const POPULATED: bool = false;
}

/// A new journal, by its descriptor.
pub type JournalFile = shared::BoardFile<Journal>;
/// A journal in this process's memory.
pub type Mapping = shared::Mapping<Journal>;

/// Bytes of a request and of an answer.
pub const BODY_BYTES: usize = 24;

/// What a caller asks: whose call it is, which, and a word that follows from both.
pub fn question(life: u64, call: u64) -> [u8; BODY_BYTES] {
    body(life, call, mix(life ^ mix(call)))
}

/// What is answered to that.
pub fn answer(life: u64, call: u64) -> [u8; BODY_BYTES] {
    body(life, call, !mix(life ^ mix(call)))
}

/// Whose question it is, and which; `None`: nobody asks that.
pub fn asked(body: &[u8]) -> Option<(u64, u64)> {
    let (words, _) = body.as_chunks::<8>();
    let [life, call, _] = words else {
        return None;
    };
    let (life, call) = (u64::from_le_bytes(*life), u64::from_le_bytes(*call));
    (body == question(life, call)).then_some((life, call))
}

fn body(life: u64, call: u64, sum: u64) -> [u8; BODY_BYTES] {
    let mut body = [0; BODY_BYTES];
    for (place, word) in body.as_chunks_mut::<8>().0.iter_mut().zip([life, call, sum]) {
        *place = word.to_le_bytes();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_ended_as_its_caller_was_told_is_right() {
        let file = JournalFile::create().expect("a memfd");
        let journal = Mapping::open(file.number()).expect("mapped");
        let noted = |notes: &dyn Fn(&Journal)| {
            notes(&journal);
            journal.take(7).next().expect("the first call").1.fault()
        };
        assert_eq!(noted(&|_| {}), None, "it was never made");
        let hand_out = |journal: &Journal| {
            let _noted = journal.hand_out(7, 0);
        };
        assert_eq!(noted(&hand_out), None, "its caller is dead");
        let answered = |journal: &Journal| {
            journal.hand_out(7, 0);
            journal.reply(7, 0);
            journal.end(7, 0, End::Replied);
        };
        assert_eq!(noted(&answered), None);
        assert_eq!(noted(&|journal| journal.end(7, 0, End::Unsent)), None);
        assert_eq!(noted(&|journal| journal.end(7, 0, End::Unknown)), None);
        let twice = |journal: &Journal| (0..2).for_each(|_| hand_out(journal));
        assert_eq!(noted(&twice), Some("was handed out twice"));
        let ended_twice = |journal: &Journal| {
            (0..2).for_each(|_| journal.end(7, 0, End::Unknown));
        };
        assert_eq!(noted(&ended_twice), Some("ended twice"));
        let by_nobody = |journal: &Journal| journal.end(7, 0, End::Refused);
        assert_eq!(noted(&by_nobody), Some("was answered by nobody"));
        let denied = |journal: &Journal| {
            journal.hand_out(7, 0);
            journal.end(7, 0, End::Unsent);
        };
        assert_eq!(noted(&denied), Some("was not sent, and was handed out"));
    }

    #[test]
    fn a_question_says_whose_it_is_and_is_no_answer() {
        assert_eq!(asked(&question(3, 9)), Some((3, 9)));
        assert_eq!(asked(&answer(3, 9)), None);
        assert_eq!(asked(&question(3, 9)[..16]), None);
    }
}
