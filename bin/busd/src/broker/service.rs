//! The broker's thread: one epoll for the listening socket and all connections.
//!
//! A client gets an answer to each packet, one packet a turn, so that none keeps the others waiting.
//! One that does not take its answers, sends what is no request, or does not finish to attach in time
//! is cut off. When a connection ends, however it ends, its seat is given back.
//!
//! References: epoll(7), unix(7), cmsg(3).

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use busway::host::{self, Event, Peer, Push, Reply, Session};
use busway::{Reclaimed, Role};
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::Brokered;
use crate::runtime_dir::own_uid;

/// The listening socket's mark in the epoll; sessions count from 1.
const LISTENER: u64 = 0;
/// The mark of what tells to stop.
const STOP: u64 = u64::MAX;
/// Events taken at a time; more come with the next call.
const EVENTS_MAX: usize = 64;
/// Connections accepted in one turn.
const ACCEPTS_MAX: usize = 16;
/// Connections at a time: one for each attached end and each open handle.
const CONNECTIONS_MAX: usize = 2048;
/// Connections of one user who is neither the daemon's own nor root.
const USER_CONNECTIONS_MAX: usize = 256;
/// Longest time from being lent memory to having sealed it.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);
/// How often those who are attaching are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a failed accept (out of descriptors, most likely), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Tells the thread to stop.
#[derive(Debug)]
pub(super) struct Stop {
    event: OwnedFd,
}

/// Everything that the thread owns.
pub(super) struct Service {
    listener: OwnedFd,
    brokered: Brokered,
    /// Closing it would take it out of the epoll.
    _stop: Arc<Stop>,
    epoll: OwnedFd,
    connections: HashMap<u64, Connection>,
}

struct Connection {
    socket: OwnedFd,
    session: Session,
    /// Since when something is lent to it that it has not sealed.
    pending_since: Option<Instant>,
}

impl Stop {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    /// Cannot fail in a way that matters: a full counter tells as well.
    pub(super) fn tell(&self) {
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }
}

impl Service {
    pub(super) fn new(listener: OwnedFd, brokered: Brokered, stop: Arc<Stop>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (what, mark) in [(&listener, LISTENER), (&stop.event, STOP)] {
            let mark = epoll::EventData::new_u64(mark);
            epoll::add(&epoll, what, mark, epoll::EventFlags::IN)?;
        }
        Ok(Self { listener, brokered, _stop: stop, epoll, connections: HashMap::new() })
    }

