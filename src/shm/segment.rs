//! The file behind a bus: made whole before it has a name, opened with suspicion.
//!
//! A segment is created as an unnamed file (`O_TMPFILE`), allocated, filled, and only then linked
//! to its name, in one step that fails if the name is taken. A creator that dies before that step
//! leaves nothing; nobody ever sees half a bus. The file is the one that `shm_open` of the same
//! name opens. References: open(2), linkat(2), posix_fallocate(3), shm_overview(7).

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FallocateFlags, OFlag, fallocate, open};
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, LinkatFlags, fchown, linkat};
use zerocopy::{FromZeros, IntoBytes};

use super::mapping::Access;
use super::name::{self, OF_GROUP, PREFIX, SHM_DIR};
use super::trust::Owner;
use crate::crash::crash_point;
use crate::error::Error;
use crate::layout::header::{FIXED_BYTES, Header, HeaderError, RawHeader};
use crate::layout::table;

/// The least that is allocated at a time: what the kernel has to do anyway.
const PAGE_BYTES: i64 = 4096;

/// An open segment. Each attached end opens one of its own, since the proof of its life is a lock
/// that belongs to the open file description.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: File,
    pub(crate) name: String,
    /// Device and inode: tells this file from a later one of the same name.
    identity: (u64, u64),
    owner: Owner,
    /// Whose it has to be for this process to attach; `None`: whoever it has a reason to trust.
    expected_uid: Option<u32>,
}

/// 8-byte words of a new segment that all start as one value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    /// Offset of the first, in bytes.
    pub(crate) offset: u64,
    /// How many words.
    pub(crate) count: u64,
    pub(crate) value: u64,
}

/// What a new segment begins with. The rest is zeros.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<'a> {
    /// The whole segment.
    pub(crate) bytes: u64,
    /// Its fixed part, with its checksum.
    pub(crate) header: &'a [u8],
    /// The schema document, which follows.
    pub(crate) schema: &'a [u8],
    /// What is not zero in its regions.
    pub(crate) words: &'a [Words],
}

/// Who may use a new segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
}

impl Segment {
    /// Makes the bus's file with its header and the first words, and with no name: until
    /// [`link`](Self::link) it is gone when this value and its mappings go.
    ///
    /// # Errors
    /// `AlreadyExists`, `NoSpace`, `Permission` or `Io`.
    pub(crate) fn unnamed(name: &str, image: &Image<'_>, rights: Rights) -> Result<Self, Error> {
        let failed = |action| move |source: io::Error| Error::from_io(name, action, source);
        // Cheap and clear before anything is allocated; the link below is what decides.
        if name::path(name).symlink_metadata().is_ok() {
            return Err(Error::AlreadyExists { name: name.to_owned() });
        }
        let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let file: File = open(SHM_DIR, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(|errno| unsupported(name, "create a file in /dev/shm", errno))?
            .into();
        crash_point!(SegmentOpened);
        allocate(&file, name, image.bytes)?;
        crash_point!(SegmentAllocated);
        file.write_all_at(image.header, 0).map_err(failed("write the header of the bus"))?;
        file.write_all_at(image.schema, FIXED_BYTES)
            .map_err(failed("write the schema of the bus"))?;
        for words in image.words {
            fill(&file, *words).map_err(failed("write the first words of the bus"))?;
        }
        grant(&file, name, rights)?;
        // As its rights are now.
        Self::of(file, name)
    }

    /// Gives an unnamed segment its name, in one step. Comes last of all that may fail in making a
    /// bus, so that an error always means that there is none.
    ///
    /// # Errors
    /// `AlreadyExists`, `NoSpace`, `Permission` or `Io`.
    pub(crate) fn link(&self) -> Result<(), Error> {
        crash_point!(SegmentWritten);
        let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let target = name::path(&self.name);
        linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, &target, LinkatFlags::AT_SYMLINK_FOLLOW)
            .map_err(|errno| unsupported(&self.name, "name a file through /proc/self/fd", errno))?;
        crash_point!(SegmentNamed);
        Ok(())
    }

    /// Opens the bus's file.
    ///
    /// # Errors
    /// `NotFound`, `Permission`, `Corrupt` when it is not a regular file, or `Io`.
    pub(crate) fn open(name: &str, access: Access) -> Result<Self, Error> {
        let (flags, action) = match access {
            Access::Look | Access::Read => (OFlag::O_RDONLY, "read the bus"),
            Access::ReadWrite => (OFlag::O_RDWR, "attach to the bus"),
        };
        // Anybody may put a pipe where a bus is looked for, and opening one waits for its other end.
        // To a regular file the flag means nothing.
        let flags = flags | OFlag::O_NONBLOCK;
        let file = shm_open(name::posix(name).as_str(), flags, Mode::empty()).map_err(|errno| {
            match errno {
                // O_NOFOLLOW on a symbolic link; a directory opened for writing.
                Errno::ELOOP | Errno::EISDIR => not_regular(name),
                _ => Error::from_io(name, action, errno.into()),
            }
        })?;
        Self::of(file.into(), name)
    }

