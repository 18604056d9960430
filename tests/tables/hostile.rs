//! A peer that scribbles or cuts: errors or wrong values, no panic, no hang, no end of the process.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use busway::{Marks, Table, TableError};

use crate::{Name, value};

/// A deterministic sequence of numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }
}

fn file(name: &str) -> std::fs::File {
    let path = format!("/dev/shm/busway.{name}");
    std::fs::File::options().read(true).write(true).open(path).unwrap()
}

/// Promise 6 (ARCHITECTURE.md), of tables.
#[test]
fn scribbled_table_brings_nobody_down() {
    let name = Name::new("scribbled");
    let table = Table::options().keys(8).value_bytes(32).writers(2).create(&name).unwrap();
    let mut writer = table.writer().attach().unwrap();
    let mut reader = table.reader().attach().unwrap();
    for key in 0..4 {
        writer.set_bytes(key, &value(key)).unwrap();
    }
    let (file, bytes) = (file(&name), table.info().segment_bytes);
    let mut random = Random(7);
    for round in 0..4000 {
        // Behind the header, a word of any kind.
        let at = 4096 + random.next() % (bytes - 4096) / 8 * 8;
        let word = match random.next() % 4 {
            0 => 0,
            1 => u64::MAX,
            2 => random.next() % 64,
            _ => random.next(),
        };
        file.write_all_at(&word.to_le_bytes(), at).unwrap();
        let key = round % 6;
        // Whatever comes of it is an answer.
        let _written = writer.set_bytes(key, &value(round));
        let _compared = writer.compare_and_set_bytes(key, 1, &value(round));
        let _removed = writer.remove(key);
        let _seen = reader.get(key).map(|entry| entry.map(|entry| entry.bytes().to_vec()));
        let _changed = reader.changed_since(&mut Marks::default(), |entry| {
            assert!(entry.bytes().len() <= 32);
        });
        let _waited = reader.wait(key, 3, Some(Duration::ZERO));
        if round % 64 == 0 {
            let _stat = table.stat();
            let _reclaimed = table.reclaim();
            let _attached = table.writer().attach();
        }
    }
}

/// Promise 6 (ARCHITECTURE.md), of tables.
#[test]
fn table_that_is_cut_short_is_an_error_wherever_it_is_cut() {
    let pages = Table::options().keys(64).value_bytes(200).size_bytes().unwrap() / 4096;
    for page in 0..pages {
        let name = Name::new(&format!("cut-{page}"));
        let table = Table::options().keys(64).value_bytes(200).create(&name).unwrap();
        let mut writer = table.writer().attach().unwrap();
        let mut reader = table.reader().attach().unwrap();
        for key in 0..32 {
            writer.set_bytes(key, &[7; 200]).unwrap();
        }
        file(&name).set_len(page * 4096).unwrap();
        let mut ends = Vec::new();
        for key in 0..64 {
            ends.extend(writer.set_bytes(key, &[8; 200]).err());
            ends.extend(reader.get(key).err());
        }
        let _stat = table.stat();
        let honest = [TableError::Truncated, TableError::Corrupt, TableError::Full { keys: 64 }];
        assert!(ends.iter().all(|end| honest.contains(end)), "page {page}: {ends:?}");
        assert!(ends.contains(&TableError::Truncated) || page > pages / 2, "page {page}");
        assert!(Table::open(&name).is_err());
    }
}

#[test]
fn forked_child_cannot_write_in_its_parents_name() {
    let name = Name::new("forked");
    let table = Table::options().create(&name).unwrap();
    let mut writer = table.writer().attach().unwrap();
    let mut reader = table.reader().attach().unwrap();
    writer.set_bytes(1, b"parent").unwrap();
    // SAFETY: the child does nothing but what is tried here, and ends by `_exit`.
    #[allow(unsafe_code)]
    let child = unsafe { nix::libc::fork() };
    if child == 0 {
        let refused = writer.set_bytes(1, b"child") == Err(TableError::Forked)
            && reader.get(1).err() == Some(TableError::Forked);
        drop(writer);
        // SAFETY: ends the process and nothing else.
        #[allow(unsafe_code)]
        unsafe {
            nix::libc::_exit(i32::from(!refused))
        };
    }
    let mut status = 0;
    // SAFETY: waits for the child that was just made; the place for its status is this process's.
    #[allow(unsafe_code)]
    let waited = unsafe { nix::libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    assert_eq!(writer.set_bytes(1, b"parent again"), Ok(2));
}
