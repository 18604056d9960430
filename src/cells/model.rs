//! The cells under `loom`: every interleaving and every permitted staleness of a few operations, and
//! participants that stop for ever at each of their steps in turn (`lane::model::life`).
//!
//! A value is one word, and the time that it was written is the same number, so that a torn copy shows.
//! Models that end quiet ask whose each slot is: in one cell, in one pool, or to be had from the gone.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test --release --lib -p busway cells::model`, with a target
//! directory of its own. `docs/models.md` lists what each model has been seen to catch.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use loom::thread;

use super::bell::Bell;
use super::key::KeyWords;
use super::read::Found;
use super::write::{Entry, Writer};
use super::{Cells, Memory, Plan};
use crate::lane::model::explore;
use crate::lane::model::life::{Life, explore_deaths, until_death};
use crate::layout::table::words::{BellWords, CellWord, DeskWords, stamp, tenancy};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

const SLOT_WORDS: usize = 5 + 1 + 1;
const KEY: u64 = 7;

/// Another key whose search begins at the same of two cells.
fn other() -> u64 {
    let first = |key: u64| KeyWords::number(key).hash(1) % 2;
    (KEY + 1..).find(|key| first(*key) == first(KEY)).unwrap()
}

/// The words of a small table.
struct Words {
    cells: Vec<AtomicU64>,
    slots: Vec<Vec<AtomicU64>>,
    desks: Vec<DeskWords>,
    keys: AtomicU64,
    bell: BellWords,
    /// Touched before each access that two may race for: loom tries both orders of two accesses only if
    /// nobody, not even one of the two, touched the word in between. Relaxed, it orders nothing that a
    /// model could rely on.
    step: AtomicU64,
}

/// Leads one participant to the words. Loom learns nothing from a plain `Arc`.
#[derive(Clone)]
struct Shared {
    words: Arc<Words>,
    life: Life,
}

struct Desk<'a>(&'a Shared, usize);

impl Shared {
    fn step(&self) {
        self.life.step();
        self.words.step.fetch_add(1, Ordering::Relaxed);
    }
}

impl Deref for Desk<'_> {
    type Target = DeskWords;

    fn deref(&self) -> &DeskWords {
        self.0.step();
        &self.0.words.desks[self.1]
    }
}

impl Memory for Shared {
    type Desk<'a> = Desk<'a>;

    fn cell(&self, cell: u32) -> Option<&AtomicU64> {
        self.step();
        self.words.cells.get(cell as usize)
    }

    fn slot(&self, slot: u32) -> Option<&[AtomicU64]> {
        self.step();
        self.words.slots.get(slot as usize).map(Vec::as_slice)
    }

    fn desk(&self, seat: u32) -> Option<Desk<'_>> {
        Some(Desk(self, seat as usize))
    }

    fn keys(&self) -> &AtomicU64 {
        self.life.step();
        &self.words.keys
    }
}

