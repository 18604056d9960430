//! Who uses a file of /dev/shm: who has it open or mapped, and whether a seat in it is locked.
//!
//! A participant holds a lock on a byte of its segment from before it stores anything until the
//! kernel has released its last mapping, and /proc/locks lists such locks whoever holds them, in
//! whatever container. An observer, or a program that is just writing a segment by other means than
//! the library, holds none: those are looked for process by process, as far as this user may look.
//! References: proc_locks(5), proc_pid_maps(5), proc_pid_fd(5).

use crate::process::process_name;
use rustix::fs::{major, minor};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;

/// What was found out about a file.
#[derive(Debug, Default)]
pub struct Usage {
    /// Processes that have it open or mapped.
    pub users: Vec<u32>,
    /// Processes that were looked into.
    pub looked_into: usize,
    /// Processes that this user may not look into.
    pub closed: usize,
    pub locks: Locks,
}

/// How many locks there are on a file; `None` when this host does not list locks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Locks(Option<usize>);

impl Usage {
    /// Looks at every process of the host.
    pub fn of(file: &Metadata) -> io::Result<Self> {
        let mut usage = Self { locks: Locks::on(file), ..Self::default() };
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            match uses(pid, file) {
                Ok(true) => usage.users.push(pid),
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    usage.closed += 1;
                    continue;
                }
                // It has ended meanwhile.
                Err(_) => continue,
            }
            usage.looked_into += 1;
        }
        Ok(usage)
    }

    /// Why nobody uses the file, in words; `Err` with why that cannot be said.
    pub fn proof_of_none(&self) -> Result<String, String> {
        if !self.users.is_empty() {
            let named = self.users.iter().map(|pid| format!("{pid} ({})", process_name(*pid)));
            let named = named.collect::<Vec<_>>().join(", ");
            return Err(format!("open or mapped by pid {named}"));
        }
        let no_locks = self.locks.proof_of_none()?;
        let closed = match self.closed {
            0 => String::new(),
            count => format!(" ({count} closed to this user)"),
        };
        Ok(format!(
            "{no_locks}, and none of {} processes has it open or mapped{closed}",
            self.looked_into
        ))
    }
}

impl Locks {
    /// Counts them, whoever holds them.
    pub fn on(file: &Metadata) -> Self {
        let list = fs::read_to_string("/proc/locks");
        Self(list.ok().map(|list| count_locks(&list, file.dev(), file.ino())))
    }

    /// Why nobody takes part in the bus, in words; `Err` with why that cannot be said.
    pub fn proof_of_none(self) -> Result<String, String> {
        match self.0 {
            None => Err("this host does not list locks (/proc/locks)".to_owned()),
            Some(1..) => Err("a participant holds the lock of its seat".to_owned()),
            Some(0) => Ok("no seat is locked".to_owned()),
        }
    }
}

/// A line: `1: OFDLCK ADVISORY  WRITE -1 00:19:4711 256 256`.
fn count_locks(list: &str, dev: u64, ino: u64) -> usize {
    let wanted = format!("{:02x}:{:02x}:{ino}", major(dev), minor(dev));
    list.lines().filter(|line| line.split_whitespace().any(|word| word == wanted)).count()
}

fn uses(pid: u32, file: &Metadata) -> io::Result<bool> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    if is_mapped(&maps, file.dev(), file.ino()) {
        return Ok(true);
    }
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // Follows the link to what is open; that opens nothing.
        let open = fs::metadata(entry?.path());
        if open.is_ok_and(|open| (open.dev(), open.ino()) == (file.dev(), file.ino())) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A line: `7f12a000-7f12b000 rw-s 00000000 00:19 4711   /dev/shm/busway.imu`.
fn is_mapped(maps: &str, dev: u64, ino: u64) -> bool {
    let (device, inode) = (format!("{:02x}:{:02x}", major(dev), minor(dev)), ino.to_string());
    maps.lines().any(|line| {
        let mut words = line.split_whitespace().skip(3);
        words.next() == Some(&device) && words.next() == Some(&inode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::makedev;

    #[test]
    fn lines_of_proc_are_read_as_they_are() {
        let dev = makedev(0, 0x19);
        let locks = "1: POSIX  ADVISORY  WRITE 700 00:19:4711 0 EOF\n\
                     2: OFDLCK ADVISORY  WRITE -1 00:19:4711 256 256\n\
                     3: OFDLCK ADVISORY  WRITE -1 00:19:47110 256 256\n";
        assert_eq!(count_locks(locks, dev, 4711), 2);
        assert_eq!(count_locks(locks, dev, 711), 0);
        let maps = "7f12a000-7f12b000 rw-s 00000000 00:19 4711   /dev/shm/busway.a b (deleted)\n\
                    7f12c000-7f12d000 r--p 00000000 fe:01 99\n\
                    7f12e000-7f12f000 rw-p 00000000 00:00 0\n";
        assert!(is_mapped(maps, dev, 4711));
        assert!(is_mapped(maps, makedev(0xfe, 1), 99));
        assert!(!is_mapped(maps, dev, 99));
    }

    #[test]
    fn locks_are_proof_of_use_and_not_to_see_them_is_none_of_disuse() {
        let usage = |locks| Usage { locks: Locks(locks), looked_into: 1, ..Usage::default() };
        assert!(usage(Some(0)).proof_of_none().is_ok());
        assert!(usage(Some(1)).proof_of_none().unwrap_err().contains("lock of its seat"));
        assert!(usage(None).proof_of_none().unwrap_err().contains("/proc/locks"));
    }

    #[test]
    fn what_this_process_has_open_is_in_use() {
        let path = std::env::temp_dir().join(format!("t-{}-usage", std::process::id()));
        fs::write(&path, "x").unwrap();
        let meta = fs::metadata(&path).unwrap();
        let none = Usage::of(&meta).unwrap();
        assert!(none.users.is_empty() && none.looked_into > 0, "{none:?}");
        let open = fs::File::open(&path).unwrap();
        let one = Usage::of(&meta).unwrap();
        assert_eq!(one.users, [std::process::id()]);
        assert!(one.proof_of_none().unwrap_err().starts_with("open or mapped by pid "));
        drop(open);
        fs::remove_file(&path).unwrap();
    }
}
