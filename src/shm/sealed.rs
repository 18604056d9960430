//! Memory without a name that cannot be cut short: the regions of a brokered bus.
//!
//! A memfd is born with mode 0777 and can be opened again through `/proc/PID/fd` by whoever its mode
//! lets in, writable, whatever the descriptor was opened for. So each gets mode 0600 before anybody
//! else has it, and seals, which no mode and no user gets around (memfd_create(2), fcntl(2)):
//!
//! | seal | what is refused from then on, to everybody |
//! |---|---|
//! | shrink, grow | ftruncate: no SIGBUS for those who have it mapped |
//! | future-write | write, new writable mappings, making one writable, punching holes; a writable mapping that exists goes on |
//! | seal | any further seal |
//!
//! Its label is given at birth and cannot be changed, so it says which region this is better than
//! any bytes in it could, which its owner may write to.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{
    FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, fallocate, fchmod, fcntl_add_seals,
    fcntl_get_seals, fcntl_getfl, memfd_create,
};

use super::mapping::Access;

/// Permission bits of every region: its owner's alone.
const MODE: u32 = 0o600;

/// How far a region is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seals {
    /// Of one size for good; its owner has still to map it.
    Sized,
    /// Of one size for good, for all to write.
    Common,
    /// Nobody gets it writable any more. Who has it mapped so goes on.
    Owned,
}

impl Seals {
    fn flags(self) -> SealFlags {
        let sized = SealFlags::SHRINK | SealFlags::GROW;
        match self {
            Self::Sized => sized,
            Self::Common => sized | SealFlags::SEAL,
            Self::Owned => sized | SealFlags::FUTURE_WRITE | SealFlags::SEAL,
        }
    }
}

/// What a region that was received has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) label: &'a str,
    pub(crate) bytes: u64,
    pub(crate) seals: Seals,
    pub(crate) access: Access,
    /// Who made it.
    pub(crate) owner: u32,
}

/// Makes a region of zeros that is `Sized`, all of its memory allocated.
///
/// # Errors
/// Those of memfd_create(2) and fallocate(2).
pub(crate) fn create(label: &str, bytes: u64) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let made = match memfd_create(label, flags | MemfdFlags::NOEXEC_SEAL) {
        // A kernel before 6.3 does not know the flag.
        Err(rustix::io::Errno::INVAL) => memfd_create(label, flags),
        made => made,
    };
    let file = File::from(made?);
    fchmod(&file, Mode::from_raw_mode(MODE))?;
    loop {
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            // A signal may interrupt a long allocation; what was allocated stays.
            Err(rustix::io::Errno::INTR) => {}
            done => break done?,
        }
    }
    seal(&file, Seals::Sized)?;
    Ok(file)
}

/// Seals a region further.
///
/// # Errors
/// Those of fcntl(2): for instance that it is sealed against seals.
pub(crate) fn seal(file: &File, seals: Seals) -> io::Result<()> {
    Ok(fcntl_add_seals(file, seals.flags())?)
}

