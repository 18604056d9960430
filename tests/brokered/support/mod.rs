//! A broker in a thread of the test's process, on a socket of its own.

pub mod raw;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use busway::host::{self, Allow, Broker, Event, Peer, Session};
use busway::{Bus, BusOptions};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};

/// Long enough for the slowest machine; nothing waits for it unless something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running broker. Ends, and closes every connection, on drop.
pub struct Running {
    pub broker: Arc<Mutex<Broker>>,
    pub events: Arc<Mutex<Vec<Event>>>,
    socket: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A path for a socket that nobody else uses.
pub fn socket_path() -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("busway-t-{}-{number}.sock", std::process::id()))
}

/// A listening socket of packets.
pub fn listener(path: &Path) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    listen(&socket, 64).unwrap();
    socket
}

impl Running {
    pub fn start() -> Self {
        Self::start_as(Peer { pid: std::process::id(), ..Peer::default() })
    }

    /// A broker to which everybody looks like `peer`.
    pub fn start_as(peer: Peer) -> Self {
        Self::start_with(peer, |_, _| {})
    }

    /// A broker that does to its answers' descriptors whatever `tamper` does. It is given the answer.
    pub fn start_tampering(tamper: impl Fn(&str, &mut Vec<Arc<File>>) + Send + 'static) -> Self {
        Self::start_with(Peer { pid: std::process::id(), ..Peer::default() }, tamper)
    }

    fn start_with(peer: Peer, tamper: impl Fn(&str, &mut Vec<Arc<File>>) + Send + 'static) -> Self {
        let socket = socket_path();
        let listener = listener(&socket);
        let (broker, events) = (Arc::default(), Arc::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (ours, told, seen) = (Arc::clone(&broker), Arc::clone(&stop), Arc::clone(&events));
        let thread = std::thread::spawn(move || {
            let host = Host { broker: &ours, events: &seen, peer: &peer, tamper: &tamper };
            host.serve(&listener, &told);
        });
        Self { broker, events, socket, stop, thread: Some(thread) }
    }

    pub fn create(&self, options: &BusOptions, name: &str) {
        self.create_for(options, name, Vec::new());
    }

    pub fn create_for(&self, options: &BusOptions, name: &str, allow: Vec<Allow>) {
        let mut broker = self.broker.lock().unwrap();
        broker.create(options, name, own_uid(), allow).unwrap();
    }

    /// A bus of its own, made and opened.
    pub fn bus(&self, options: &BusOptions) -> Bus {
        self.create(options, "bus");
        self.connect("bus")
    }

    pub fn connect(&self, name: &str) -> Bus {
        Bus::connect(&self.socket, name).unwrap()
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends as a daemon does that is killed: every connection closes, nothing else happens.
    pub fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        let _ = std::fs::remove_file(&self.socket);
    }

    pub fn wait_for_event(&self, what: &str, is_it: impl Fn(&Event) -> bool) {
        eventually(what, || self.events.lock().unwrap().iter().any(&is_it).then_some(()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// What the broker's thread works with.
struct Host<'a> {
    broker: &'a Mutex<Broker>,
    events: &'a Mutex<Vec<Event>>,
    peer: &'a Peer,
    tamper: &'a dyn Fn(&str, &mut Vec<Arc<File>>),
}

impl Host<'_> {
    fn serve(&self, listener: &OwnedFd, stop: &AtomicBool) {
        let mut connections: BTreeMap<usize, (OwnedFd, Session)> = BTreeMap::new();
        let mut next = 0;
        while !stop.load(Ordering::Relaxed) {
            let pause = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            let mut fds = vec![PollFd::new(listener, PollFlags::IN)];
            fds.extend(connections.values().map(|(socket, _)| PollFd::new(socket, PollFlags::IN)));
            let _ = poll(&mut fds, Some(&pause));
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            let keys: Vec<usize> = connections.keys().copied().collect();
            for (key, _) in keys.into_iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
                let (socket, mut session) = connections.remove(&key).unwrap();
                let others: Vec<_> = connections.values().collect();
                if self.answer(&socket, &mut session, &others) {
                    connections.insert(key, (socket, session));
                } else {
                    let event = self.broker.lock().unwrap().end(session);
                    self.events.lock().unwrap().extend(event);
                }
            }
            if ready[0] {
                let socket = accept_with(listener, SocketFlags::CLOEXEC).unwrap();
                let session = self.broker.lock().unwrap().session(self.peer.clone());
                connections.insert(next, (socket, session));
                next += 1;
            }
        }
    }

    /// Answers one packet. `false`: there is none, and there will be none.
    fn answer(
        &self,
        socket: &OwnedFd,
        session: &mut Session,
        others: &[&(OwnedFd, Session)],
    ) -> bool {
        let Ok(Some((packet, _))) = host::receive(socket) else {
            return false;
        };
        let mut reply = self.broker.lock().unwrap().answer(session, &packet);
        self.events.lock().unwrap().extend(reply.event);
        for push in std::mem::take(&mut reply.pushes) {
            let to = others.iter().find(|(_, session)| session.id() == push.session);
            if let Some((socket, _)) = to {
                let files: Vec<BorrowedFd<'_>> =
                    push.descriptors.iter().map(|file| file.as_fd()).collect();
                host::send(socket, &push.packet, &files).unwrap();
            }
        }
        let text = String::from_utf8(reply.packet.clone()).unwrap();
        (self.tamper)(&text, &mut reply.descriptors);
        let files: Vec<BorrowedFd<'_>> =
            reply.descriptors.iter().map(|file| file.as_fd()).collect();
        host::send(socket, &reply.packet, &files).is_ok() && !reply.is_over
    }
}

pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Looks again and again until there is something to see.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
