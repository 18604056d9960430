//! A word of the segment that becomes another, through its file as any process of the user could.

use std::fs::File;
use std::os::unix::fs::FileExt;

use busway::Bus;

use crate::scratch::Name;

/// Where the header states its regions: offset and bytes of header, control, cursors, heads, order
/// and data (`docs/format.md`).
const REGIONS_OFFSET: u64 = 216;

/// Which word becomes what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mutation {
    /// 0 control, 1 cursors, 2 heads, 3 order, 4 data.
    pub(super) region: u8,
    /// Which word of it, modulo their number.
    pub(super) index: u16,
    pub(super) value: Value,
}

/// What the word becomes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Small(u8),
    BelowZero(u8),
    /// What it was, and so much more or less.
    Plus(u8),
    Minus(u8),
    /// What it was, with one bit the other way.
    Flip(u8),
    /// What the word so many further is.
    Swap(u8),
    /// A position about a ring away from the word's.
    Near(u8),
    Word(u64),
    /// This word, and every one after it in the region: a whole ring of one entry.
    Fill(u64),
}

/// The file of a bus with the places of its regions.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    regions: [(u64, u64); 5],
    capacity: u64,
}

impl Segment {
    pub(super) fn open(name: &Name, bus: &Bus) -> Self {
        let file = File::options().read(true).write(true).open(name.path());
        let file = file.expect("the bus was created just now");
        let region = |number: u64| {
            let at = REGIONS_OFFSET + 16 * (number + 1);
            (load(&file, at), load(&file, at + 8))
        };
        let regions = [0, 1, 2, 3, 4].map(region);
        Self { regions, capacity: bus.info().capacity_frames, file }
    }

    /// Stores the word. A region that this bus does not have has none.
    pub(super) fn store(&self, mutation: Mutation) {
        let (offset, bytes) = self.regions[usize::from(mutation.region)];
        let words = bytes / 8;
        if words == 0 {
            return;
        }
        let at = |index: u64| offset + index % words * 8;
        let index = u64::from(mutation.index);
        let old = load(&self.file, at(index));
        let new = match mutation.value {
            Value::Small(value) => value.into(),
            Value::BelowZero(value) => u64::MAX - u64::from(value),
            Value::Plus(value) => old.wrapping_add(value.into()),
            Value::Minus(value) => old.wrapping_sub(value.into()),
            Value::Flip(bit) => old ^ (1 << (bit % 64)),
            Value::Swap(distance) => load(&self.file, at(index + u64::from(distance))),
            Value::Near(distance) => {
                let ring = self.capacity * u64::from(distance / 16 % 4);
                let away = ring.wrapping_add(u64::from(distance % 16)).wrapping_sub(8);
                if distance < 128 { old.wrapping_add(away) } else { old.wrapping_sub(away) }
            }
            Value::Word(word) => word,
            Value::Fill(word) => {
                let count = usize::try_from(words - index % words).unwrap_or(0);
                let all = word.to_le_bytes().repeat(count);
                return self.file.write_all_at(&all, at(index)).expect("words within the file");
            }
        };
        self.file.write_all_at(&new.to_le_bytes(), at(index)).expect("a word within the file");
    }
}

fn load(file: &File, at: u64) -> u64 {
    let mut word = [0; 8];
    file.read_exact_at(&mut word, at).expect("a word within the file");
    u64::from_le_bytes(word)
}
