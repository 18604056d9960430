//! A client that speaks the protocol by hand, and does with what it gets whatever the kernel lets it.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use busway::host;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{SealFlags, fcntl_add_seals};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_json::{Value, json};

/// One connection.
pub struct Raw {
    pub socket: OwnedFd,
    requests: u64,
}

/// Memory that was mapped for writing.
pub struct Memory {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: an address range, reached only as atomics.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Raw {
    pub fn connect(path: &Path) -> Self {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        Self { socket, requests: 0 }
    }

    /// Connects and opens a bus; gives the board as well.
    pub fn open(path: &Path, bus: &str) -> (Self, File) {
        let mut raw = Self::connect(path);
        let (told, mut files) = raw.ask(json!({"open": {"version": 1, "bus": bus}}));
        assert!(told["opened"].is_object(), "{told}");
        (raw, files.pop().unwrap())
    }

    /// Sends a request and waits for its answer.
    #[allow(clippy::needless_pass_by_value)] // so that a document can be written where it is sent
    pub fn ask(&mut self, ask: Value) -> (Value, Vec<File>) {
        self.requests += 1;
        let packet = json!({"id": self.requests, "ask": ask}).to_string();
        host::send(&self.socket, packet.as_bytes(), &[]).unwrap();
        let (answer, files) = self.hear().expect("an answer");
        assert_eq!(answer["id"], self.requests, "{answer}");
        (answer["tell"].clone(), files)
    }

    /// The next packet; `None` when the broker has closed.
    pub fn hear(&self) -> Option<(Value, Vec<File>)> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        poll(&mut fds, None).unwrap();
        let (packet, files) = host::receive(&self.socket).ok()??;
        let files = files.into_iter().map(File::from).collect();
        Some((serde_json::from_slice(&packet).unwrap(), files))
    }

    /// Is lent a seat: bells, and its memory; mapped for writing and sealed, not yet told.
    pub fn borrow(&mut self, what: &str) -> (Memory, Memory, File) {
        let (told, mut files) = self.ask(json!({what: {"name": "raw"}}));
        assert!(told["lent"].is_object(), "{told}");
        let own = files.pop().unwrap();
        let bells = Memory::map(&files.pop().unwrap()).unwrap();
        let memory = Memory::map(&own).unwrap();
        fcntl_add_seals(&own, SealFlags::FUTURE_WRITE | SealFlags::SEAL).unwrap();
        (bells, memory, own)
    }

    /// The same, and is attached.
    pub fn attach(&mut self, what: &str) -> (Memory, Memory, File) {
        let lent = self.borrow(what);
        assert_eq!(self.ask(json!({"sealed": {}})).0, json!({"done": {}}));
        lent
    }

    pub fn leave(&mut self) {
        assert_eq!(self.ask(json!({"leave": {}})).0, json!({"done": {}}));
    }
}

impl Memory {
    /// Maps all of a file for writing.
    pub fn map(file: &File) -> nix::Result<Self> {
        let bytes = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let length = NonZeroUsize::new(bytes).unwrap();
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: no address is asked for, so no existing mapping is replaced.
        let base = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, file, 0)? };
        Ok(Self { base: base.cast(), bytes })
    }

    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping lives as long as this, is page-aligned, and has any bit pattern.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().cast(), self.bytes / 8) }
    }

    /// A lane's head, which is its first word.
    pub fn set_head(&self, head: u64) {
        self.words()[0].store(head, Ordering::Release);
    }

    /// Stores to every word.
    pub fn scribble(&self, seed: u64) {
        let mut value = seed;
        for word in self.words() {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            word.store(value, Ordering::Relaxed);
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping made above, whose references end with this value.
        unsafe { munmap(self.base.cast(), self.bytes).unwrap() };
    }
}

/// Opens what a descriptor leads to once more, for writing.
pub fn open_again(file: &File) -> File {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options().read(true).write(true).open(path).unwrap()
}
