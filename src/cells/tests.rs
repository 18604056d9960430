//! The cells on the heap: what is found, and whose each slot is after whatever happened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::key::KeyWords;
use super::read::Found;
use super::write::{Entry, Writer, Written};
use super::{Cells, Fault, Memory, Plan};
use crate::layout::table::words::{CellWord, DeskWords, VERSION_MAX, tenancy};
use crate::sync::{AtomicU64, Ordering};

const VALUE_BYTES: usize = 16;
const SLOT_WORDS: usize = 5 + 1 + VALUE_BYTES / 8;

#[derive(Clone)]
struct Heap(Arc<Words>);

struct Words {
    cells: Vec<AtomicU64>,
    slots: Vec<AtomicU64>,
    desks: Vec<DeskWords>,
    keys: AtomicU64,
}

impl Memory for Heap {
    type Desk<'a> = &'a DeskWords;

    fn cell(&self, cell: u32) -> Option<&AtomicU64> {
        self.0.cells.get(cell as usize)
    }

    fn slot(&self, slot: u32) -> Option<&[AtomicU64]> {
        self.0.slots.chunks(SLOT_WORDS).nth(slot as usize)
    }

    fn desk(&self, seat: u32) -> Option<&DeskWords> {
        self.0.desks.get(seat as usize)
    }

    fn keys(&self) -> &AtomicU64 {
        &self.0.keys
    }
}

fn zeros(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

fn table(keys: u32, writers: u32) -> Cells<Heap> {
    let cells = (keys * 4 / 3 + 1).next_power_of_two();
    let spare = 2;
    let slots = keys + writers * 3;
    let desk = |_| DeskWords {
        at: AtomicU64::new(0),
        new: AtomicU64::new(0),
        old: AtomicU64::new(0),
        replaces: AtomicU64::new(0),
        writes: AtomicU64::new(0),
        retries: AtomicU64::new(0),
        _rest: [AtomicU64::new(0), AtomicU64::new(0)],
    };
    let words = Words {
        cells: zeros(cells as usize),
        slots: zeros(slots as usize * SLOT_WORDS),
        desks: (0..writers).map(desk).collect(),
        keys: AtomicU64::new(0),
    };
    let plan = Plan {
        cells,
        slots,
        writers,
        keys: keys.into(),
        spare,
        key_words: 1,
        value_bytes: VALUE_BYTES,
    };
    Cells { memory: Heap(Arc::new(words)), plan }
}

fn writer(table: &Cells<Heap>, seat: u32) -> Writer<Heap> {
    let mut writer = Writer::new(table.clone(), tenancy(seat, 1));
    writer.take_free(u32::MAX);
    writer
}

/// Two equal words: a value that is torn shows.
fn value(number: u64) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value[8..].copy_from_slice(&number.to_le_bytes());
    value
}

fn set(writer: &mut Writer<Heap>, key: u64, number: u64) -> Result<Written, Fault> {
    put(writer, key, Some(&value(number)), None)
}

fn put(
    writer: &mut Writer<Heap>,
    key: u64,
    value: Option<&[u8]>,
    expected: Option<u64>,
) -> Result<Written, Fault> {
    let entry = Entry { key: KeyWords::number(key), time_ns: 5, pid: 9, value };
    let result = writer.put(&entry, None, expected);
    writer.take_free(u32::MAX);
    result
}

/// Version and number of a key; `None` when it has no cell.
fn get(table: &Cells<Heap>, key: u64) -> Option<(u64, u64)> {
    let Found::At(cell, _) = table.find(&KeyWords::number(key)).unwrap() else {
        return None;
    };
    let mut words = [0; 2];
    let seen = table.read(cell, &mut words).unwrap().unwrap();
    assert_eq!(words[0], words[1], "a torn value");
    assert_eq!(seen.key, KeyWords::number(key));
    Some((seen.version, words[0]))
}

/// Fails unless each slot is in one cell, or in one pool, or nobody's.
fn check_slots(table: &Cells<Heap>, writers: &[&Writer<Heap>]) {
    let mut used = BTreeMap::new();
    for cell in 0..table.plan.cells {
        let word = table.load(cell).unwrap();
        if !word.is_empty() {
            assert_eq!(used.insert(word.slot(), "a cell"), None, "slot {} twice", word.slot());
        }
    }
    for writer in writers {
        for slot in &writer.pool {
            let before = used.insert(*slot, "a pool");
            assert_eq!(before, None, "slot {slot} is in a pool");
            let owner = table.slot(*slot).unwrap().owner.load(Ordering::Relaxed);
            assert_eq!(owner, writer.me, "slot {slot}");
        }
    }
}

#[test]
fn value_is_replaced_and_versions_count_from_one() {
    let table = table(4, 2);
    let (mut one, mut two) = (writer(&table, 0), writer(&table, 1));
    assert_eq!(get(&table, 7), None);
    assert_eq!(set(&mut one, 7, 10).unwrap().version, 1);
    assert_eq!(set(&mut two, 7, 11).unwrap().version, 2);
    assert_eq!(set(&mut one, 7, 12).unwrap().version, 3);
    assert_eq!(get(&table, 7), Some((3, 12)));
    check_slots(&table, &[&one, &two]);
}