/// The same region through a descriptor that can neither write nor seal.
///
/// # Errors
/// Those of open(2).
pub(crate) fn read_only(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Looks whether a descriptor is the region that it is said to be. To be called before it is mapped.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn check(file: &File, expected: &Expected<'_>) -> Result<(), String> {
    let label = expected.label;
    let io = |error: io::Error| format!("region {label} cannot be looked at: {error}");
    let wrong = |what: String| Err(format!("region {label} {what}"));
    let target = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(io)?;
    if target.to_str() != Some(&format!("/memfd:{label} (deleted)")) {
        return wrong(format!("is something else: {}", target.display()));
    }
    let meta = file.metadata().map_err(io)?;
    if meta.len() != expected.bytes {
        return wrong(format!("has {} bytes, not {}", meta.len(), expected.bytes));
    }
    if meta.mode() & 0o7777 != MODE || meta.uid() != expected.owner {
        let (mode, uid) = (meta.mode() & 0o7777, meta.uid());
        let owner = expected.owner;
        return wrong(format!("is of uid {uid} with mode {mode:04o}, not of uid {owner}, 0600"));
    }
    // Not executable is one more seal where the kernel knows it, and harms nobody.
    let seals = fcntl_get_seals(file).map_err(|errno| io(errno.into()))? - SealFlags::EXEC;
    if seals != expected.seals.flags() {
        return wrong(format!("is sealed {seals:?}, not {:?}", expected.seals.flags()));
    }
    let opened = fcntl_getfl(file).map_err(|errno| io(errno.into()))? & OFlags::RWMODE;
    let wanted = match expected.access {
        Access::Look | Access::Read => OFlags::RDONLY,
        Access::ReadWrite => OFlags::RDWR,
    };
    if opened != wanted {
        return wrong(format!("is open for something else than {:?}", expected.access));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::layout::geometry::Region;
    use crate::shm::mapping::Mapping;

    const BYTES: u64 = 8192;
    const WHOLE: Region = Region { offset: 0, bytes: BYTES };

    fn own_uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn expected(label: &str, seals: Seals) -> Expected<'_> {
        let access = Access::ReadWrite;
        Expected { label, bytes: BYTES, seals, access, owner: own_uid() }
    }

    #[test]
    fn owned_region_is_writable_through_the_mapping_that_was_there_and_in_no_other_way() {
        let file = create("sealed-test-owned", BYTES).unwrap();
        let mapping = Mapping::new(&file, WHOLE, Access::ReadWrite).unwrap();
        seal(&file, Seals::Owned).unwrap();

        assert!(file.set_len(0).is_err() && file.set_len(2 * BYTES).is_err());
        assert!(file.write_at(b"x", 0).is_err());
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        assert!(fallocate(&file, punch, 0, 4096).is_err());
        assert!(Mapping::new(&file, WHOLE, Access::ReadWrite).is_err());
        assert!(fcntl_add_seals(&file, SealFlags::WRITE).is_err());
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let again = File::options().read(true).write(true).open(path).unwrap();
        assert!(Mapping::new(&again, WHOLE, Access::ReadWrite).is_err());
        assert!(again.write_at(b"x", 0).is_err());

        let word = crate::shm::mapping::SharedArray::at(&mapping, 0, 1).unwrap();
        word[0].store(7, crate::sync::Ordering::Relaxed);
        let mut read = [0; 8];
        read_only(&file).unwrap().read_exact_at(&mut read, 0).unwrap();
        assert_eq!(u64::from_le_bytes(read), 7);
    }

    #[test]
    fn read_only_descriptor_neither_writes_nor_seals() {
        let file = create("sealed-test-read", BYTES).unwrap();
        let reader = read_only(&file).unwrap();
        assert!(reader.write_at(b"x", 0).is_err());
        assert!(Mapping::new(&reader, WHOLE, Access::ReadWrite).is_err());
        assert!(fcntl_add_seals(&reader, SealFlags::SEAL).is_err());
        assert!(Mapping::new(&reader, WHOLE, Access::Read).is_ok());
    }

    #[test]
    fn region_that_is_not_what_was_said_is_refused_by_what_is_wrong() {
        let label = "sealed-test-check";
        let good = create(label, BYTES).unwrap();
        let sized = expected(label, Seals::Sized);
        assert_eq!(check(&good, &sized), Ok(()));
        let refused = |file: &File, expected: Expected<'_>, want: &str| {
            let text = check(file, &expected).unwrap_err();
            assert!(text.contains(want), "{text}");
        };
        refused(&good, expected("sealed-test-other", Seals::Sized), "something else");
        refused(&good, Expected { bytes: 4096, ..sized }, "8192 bytes, not 4096");
        refused(&good, Expected { owner: own_uid() + 1, ..sized }, "of uid");
        refused(&good, expected(label, Seals::Owned), "is sealed");
        refused(&good, expected(label, Seals::Common), "is sealed");
        refused(&read_only(&good).unwrap(), sized, "open for");
        fchmod(&good, Mode::from_raw_mode(0o640)).unwrap();
        refused(&good, sized, "mode 0640");
        let plain = File::open("/dev/null").unwrap();
        refused(&plain, sized, "something else: /dev/null");
        // One that nobody may write to is of no use to its owner.
        let frozen = create(label, BYTES).unwrap();
        fcntl_add_seals(&frozen, SealFlags::WRITE).unwrap();
        refused(&frozen, sized, "is sealed");
    }
}
