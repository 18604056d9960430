//! The file behind a bus: what it is, whose it is, who may write to it, and whether it is of any use.
//!
//! /dev/shm is open to everybody, so anything may be where a bus is looked for.

use super::Finding;
use super::remedy::{Remedy, unused_segment};
use std::fs::{self, FileType, Metadata};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;

const CHECK: &str = "segment";

/// The file that a bus of this name has.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/busway.{name}"))
}

/// What lies there, a symbolic link for itself; `None`: nothing.
pub fn metadata(name: &str) -> Option<Metadata> {
    fs::symlink_metadata(path(name)).ok()
}

/// What can be told from outside.
pub fn look_at_it(name: &str, meta: &Metadata) -> Vec<Finding> {
    if !meta.is_file() {
        let kind = kind(meta.file_type());
        let remove = if meta.is_dir() { "rm -r" } else { "rm" };
        return vec![
            Finding::wrong(
                CHECK,
                format!("{kind} of uid {} has the name of bus {name:?}", meta.uid()),
            )
            .because("as long as it is there nobody can make a bus of this name, nor attach to one")
            .so(format!(
                "ask its owner what it is for; `{remove} {}` removes it. --fix leaves it, since \
                 nobody can tell here who uses it",
                path(name).display()
            )),
        ];
    }
    let mut findings = Vec::new();
    if meta.nlink() != 1 {
        findings.push(
            Finding::wrong(
                CHECK,
                format!("the file of bus {name:?} has {} names instead of one", meta.nlink()),
            )
            .because("`rm` takes one name away: the memory stays, and so does a way in")
            .so(format!("find /dev/shm -inum {} shows the others", meta.ino())),
        );
    }
    if meta.mode() & 0o002 != 0 {
        findings.push(
            Finding::note(
                CHECK,
                format!("everybody may write to bus {name:?} (mode {:04o})", meta.mode() & 0o7777),
            )
            .because(
                "any user of this host may publish, kick, overwrite what is on it, and cut it short",
            )
            .so(format!(
                "chmod o-w {}, or `create --mode 0660 --group GROUP`",
                path(name).display()
            )),
        );
    }
    let ourselves = rustix::process::geteuid().as_raw();
    if meta.uid() != ourselves && meta.uid() != 0 {
        findings.push(
            Finding::note(CHECK, format!("bus {name:?} belongs to uid {}", meta.uid()))
                .because("its owner may write anything to it, and take it away, at any time")
                .so("use it if you trust that user"),
        );
    }
    findings
}

/// Whether the file's owner is who the header says has made it.
pub fn look_at_owner(name: &str, meta: &Metadata, creator_uid: u32) -> Option<Finding> {
    (meta.uid() != creator_uid).then(|| {
        Finding::wrong(
            CHECK,
            format!(
                "bus {name:?} says that uid {creator_uid} made it, and its file belongs to uid {}",
                meta.uid()
            ),
        )
        .because("somebody copied a bus under this name, or gave it to another user")
        .so("do not trust it before you know who did; `busctl rm` and `create` make another")
    })
}

/// A file that is no bus to this build.
pub fn look_at_unreadable(name: &str, meta: &Metadata, error: &busway::Error) -> Finding {
    match error.code() {
        "permission" => Finding::note(CHECK, error.to_string())
            .because("it belongs to somebody else, who chose so at create"),
        "incompatible" => Finding::wrong(CHECK, error.to_string())
            .because("another version made it; this one can neither read nor watch it")
            .so(format!(
                "use that version, or `busctl rm -f {name}` when nobody does. --fix leaves it, \
                 since programs of that version may"
            )),
        "corrupt" => {
            let finding = Finding::wrong(CHECK, error.to_string()).because(
                "it takes memory and nobody can attach; somebody has damaged it, or made it by \
                 other means and not to the end",
            );
            match unused_segment(meta) {
                Ok(proof) => finding
                    .so(format!("`busctl doctor --fix {name}`, or `busctl rm -f {name}`"))
                    .fixed_by(Remedy::remove_damaged(name, meta, proof)),
                Err(why) => finding.so(format!(
                    "`busctl rm -f {name}` once nobody needs it; --fix leaves it: {why}"
                )),
            }
        }
        _ => Finding::wrong(CHECK, format!("bus {name:?} cannot be looked at: {error}"))
            .because("nobody can tell what is in it")
            .so(format!("ls -l {}", path(name).display())),
    }
}

fn kind(kind: FileType) -> &'static str {
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}
