//! The daemon's listening sockets, each as a file with the mode that was asked for.
//!
//! It is bound under a second name, given its mode and group, and renamed into place, so that
//! clients never see it with other rights and a socket that a killed daemon left is replaced in
//! one step. The caller holds the directory's lock: what lies there cannot be in use.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Removes the socket's name when dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
}

/// Binds the socket for HTTP; what comes back does not block.
///
/// # Errors
/// When something that is no socket has the name, or the system refuses.
pub fn bind(path: &Path, mode: u32, group: Option<u32>) -> io::Result<(UnixListener, SocketFile)> {
    let (listener, file) = place(path, mode, group, |draft| UnixListener::bind(draft))?;
    listener.set_nonblocking(true)?;
    Ok((listener, file))
}

/// Binds the socket for packets; what comes back does not block.
///
/// # Errors
/// As [`bind`].
pub fn bind_packets(
    path: &Path,
    mode: u32,
    group: Option<u32>,
) -> io::Result<(OwnedFd, SocketFile)> {
    place(path, mode, group, |draft| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(draft)?)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    })
}

fn place<T>(
    path: &Path,
    mode: u32,
    group: Option<u32>,
    bind: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<(T, SocketFile)> {
    // Shorter than the real names, so that the path fits whenever the real one does.
    let draft = path.with_file_name("busd.new");
    for name in [path, &draft] {
        remove_stale(name)?;
    }
    // Before the file, which is there already when listening fails.
    let mut file = SocketFile { path: draft.clone() };
    let listener = bind(&draft)?;
    if group.is_some() {
        std::os::unix::fs::chown(&draft, None, group)?;
    }
    fs::set_permissions(&draft, fs::Permissions::from_mode(mode))?;
    fs::rename(&draft, path)?;
    path.clone_into(&mut file.path);
    Ok((listener, file))
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} exists and is not a socket", path.display()),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
