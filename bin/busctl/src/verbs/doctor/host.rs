//! What the kernel has to say: shared memory, limits, processors, clock, membarrier.

use super::Finding;
use crate::units::format_bytes;
use rustix::process::{Resource, getrlimit};
use rustix::thread::{MembarrierCommand, membarrier_query};
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::time::Instant;

/// Where POSIX shared memory is on Linux (shm_overview(7)).
const SHM: &str = "/dev/shm";

/// The file system that shm_open needs: `TMPFS_MAGIC` of linux/magic.h.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Free shared memory below this is worth a word: some hundred buses of the default size fit.
const SHM_FREE_BYTES_MIN: u64 = 64 << 20;

/// A process needs one descriptor per bus and seat, and what it has open besides.
const DESCRIPTORS_MIN: u64 = 256;

/// A clock read slower than this is a system call (vDSO reads take 20 to 30 ns).
const CLOCK_READ_NS_MAX: u64 = 200;

/// Clock reads that are timed.
const CLOCK_READS: u32 = 1000;

pub fn look() -> Vec<Finding> {
    let mut findings = vec![look_at_shm()];
    findings.extend(look_at_limits());
    findings.push(look_at_processors());
    findings.push(look_at_clock());
    findings.push(look_at_membarrier());
    findings
}

fn look_at_shm() -> Finding {
    const CHECK: &str = "memory";
    let needs = "buses are POSIX shared memory, which lives there";
    let found = rustix::fs::statfs(SHM)
        .and_then(|kind| Ok((kind, rustix::fs::statvfs(SHM)?)))
        .and_then(|found| rustix::fs::access(SHM, writable()).map(|()| found));
    let (kind, space) = match found {
        Ok(found) => found,
        Err(error) => {
            return Finding::wrong(CHECK, format!("{SHM} cannot be used: {error}"))
                .because(needs)
                .so(format!("mount -t tmpfs -o mode=1777 tmpfs {SHM}"));
        }
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let all = space.f_blocks.saturating_mul(space.f_frsize);
    let (free_text, all_text) = (format_bytes(free), format_bytes(all));
    if u64::try_from(kind.f_type).ok() != Some(TMPFS_MAGIC) {
        return Finding::wrong(CHECK, format!("{SHM} is not a tmpfs"))
            .because("pages of another file system are written back to a disk, at its pace")
            .so(format!("mount -t tmpfs -o mode=1777 tmpfs {SHM}"));
    }
    if free < SHM_FREE_BYTES_MIN {
        return Finding::wrong(CHECK, format!("{SHM} has {free_text} free of {all_text}"))
            .because("`create` allocates a bus whole and fails when it does not fit")
            .so(format!(
                "ls -lS {SHM} shows who fills it; mount -o remount,size=… {SHM} makes it larger"
            ));
    }
    Finding::ok(CHECK, format!("{SHM} has {free_text} free of {all_text}"))
}

fn writable() -> rustix::fs::Access {
    rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK
}

fn look_at_limits() -> Vec<Finding> {
    const CHECK: &str = "limits";
    let mut findings = Vec::new();
    let limit = |resource| getrlimit(resource).current;
    if let Some(files) = limit(Resource::Nofile).filter(|files| *files < DESCRIPTORS_MIN) {
        findings.push(
            Finding::wrong(CHECK, format!("RLIMIT_NOFILE allows {files} open files"))
                .because("each open bus and each attached end takes a descriptor")
                .so("ulimit -n 1024, or LimitNOFILE= of the service"),
        );
    }
    if let Some(bytes) = limit(Resource::Fsize) {
        findings.push(
            Finding::wrong(CHECK, format!("RLIMIT_FSIZE allows files of {}", format_bytes(bytes)))
                .because("a bus is a file in shared memory, and a larger one is refused")
                .so("ulimit -f unlimited, or LimitFSIZE=infinity of the service"),
        );
    }
    if let Some(bytes) = limit(Resource::As) {
        findings.push(
            Finding::note(CHECK, format!("RLIMIT_AS allows {} of memory", format_bytes(bytes)))
                .because("every attached bus is mapped whole and counts")
                .so("ulimit -v unlimited, or LimitAS=infinity of the service"),
        );
    }
    if findings.is_empty() {
        let files = limit(Resource::Nofile);
        let files = files.map_or_else(|| String::from("unlimited"), |files| files.to_string());
        findings.push(Finding::ok(CHECK, format!("{files} open files, file size unlimited")));
    }
    findings
}

fn look_at_processors() -> Finding {
    const CHECK: &str = "processors";
    match std::thread::available_parallelism() {
        Ok(count) if count.get() == 1 => Finding::note(CHECK, "1 processor for this process")
            .because("an end that spins (`busy`) keeps the one it waits for from running")
            .so("use the wait strategies `parking` or `adaptive`"),
        Ok(count) => Finding::ok(CHECK, format!("{count} for this process")),
        Err(error) => Finding::note(CHECK, format!("cannot be counted: {error}")),
    }
}

fn look_at_clock() -> Finding {
    const CHECK: &str = "clock";
    let source = Path::new("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let source = std::fs::read_to_string(source).unwrap_or_default();
    let source = if source.is_empty() { "unknown source" } else { source.trim() };
    let start = Instant::now();
    let mut before = clock_gettime(ClockId::Monotonic);
    for _ in 1..CLOCK_READS {
        let now = clock_gettime(ClockId::Monotonic);
        if (now.tv_sec, now.tv_nsec) < (before.tv_sec, before.tv_nsec) {
            return Finding::wrong(CHECK, format!("CLOCK_MONOTONIC ({source}) ran backwards"))
                .because("frames carry its time: rates and latencies would be nonsense")
                .so("boot with another clocksource=; report it to the maker of this machine");
        }
        before = now;
    }
    let cost = start.elapsed() / CLOCK_READS;
    let cost_ns = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
    if cost_ns > CLOCK_READ_NS_MAX {
        return Finding::note(CHECK, format!("{source}, {cost_ns} ns a read"))
            .because("a read that slow is a system call, once per commit on a bus with timestamps")
            .so("boot with clocksource=tsc where the TSC is sound, or create --timestamps off");
    }
    Finding::ok(CHECK, format!("CLOCK_MONOTONIC by {source}, {cost_ns} ns a read"))
}

fn look_at_membarrier() -> Finding {
    const CHECK: &str = "membarrier";
    let query = membarrier_query();
    let wanted = [MembarrierCommand::GlobalExpedited, MembarrierCommand::RegisterGlobalExpedited];
    if wanted.iter().all(|command| query.contains_command(*command)) {
        return Finding::ok(CHECK, "global expedited: who sleeps pays, who publishes does not");
    }
    Finding::note(CHECK, "the kernel does not offer MEMBARRIER_CMD_GLOBAL_EXPEDITED")
        .because("every publish pays a full fence instead, some nanoseconds")
        .so("nothing is broken; a kernel since 4.16 without a seccomp filter for it has it")
}