    /// Opens the same file again: a new description, with locks of its own.
    ///
    /// # Errors
    /// `NotFound` when the name is gone or stands for another bus by now; as `open` otherwise.
    pub(crate) fn reopen(&self, access: Access) -> Result<Self, Error> {
        let again = Self::open(&self.name, access)?;
        if again.identity == self.identity {
            Ok(Self { expected_uid: self.expected_uid, ..again })
        } else {
            Err(Error::NotFound { name: self.name.clone() })
        }
    }

    fn of(file: File, name: &str) -> Result<Self, Error> {
        let meta =
            file.metadata().map_err(|source| Error::from_io(name, "look at the bus", source))?;
        if !meta.is_file() {
            return Err(not_regular(name));
        }
        let (identity, owner) = ((meta.dev(), meta.ino()), Owner::of(&meta, name)?);
        Ok(Self { file, name: name.to_owned(), identity, owner, expected_uid: None })
    }

    /// From here on only this user's file will do.
    ///
    /// # Errors
    /// `Untrusted` when it is another's.
    pub(crate) fn expect_owner(&mut self, uid: u32) -> Result<(), Error> {
        self.expected_uid = Some(uid);
        self.check_owner()
    }

    /// Who may use it.
    pub(crate) fn rights(&self) -> Rights {
        self.owner.rights()
    }

    /// Refuses the segment of a group whose owner this process does not trust, given the bus's, which
    /// it does.
    ///
    /// # Errors
    /// `Untrusted`.
    pub(crate) fn check_owner_beside(&self, bus: &Self) -> Result<(), Error> {
        if self.owner.is_same_user(bus.owner) { Ok(()) } else { self.check_owner() }
    }

    /// Whether both are the same file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// Refuses a file whose owner this process does not trust: for who attaches.
    ///
    /// # Errors
    /// `Untrusted`.
    pub(crate) fn check_owner(&self) -> Result<(), Error> {
        self.owner.check(&self.name, self.expected_uid)
    }

    /// Reads and checks the header; returns it with the schema document.
    ///
    /// # Errors
    /// `Corrupt`, `Incompatible` or `Io`.
    pub(crate) fn header(&self) -> Result<(Header, Vec<u8>), Error> {
        match read_header(&self.file, &self.name, 0) {
            Err(Error::WrongKind { .. }) if read_table_header(&self.file, &self.name).is_err() => {
                Err(neither(&self.name))
            }
            read => read,
        }
    }

    /// Reads and checks the header of a table; returns it with the schema document.
    ///
    /// # Errors
    /// As `header`.
    pub(crate) fn table_header(&self) -> Result<(table::header::Header, Vec<u8>), Error> {
        match read_table_header(&self.file, &self.name) {
            Err(Error::WrongKind { .. }) if read_header(&self.file, &self.name, 0).is_err() => {
                Err(neither(&self.name))
            }
            read => read,
        }
    }

    /// Whether the bus's name still stands for this file. Where the system does not say, nothing
    /// shows that it does not.
    pub(crate) fn is_linked(&self) -> bool {
        !self.file.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }
}

/// Reads and checks a header that needs these `features`, at the start of a segment or of a board.
///
/// # Errors
/// `Corrupt`, `Incompatible` or `Io`.
pub(crate) fn read_header(
    file: &File,
    name: &str,
    features: u64,
) -> Result<(Header, Vec<u8>), Error> {
    let refused = |error| refused(name, "bus", error);
    let mut raw = RawHeader::new_zeroed();
    file.read_exact_at(raw.as_mut_bytes(), 0).map_err(|source| short(name, source))?;
    let schema = read_schema(file, name, raw.schema_bytes(features).map_err(refused)?)?;
    let header = raw.check(name, &schema, size(file)?, features).map_err(refused)?;
    Ok((header, schema))
}

/// The same of a table's header.
fn read_table_header(file: &File, name: &str) -> Result<(table::header::Header, Vec<u8>), Error> {
    let refused = |error| refused(name, "table", error);
    let mut raw = table::header::RawHeader::new_zeroed();
    file.read_exact_at(raw.as_mut_bytes(), 0).map_err(|source| short(name, source))?;
    let schema = read_schema(file, name, raw.schema_bytes().map_err(refused)?)?;
    let header = raw.check(name, &schema, size(file)?).map_err(refused)?;
    Ok((header, schema))
}

/// A header that says it is of the other kind, and is not a whole one of that kind either.
fn neither(name: &str) -> Error {
    let reason = "its header is neither a bus's nor a table's".to_owned();
    Error::Corrupt { name: name.to_owned(), reason }
}

/// A header that is not what was looked for.
fn refused(name: &str, wanted: &'static str, error: HeaderError) -> Error {
    let name = name.to_owned();
    match error {
        HeaderError::Corrupt(reason) => Error::Corrupt { name, reason },
        HeaderError::Incompatible(reason) => Error::Incompatible { name, reason },
        HeaderError::OtherKind => {
            let kind = if wanted == "bus" { "table" } else { "bus" };
            Error::WrongKind { name, kind, wanted }
        }
    }
}