#[test]
fn keys_that_meet_in_one_cell_are_told_apart() {
    let table = table(100, 1);
    let mut writer = writer(&table, 0);
    for key in 0..100 {
        set(&mut writer, key, key * 3).unwrap();
    }
    for key in 0..100 {
        assert_eq!(get(&table, key), Some((1, key * 3)));
    }
    assert_eq!(get(&table, 100), None);
    check_slots(&table, &[&writer]);
}

#[test]
fn full_table_refuses_new_keys_and_still_takes_old_ones() {
    let table = table(3, 2);
    let mut one = writer(&table, 0);
    for key in 0..3 {
        set(&mut one, key, 1).unwrap();
    }
    assert_eq!(set(&mut one, 3, 1), Err(Fault::Full));
    assert_eq!(set(&mut one, 2, 5).unwrap().version, 2);
    // A writer that died having counted a key and not inserted it leaves the count too high.
    let table = self::table(3, 2);
    let mut one = writer(&table, 0);
    table.memory.keys().store(3, Ordering::Relaxed);
    for key in 0..3 {
        set(&mut one, key, 1).unwrap();
    }
    assert_eq!(set(&mut one, 3, 1), Err(Fault::Full));
}

#[test]
fn compare_and_set_takes_the_expected_version_only() {
    let table = table(4, 1);
    let mut writer = writer(&table, 0);
    assert_eq!(put(&mut writer, 1, Some(b"x"), Some(1)), Err(Fault::Conflict(0)));
    assert_eq!(put(&mut writer, 1, Some(b"x"), Some(0)).unwrap().version, 1);
    assert_eq!(put(&mut writer, 1, Some(b"y"), Some(0)), Err(Fault::Conflict(1)));
    assert_eq!(put(&mut writer, 1, Some(b"y"), Some(1)).unwrap().version, 2);
    check_slots(&table, &[&writer]);
}

#[test]
fn last_version_is_the_last() {
    let table = table(4, 1);
    let mut writer = writer(&table, 0);
    let Written { cell, .. } = set(&mut writer, 1, 1).unwrap();
    let word = table.memory.cell(cell).unwrap();
    let slot = CellWord::from_word(word.load(Ordering::Relaxed)).slot();
    let last = CellWord::of(VERSION_MAX, slot);
    word.store(last.word(), Ordering::Relaxed);
    let stamp = crate::layout::table::words::stamp(VERSION_MAX, cell);
    table.slot(slot).unwrap().stamp.store(stamp, Ordering::Relaxed);
    assert_eq!(set(&mut writer, 1, 2), Err(Fault::UsedUp));
    assert_eq!(get(&table, 1), Some((VERSION_MAX, 1)));
}

#[test]
fn words_that_nobody_honest_stores_are_faults() {
    let table = table(4, 1);
    let mut writer = writer(&table, 0);
    let Written { cell, .. } = set(&mut writer, 1, 1).unwrap();
    let word = table.memory.cell(cell).unwrap();
    let good = word.load(Ordering::Relaxed);
    for bad in [CellWord::of(1, 0xf_ffff).word(), CellWord::of(2, 0).word(), u64::MAX, 1] {
        word.store(bad, Ordering::Relaxed);
        let key = KeyWords::number(1);
        assert_eq!(table.find(&key), Err(Fault::Corrupt), "{bad:#x}");
        assert!(set(&mut writer, 1, 2).is_err());
    }
    word.store(good, Ordering::Relaxed);
    let slot = table.slot(CellWord::from_word(good).slot()).unwrap();
    slot.meta.store(17, Ordering::Relaxed);
    assert_eq!(table.read(cell, &mut [0; 2]), Err(Fault::Corrupt));
}

#[test]
fn slots_of_the_gone_go_to_who_needs_them() {
    let table = table(2, 3);
    let (mut one, mut two) = (writer(&table, 0), writer(&table, 1));
    set(&mut one, 1, 1).unwrap();
    set(&mut two, 1, 2).unwrap();
    set(&mut two, 2, 1).unwrap();
    // The first writer is gone without a word; its slots name it.
    let gone = one.me;
    drop(one);
    table.settle(gone).unwrap();
    let mut three = Writer::new(table.clone(), tenancy(2, 1));
    three.take_from_the_gone(|owner| owner == gone).unwrap();
    assert!(three.is_supplied());
    check_slots(&table, &[&two, &three]);
    assert_eq!(set(&mut three, 2, 3).unwrap().version, 2);
    assert_eq!((get(&table, 1), get(&table, 2)), (Some((2, 2)), Some((2, 3))));
}

#[test]
fn writers_and_readers_of_few_keys_lose_and_tear_nothing() {
    const WRITES: u64 = if cfg!(miri) { 100 } else { 20_000 };
    let table = table(4, 3);
    let done = AtomicBool::new(false);
    let writers: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|seat| {
                let table = table.clone();
                scope.spawn(move || {
                    let mut writer = writer(&table, seat);
                    for number in 0..WRITES {
                        set(&mut writer, number % 4, number).unwrap();
                    }
                    writer
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let mut last = [0; 4];
            while !done.load(Ordering::Relaxed) {
                for key in 0..4_u64 {
                    let index = usize::try_from(key).unwrap();
                    if let Some((version, number)) = get(&table, key) {
                        assert!(version >= last[index] && number % 4 == key);
                        last[index] = version;
                    }
                }
            }
        });
        let writers: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        writers
    });
    let versions: u64 = (0..4).map(|key| get(&table, key).unwrap().0).sum();
    assert_eq!(versions, 3 * WRITES);
    check_slots(&table, &writers.iter().collect::<Vec<_>>());
}