fn zeros(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

fn desk() -> DeskWords {
    DeskWords {
        at: AtomicU64::new(0),
        new: AtomicU64::new(0),
        old: AtomicU64::new(0),
        replaces: AtomicU64::new(0),
        writes: AtomicU64::new(0),
        retries: AtomicU64::new(0),
        _rest: [AtomicU64::new(0), AtomicU64::new(0)],
    }
}

/// A table of so many cells, slots and writers, each of which keeps one slot.
fn table(cells: u32, slots: u32, writers: u32) -> Cells<Shared> {
    let words = Words {
        cells: zeros(cells as usize),
        slots: (0..slots).map(|_| zeros(SLOT_WORDS)).collect(),
        desks: (0..writers).map(|_| desk()).collect(),
        keys: AtomicU64::new(0),
        step: AtomicU64::new(0),
        bell: BellWords { waits: AtomicU32::new(0), doorbell: AtomicU32::new(0) },
    };
    let plan = Plan { cells, slots, writers, keys: 2, spare: 1, key_words: 1, value_bytes: 8 };
    Cells { memory: Shared { words: Arc::new(words), life: Life::without_end() }, plan }
}

fn mortal(table: &Cells<Shared>, life: &Life) -> Cells<Shared> {
    let memory = Shared { words: Arc::clone(&table.memory.words), life: life.clone() };
    Cells { memory, plan: table.plan }
}

fn me(seat: u32) -> u64 {
    tenancy(seat, 1)
}

fn writer(table: &Cells<Shared>, seat: u32) -> Writer<Shared> {
    let mut writer = Writer::new(table.clone(), me(seat));
    writer.take_free(u32::MAX);
    writer
}

/// Writes a number; returns the version.
fn set(writer: &mut Writer<Shared>, key: u64, number: u64) -> u64 {
    let value = number.to_le_bytes();
    let key = KeyWords::number(key);
    let entry = Entry { key, time_ns: number, pid: 0, value: Some(&value) };
    writer.put(&entry, None, None).unwrap().version
}

/// Version and number of a key, checked to be of one write; `None` when it has no cell.
fn get(table: &Cells<Shared>, key: u64) -> Option<(u64, u64)> {
    let Found::At(cell, _) = table.find(&KeyWords::number(key)).unwrap() else {
        return None;
    };
    let mut value = [0];
    let seen = table.read(cell, &mut value).unwrap().unwrap();
    assert_eq!(seen.time_ns, value[0], "a torn value");
    assert_eq!(seen.key, KeyWords::number(key), "another key's value");
    Some((seen.version, value[0]))
}

/// All is quiet: the slots in cells, each of one cell alone.
fn slots_in_cells(table: &Cells<Shared>) -> BTreeSet<u32> {
    let mut slots = BTreeSet::new();
    for cell in 0..table.plan.cells {
        let word = table.load(cell).unwrap();
        assert!(word.is_empty() || slots.insert(word.slot()), "a slot in two cells");
    }
    slots
}

/// All is quiet: every slot has one place.
fn check_slots(table: &Cells<Shared>, writers: &[&Writer<Shared>]) {
    let mut slots = slots_in_cells(table);
    for slot in writers.iter().flat_map(|writer| &writer.pool) {
        assert!(slots.insert(*slot), "slot {slot} is in two places");
    }
}

/// All is quiet: so does every slot of those that are gone, and none is lost.
fn check_all_slots(table: &Cells<Shared>, writers: &[&Writer<Shared>], gone: &[u64]) {
    for dead in gone {
        table.settle(*dead).unwrap();
    }
    let mut heir = Writer::new(table.clone(), me(table.plan.writers - 1));
    heir.cells.plan.spare = usize::MAX;
    heir.take_from_the_gone(|owner| gone.contains(&owner)).unwrap();
    let all: Vec<_> = writers.iter().copied().chain([&heir]).collect();
    check_slots(table, &all);
    let held = all.iter().map(|writer| writer.pool.len()).sum::<usize>();
    assert_eq!(held + slots_in_cells(table).len(), table.plan.slots as usize, "a slot is lost");
}

#[test]
fn two_writers_of_one_key_are_ordered() {
    explore(Some(3), || {
        let table = table(1, 3, 2);
        let mut one = writer(&table, 0);
        set(&mut one, KEY, 1);
        one.take_free(u32::MAX);
        let thread = thread::spawn({
            let table = table.clone();
            move || {
                let mut two = writer(&table, 1);
                let version = set(&mut two, KEY, 20);
                (two, version)
            }
        });
        let version = set(&mut one, KEY, 10);
        let (two, other) = thread.join().unwrap();
        let last = if version > other { 10 } else { 20 };
        assert_eq!((version + other, get(&table, KEY)), (2 + 3, Some((3, last))));
        check_all_slots(&table, &[&one, &two], &[]);
    });
}

#[test]
fn copy_of_a_value_is_whole_and_versions_never_go_back() {
    explore(Some(3), || {
        let table = table(1, 2, 1);
        let mut one = writer(&table, 0);
        set(&mut one, KEY, 1);
        one.take_free(u32::MAX);
        let thread = thread::spawn(move || {
            set(&mut one, KEY, 2);
            set(&mut one, KEY, 3);
        });
        let (first, number) = get(&table, KEY).unwrap();
        assert_eq!(first, number);
        let (second, number) = get(&table, KEY).unwrap();
        assert!(second == number && first <= second);
        thread.join().unwrap();
        assert_eq!(get(&table, KEY), Some((3, 3)));
    });
}

#[test]
fn copy_is_whole_when_its_slot_goes_to_another_key() {
    explore(Some(3), || {
        let table = table(2, 3, 1);
        let mut one = writer(&table, 0);
        set(&mut one, KEY, 1);
        one.take_free(u32::MAX);
        set(&mut one, other(), 1);
        one.take_free(u32::MAX);
        let thread = thread::spawn(move || {
            set(&mut one, KEY, 2);
            set(&mut one, other(), 2);
        });
        let (version, number) = get(&table, KEY).unwrap();
        assert_eq!(version, number);
        thread.join().unwrap();
        assert_eq!((get(&table, KEY), get(&table, other())), (Some((2, 2)), Some((2, 2))));
    });
}

#[test]
fn key_that_two_insert_at_once_has_one_cell() {
    explore(Some(3), || {
        let table = table(2, 4, 2);
        let thread = thread::spawn({
            let table = table.clone();
            move || {
                let mut two = writer(&table, 1);
                let version = set(&mut two, KEY, 20);
                (two, version)
            }
        });
        let mut one = writer(&table, 0);
        let version = set(&mut one, KEY, 10);
        let (two, other) = thread.join().unwrap();
        let last = if version > other { 10 } else { 20 };
        assert_eq!((version + other, get(&table, KEY)), (1 + 2, Some((2, last))));
        assert_eq!(table.count(), Ok(1));
        assert_eq!(table.memory.words.keys.load(Ordering::Relaxed), 1);
        check_all_slots(&table, &[&one, &two], &[]);
    });
}

#[test]
fn two_keys_inserted_at_once_are_both_found() {
    explore(Some(3), || {
        let table = table(2, 4, 2);
        let thread = thread::spawn({
            let table = table.clone();
            move || {
                let mut two = writer(&table, 1);
                set(&mut two, other(), 20);
                two
            }
        });
        let mut one = writer(&table, 0);
        set(&mut one, KEY, 10);
        let two = thread.join().unwrap();
        assert_eq!((get(&table, KEY), get(&table, other())), (Some((1, 10)), Some((1, 20))));
        check_all_slots(&table, &[&one, &two], &[]);
    });
}

/// A watcher that has seen no change goes to sleep; whether it would be woken.
fn listens_and_looks(table: &Cells<Shared>) -> Option<u32> {
    let bell = Bell::of(&table.memory.words.bell);
    let rung = bell.listen();
    // Its half of the barrier: outside of loom a membarrier.
    fence(Ordering::SeqCst);
    (table.load(0).unwrap().version() == 1).then_some(rung)
}

fn sets_and_rings(writer: &mut Writer<Shared>) {
    set(writer, KEY, 2);
    fence(Ordering::SeqCst);
    let bell = Bell::of(&writer.cells.memory.words.bell);
    if bell.is_awaited() {
        bell.ring();
    }
}

#[test]
fn watcher_that_parks_is_rung_for_or_sees_the_change() {
    explore(Some(3), || {
        let table = table(1, 2, 1);
        let mut one = writer(&table, 0);
        set(&mut one, KEY, 1);
        one.take_free(u32::MAX);
        let watchers: Vec<_> = (0..2)
            .map(|_| {
                let table = table.clone();
                thread::spawn(move || listens_and_looks(&table))
            })
            .collect();
        sets_and_rings(&mut one);
        for watcher in watchers {
            if let Some(slept_on) = watcher.join().unwrap() {
                let doorbell = table.memory.words.bell.doorbell.load(Ordering::Relaxed);
                assert_ne!(doorbell, slept_on, "it would sleep on");
            }
        }
    });
}

#[test]
fn writer_that_dies_anywhere_leaves_a_value_and_every_slot() {
    explore_deaths(Some(2), |life| {
        // With two slots in its pool, what the one who lives has replaced stays its own for a while.
        let mut table = table(1, 6, 3);
        table.plan.spare = 2;
        let mut two = writer(&table, 1);
        set(&mut two, KEY, 1);
        two.take_free(u32::MAX);
        let dies = mortal(&table, life);
        let thread = thread::spawn(move || {
            until_death(|| {
                let mut one = writer(&dies, 0);
                set(&mut one, KEY, 10);
                set(&mut one, KEY, 11);
            });
        });
        let version = set(&mut two, KEY, 20);
        thread.join().unwrap();
        let (last, number) = get(&table, KEY).unwrap();
        assert!(version == last && number == 20 || version < last && last <= 4);
        // The key is nobody's. Now the desk of who lives names the last of these alone.
        assert_eq!(set(&mut two, KEY, 30), last + 1);
        check_all_slots(&table, &[&two], &[me(0)]);
    });
}

#[test]
fn writer_that_dies_inserting_anywhere_keeps_nobody_from_the_key() {
    explore_deaths(Some(2), |life| {
        let table = table(2, 4, 3);
        let dies = mortal(&table, life);
        let thread = thread::spawn(move || {
            until_death(|| set(&mut writer(&dies, 0), KEY, 10));
        });
        let mut two = writer(&table, 1);
        let version = set(&mut two, KEY, 20);
        thread.join().unwrap();
        let (last, number) = get(&table, KEY).unwrap();
        assert!((version == last) == (number == 20));
        assert_eq!(table.count(), Ok(1));
        check_all_slots(&table, &[&two], &[me(0)]);
    });
}

#[test]
fn writer_that_replaces_what_a_dead_one_wrote_dies_as_well() {
    explore_deaths(Some(2), |life| {
        let table = table(1, 4, 4);
        let mut first = writer(&table, 2);
        set(&mut first, KEY, 1);
        first.give_back();
        // Made its value the cell's, and died before it took what was there.
        let mut dead = writer(&table, 0);
        let (new, old) = (*dead.pool.front().unwrap(), table.load(0).unwrap());
        set(&mut dead, KEY, 2);
        table.slot(old.slot()).unwrap().owner.store(me(2), Ordering::Relaxed);
        assert_eq!(table.load(0), Ok(CellWord::of(2, new)));

        let dies = mortal(&table, life);
        let thread = thread::spawn(move || {
            until_death(|| set(&mut writer(&dies, 1), KEY, 3));
        });
        table.settle(me(0)).unwrap();
        thread.join().unwrap();
        check_all_slots(&table, &[], &[me(0), me(1)]);
    });
}

#[test]
fn recoverer_that_dies_anywhere_is_followed_by_the_next() {
    explore_deaths(Some(2), |life| {
        let table = table(1, 4, 5);
        let mut first = writer(&table, 2);
        set(&mut first, KEY, 1);
        first.give_back();
        let mut dead = writer(&table, 0);
        let old = table.load(0).unwrap();
        set(&mut dead, KEY, 2);
        table.slot(old.slot()).unwrap().owner.store(me(2), Ordering::Relaxed);
        let mut lives = writer(&table, 1);

        let dies = mortal(&table, life);
        let thread = thread::spawn(move || {
            until_death(|| {
                dies.settle(me(0)).unwrap();
                let mut heir = Writer::new(dies, me(3));
                heir.take_from_the_gone(|owner| owner == me(0)).unwrap();
            });
        });
        set(&mut lives, KEY, 3);
        thread.join().unwrap();
        assert_eq!(get(&table, KEY), Some((3, 3)));
        check_all_slots(&table, &[&lives], &[me(0), me(3)]);
    });
}

#[test]
fn slots_of_the_gone_are_claimed_by_one_while_others_are_replaced() {
    explore(Some(3), || {
        let table = table(1, 4, 4);
        let mut gone = writer(&table, 0);
        set(&mut gone, KEY, 1);
        let mut lives = writer(&table, 1);
        let heir = thread::spawn({
            let table = table.clone();
            move || {
                let mut heir = Writer::new(table, me(2));
                heir.cells.plan.spare = usize::MAX;
                heir.take_from_the_gone(|owner| owner == me(0)).unwrap();
                heir
            }
        });
        // Takes the slot of the one who is gone out of the cell, and writes into it.
        set(&mut lives, KEY, 2);
        set(&mut lives, KEY, 3);
        let heir = heir.join().unwrap();
        assert_eq!(get(&table, KEY), Some((3, 3)));
        check_slots(&table, &[&lives, &heir]);
        let stamped = table.slot(table.load(0).unwrap().slot()).unwrap().stamp;
        assert_eq!(stamped.load(Ordering::Relaxed), stamp(3, 0));
    });
}

#[test]
fn slot_that_comes_back_into_a_cell_by_one_who_then_goes_is_not_claimed() {
    explore(Some(2), || {
        let mut table = table(2, 5, 3);
        table.plan.keys = 3;
        let starts_at = |cell: u64| {
            let key = |key: &u64| KeyWords::number(*key).hash(1) % 2 == cell;
            (0..).find(key).unwrap()
        };
        let (low, high) = (starts_at(0), starts_at(1));
        let mut gone = writer(&table, 0);
        for key in [low, high] {
            set(&mut gone, key, 1);
            gone.take_free(u32::MAX);
        }
        gone.give_back();
        let mut leaves = writer(&table, 1);
        let left = Arc::new(AtomicU32::new(0));
        let thread = thread::spawn({
            let (table, left) = (table.clone(), Arc::clone(&left));
            move || {
                let mut heir = Writer::new(table, me(2));
                heir.cells.plan.spare = usize::MAX;
                let is_gone =
                    |owner| owner == me(0) || (owner == me(1) && left.load(Ordering::Acquire) == 1);
                heir.take_from_the_gone(is_gone).unwrap();
                heir
            }
        });
        // Takes the slot of the higher cell, writes it into the lower one, and leaves.
        set(&mut leaves, high, 2);
        set(&mut leaves, low, 2);
        leaves.give_back();
        left.store(1, Ordering::Release);
        let heir = thread.join().unwrap();
        assert_eq!((get(&table, low), get(&table, high)), (Some((2, 2)), Some((2, 2))));
        check_slots(&table, &[&heir]);
    });
}

#[test]
fn watcher_is_rung_for_although_another_keys_writer_has_just_rung() {
    explore(Some(3), || {
        let table = table(1, 2, 1);
        let mut one = writer(&table, 0);
        set(&mut one, KEY, 1);
        one.take_free(u32::MAX);
        // Somebody has waited there before.
        table.memory.words.bell.waits.store(1, Ordering::Relaxed);
        let watcher = thread::spawn({
            let table = table.clone();
            move || listens_and_looks(&table)
        });
        // Of a key that shares the bell and is none of the watcher's.
        let other = thread::spawn({
            let table = table.clone();
            move || {
                let bell = Bell::of(&table.memory.words.bell);
                if bell.is_awaited() {
                    bell.ring();
                }
            }
        });
        sets_and_rings(&mut one);
        other.join().unwrap();
        if let Some(slept_on) = watcher.join().unwrap() {
            let doorbell = table.memory.words.bell.doorbell.load(Ordering::Relaxed);
            assert_ne!(doorbell, slept_on, "it would sleep on");
        }
    });
}

#[test]
fn slots_of_the_gone_go_to_one_of_two_claimers() {
    explore(Some(2), || {
        let table = table(1, 3, 3);
        let mut gone = writer(&table, 0);
        set(&mut gone, KEY, 1);
        gone.take_free(u32::MAX);
        let claim = |seat| {
            let mut heir = Writer::new(table.clone(), me(seat));
            move || {
                heir.cells.plan.spare = usize::MAX;
                heir.take_from_the_gone(|owner| owner == me(0)).unwrap();
                heir
            }
        };
        let other = thread::spawn(claim(2));
        let one = claim(1)();
        check_slots(&table, &[&one, &other.join().unwrap()]);
    });
}