    /// Serves until told to stop.
    pub(super) fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut looked = Instant::now();
        loop {
            let any_pending = self.connections.values().any(|one| one.pending_since.is_some());
            let timeout = any_pending.then(|| Timespec::try_from(LOOK_INTERVAL).ok()).flatten();
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    // The epoll is ours alone: this is a bug here, and nobody new can attach.
                    tracing::error!(%error, "the broker cannot wait for its clients");
                    return;
                }
            }
            for event in &events {
                match event.data.u64() {
                    STOP => return,
                    LISTENER => self.accept(),
                    session => self.serve(session),
                }
            }
            if looked.elapsed() >= LOOK_INTERVAL {
                looked = Instant::now();
                self.cut_off_the_late();
            }
        }
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => self.welcome(socket),
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
                Err(error) => {
                    tracing::warn!(%error, "the broker cannot accept a connection");
                    std::thread::sleep(ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    /// Takes in a new connection, unless there is no place for it.
    fn welcome(&mut self, socket: OwnedFd) {
        let peer = match Peer::of(&socket) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::warn!(%error, "refused a connection whose sender the kernel does not name");
                return;
            }
        };
        let (uid, pid) = (peer.uid, peer.pid);
        let of_user = self.connections.values().filter(|one| one.session.peer().uid == uid).count();
        let is_bounded = uid != 0 && uid != own_uid();
        if self.connections.len() >= CONNECTIONS_MAX
            || (is_bounded && of_user >= USER_CONNECTIONS_MAX)
        {
            tracing::warn!(uid, pid, "refused a connection: there are too many");
            let reply =
                Reply::refusal("too_many_connections", "the broker has too many connections");
            // Who does not hear it sees the end.
            let _ = host::send(&socket, &reply.packet, &[]);
            return;
        }
        let session = self.brokered.lock().session(peer);
        let id = session.id();
        let mark = epoll::EventData::new_u64(id);
        if let Err(error) = epoll::add(&self.epoll, &socket, mark, epoll::EventFlags::IN) {
            tracing::warn!(%error, uid, pid, "the broker cannot watch a connection");
            return;
        }
        self.connections.insert(id, Connection { socket, session, pending_since: None });
    }

    /// Answers one packet of a connection, or ends it.
    fn serve(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let packet = match host::receive(&connection.socket) {
            // No request has descriptors; those that came all the same are closed here.
            Ok(Some((packet, _descriptors))) => packet,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Ok(None) => return self.end(id),
            Err(error) => {
                let uid = connection.session.peer().uid;
                tracing::debug!(%error, uid, "a connection of the broker broke");
                return self.end(id);
            }
        };
        let mut reply = self.brokered.lock().answer(&mut connection.session, &packet);
        let since = connection.pending_since.unwrap_or_else(Instant::now);
        connection.pending_since = connection.session.is_pending().then_some(since);
        let uid = connection.session.peer().uid;
        for push in std::mem::take(&mut reply.pushes) {
            self.push(&push);
        }
        let is_sent = self.send(id, &reply.packet, &reply.descriptors);
        note(reply.event, uid);
        if !is_sent || reply.is_over {
            self.end(id);
        }
    }

    /// Sends what somebody has not asked for. Should it not fit, they ask when they want to know.
    fn push(&mut self, push: &Push) {
        if !self.send(push.session, &push.packet, &push.descriptors) {
            self.brokered.lock().stop_pushing(push.session);
        }
    }

    fn send(&self, id: u64, packet: &[u8], descriptors: &[Arc<std::fs::File>]) -> bool {
        let Some(connection) = self.connections.get(&id) else {
            return false;
        };
        let files: Vec<BorrowedFd<'_>> = descriptors.iter().map(|file| file.as_fd()).collect();
        match host::send(&connection.socket, packet, &files) {
            Ok(()) => true,
            Err(error) => {
                let uid = connection.session.peer().uid;
                tracing::debug!(%error, uid, "a client of the broker does not take what it is sent");
                false
            }
        }
    }

    fn end(&mut self, id: u64) {
        if let Some(Connection { session, socket, .. }) = self.connections.remove(&id) {
            let uid = session.peer().uid;
            let event = self.brokered.lock().end(session);
            // The seat is free before whoever is cut off can see that.
            drop(socket);
            note(event, uid);
        }
    }

    fn cut_off_the_late(&mut self) {
        let is_late =
            |one: &Connection| one.pending_since.is_some_and(|at| at.elapsed() > ATTACH_TIMEOUT);
        let late: Vec<u64> =
            self.connections.iter().filter(|(_, one)| is_late(one)).map(|(id, _)| *id).collect();
        for id in late {
            tracing::warn!("cut a connection off that did not finish to attach");
            self.end(id);
        }
    }
}

/// Writes to the log what happened.
fn note(event: Option<Event>, peer_uid: u32) {
    match event {
        None => {}
        Some(Event::Attached { bus, who }) => tracing::info!(
            bus,
            role = who.role.name(),
            seat = who.seat,
            pid = who.pid,
            uid = who.uid,
            name = who.name,
            "attached"
        ),
        Some(Event::Detached { bus, who }) => note_gone(&bus, &who, "detached"),
        Some(Event::Died { bus, who }) => note_died(&bus, &who),
        Some(Event::Refused { code, message }) => {
            tracing::warn!(peer_uid, code, reason = message, "refused");
        }
    }
}

fn note_gone(bus: &str, who: &Reclaimed, message: &str) {
    let Reclaimed { role, seat, pid, uid, name, .. } = who;
    tracing::info!(bus, role = role.name(), seat, pid, uid, name, "{message}");
}

/// Says what was done and why that was safe: it does not matter whether the process lives on.
fn note_died(bus: &str, who: &Reclaimed) {
    let Reclaimed { role, seat, pid, uid, name, position } = who;
    match role {
        Role::Producer => tracing::warn!(
            bus,
            role = role.name(),
            seat,
            lane = seat,
            pid,
            uid,
            name,
            position,
            "died; its lane is free again: the next tenant gets memory of its own, so that nothing \
             that it may still store reaches anybody"
        ),
        Role::Consumer => tracing::warn!(
            bus,
            role = role.name(),
            seat,
            pid,
            uid,
            name,
            "died; its seat is free again, and it holds nobody up any more: its cursors are no \
             longer looked at"
        ),
    }
}