/// A file that ends too early, or cannot be read.
fn short(name: &str, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::Corrupt {
            name: name.to_owned(),
            reason: "the file is shorter than a header".to_owned(),
        },
        _ => Error::Io { action: "read the segment header", source },
    }
}

fn read_schema(file: &File, name: &str, bytes: u32) -> Result<Vec<u8>, Error> {
    let mut schema = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_exact_at(&mut schema, FIXED_BYTES).map_err(|source| short(name, source))?;
    Ok(schema)
}

fn size(file: &File) -> Result<u64, Error> {
    let meta = file
        .metadata()
        .map_err(|source| Error::Io { action: "read the segment's size", source })?;
    Ok(meta.len())
}

/// Takes the name away. Whoever has the file open keeps it.
///
/// # Errors
/// `NotFound`, `Permission` or `Io`.
pub(crate) fn unlink(name: &str) -> Result<(), Error> {
    shm_unlink(name::posix(name).as_str())
        .map_err(|errno| Error::from_io(name, "remove the bus", errno.into()))
}

/// The names of the segments that belong to a bus, as `unlink` takes them, sorted.
///
/// # Errors
/// `Io` when the directory cannot be read.
pub(crate) fn list_of(bus: &str) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Io { action: "list shared memory", source };
    let mut names = Vec::new();
    for entry in fs::read_dir(SHM_DIR).map_err(failed)? {
        let file_name = entry.map_err(failed)?.file_name();
        let name = file_name.to_str().and_then(|text| text.strip_prefix(PREFIX));
        let belongs = |name: &&str| {
            name.split_once(OF_GROUP)
                .is_some_and(|(of, group)| of == bus && name::check_name(group).is_ok())
        };
        names.extend(name.filter(belongs).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// The names of all files that look like buses, sorted.
///
/// # Errors
/// `Io` when the directory cannot be read.
pub(crate) fn list() -> Result<Vec<String>, Error> {
    let failed = |source| Error::Io { action: "list shared memory", source };
    let mut names = Vec::new();
    for entry in fs::read_dir(SHM_DIR).map_err(failed)? {
        let file_name = entry.map_err(failed)?.file_name();
        let name = file_name.to_str().and_then(|text| text.strip_prefix(PREFIX));
        names.extend(name.filter(|name| name::check_name(name).is_ok()).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// An error of making a segment. A directory that is missing is not a bus that is missing.
fn unsupported(name: &str, action: &'static str, errno: Errno) -> Error {
    match errno {
        Errno::ENOENT | Errno::EOPNOTSUPP => Error::Io { action, source: errno.into() },
        _ => Error::from_io(name, "create the bus", errno.into()),
    }
}

/// Writes words, a page of them at a time.
fn fill(file: &File, words: Words) -> io::Result<()> {
    let page = [words.value.to_le(); 512];
    let mut written = 0_u64;
    while written < words.count {
        let count = (words.count - written).min(512);
        let bytes = usize::try_from(count * 8).unwrap_or(0);
        let chunk = page.as_bytes().get(..bytes).unwrap_or_default();
        file.write_all_at(chunk, words.offset + written * 8)?;
        written += count;
    }
    Ok(())
}

fn not_regular(name: &str) -> Error {
    Error::Corrupt { name: name.to_owned(), reason: "it is not a regular file".to_owned() }
}

/// Allocates every page now, so that a full /dev/shm is an error here and not a signal later.
fn allocate(file: &File, name: &str, bytes: u64) -> Result<(), Error> {
    let no_space = || Error::NoSpace { name: name.to_owned(), bytes };
    let length = i64::try_from(bytes).map_err(|_| no_space())?;
    // At this limit the kernel sends a signal that ends the process (SIGXFSZ), so it is not asked.
    // Where a sandbox does not say what the limit is, there is nothing to compare with.
    if getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(most, _)| most < bytes) {
        let action = "allocate the bus within the limit on the size of files (ulimit -f)";
        return Err(Error::Io { action, source: Errno::EFBIG.into() });
    }
    let (mut done, mut step) = (0, length);
    while done < length {
        let count = step.min(length - done);
        match fallocate(file, FallocateFlags::empty(), done, count) {
            Ok(()) => done += count,
            // A signal may interrupt a long allocation, and on older kernels tmpfs then takes back
            // what the call had got: with signals all the time the same call would never end.
            // Shorter and shorter steps get through between two signals.
            Err(Errno::EINTR) => step = (step / 2).max(PAGE_BYTES),
            Err(Errno::ENOSPC | Errno::ENOMEM | Errno::EFBIG) => return Err(no_space()),
            Err(errno) => return Err(Error::from_io(name, "allocate the bus", errno.into())),
        }
    }
    Ok(())
}

/// Sets group and mode exactly as asked for, whatever the umask.
fn grant(file: &File, name: &str, rights: Rights) -> Result<(), Error> {
    if let Some(group) = rights.group {
        fchown(file, None, Some(Gid::from_raw(group)))
            .map_err(|errno| Error::from_io(name, "give a group to the bus", errno.into()))?;
    }
    fchmod(file, Mode::from_bits_truncate(rights.mode))
        .map_err(|errno| Error::from_io(name, "set the mode of the bus", errno.into()))
}
