//! A live segment, read through the tables of docs/format.md.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use busway::Role;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::scratch::Name;
use super::tables::Format;

/// The fields that were looked at, by table.
pub type Seen = RefCell<BTreeSet<(String, String)>>;

/// A segment read by the page's tables.
pub struct Segment<'a> {
    pub format: &'a Format,
    pub file: File,
    seen: &'a Seen,
}

impl<'a> Segment<'a> {
    pub fn open(name: &Name, format: &'a Format, seen: &'a Seen) -> Self {
        let file = File::options().read(true).write(true).open(name.path()).unwrap();
        Self { format, file, seen }
    }

    /// The bytes of a field of the thing of kind `table` that starts at `base`.
    pub fn bytes(&self, table: &str, base: u64, field: &str) -> Vec<u8> {
        let row = self.format.field(table, field);
        self.seen.borrow_mut().insert((table.to_owned(), field.to_owned()));
        let mut bytes = vec![0; row.bytes];
        self.file.read_exact_at(&mut bytes, base + row.offset as u64).unwrap();
        bytes
    }

    /// The same as a number.
    pub fn number(&self, table: &str, base: u64, field: &str) -> u64 {
        let mut word = [0; 8];
        let bytes = self.bytes(table, base, field);
        word[..bytes.len()].copy_from_slice(&bytes);
        u64::from_le_bytes(word)
    }

    pub fn header(&self, field: &str) -> u64 {
        self.number("header", 0, field)
    }

    /// The word at an offset that the page gives by a formula.
    pub fn word(&self, offset: u64) -> u64 {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, offset).unwrap();
        u64::from_le_bytes(word)
    }

    pub fn control(&self, field: &str) -> u64 {
        self.number("control", self.header("control_offset"), field)
    }

    pub fn lane(&self, lane: u64, field: &str) -> u64 {
        let size = self.format.table("lane").bytes as u64;
        self.number("lane", self.header("heads_offset") + lane * size, field)
    }

    pub fn seat_base(&self, role: Role, index: u64) -> u64 {
        let first = if role == Role::Producer { 0 } else { self.header("lanes") };
        let control = self.format.table("control").bytes as u64;
        let size = self.format.table("seat").bytes as u64;
        self.header("control_offset") + control + (first + index) * size
    }

    pub fn seat(&self, role: Role, index: u64, field: &str) -> u64 {
        self.number("seat", self.seat_base(role, index), field)
    }

    pub fn row_base(&self, consumer: u64) -> u64 {
        self.header("cursors_offset") + consumer * self.header("row_bytes")
    }

    /// Whether bit `lane` of a set of four words is set.
    pub fn lane_bit(&self, field: &str, lane: usize) -> bool {
        let words = self.bytes("control", self.header("control_offset"), field);
        words[lane / 8] >> (lane % 8) & 1 == 1
    }

    /// Whether somebody holds the lock on a byte of the file.
    pub fn is_locked(&self, byte: i64) -> bool {
        let mut lock = libc::flock {
            l_type: libc::F_WRLCK.try_into().unwrap(),
            l_whence: libc::SEEK_SET.try_into().unwrap(),
            l_start: byte,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut lock)).unwrap();
        i32::from(lock.l_type) != libc::F_UNLCK
    }
}
