//! The broker's side of brokered buses, for daemons: `busd` is one.
//!
//! ```text
//! acl      who may publish, who may read
//! peer     who is at the other end of a connection, as the kernel says
//! bus      one hosted bus: its board and bells, who holds which seat
//! lanes    tenancies of lanes: lend, open, settle, keep for those who have not read them
//! rows     tenancies of consumers' rows
//! ```
//!
//! A [`Broker`] is a state machine without threads, sockets or clocks: whoever hosts it accepts the
//! connections, asks the kernel who is there, hands each packet to [`Broker::answer`], and says with
//! [`Broker::end`] when a connection has ended. It looks at no frame: between attach and detach it
//! has nothing to do, and nothing waits for it except who joins.
//!
//! What a client can send is bounded and checked; what it stores to the memory that it was lent is
//! looked at by nobody as anything but numbers.

mod acl;
mod bus;
mod lanes;
mod peer;
mod rows;

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

pub use crate::broker::wire::{receive, send};
pub use acl::{Allow, Peer, Roles, Who};
pub use bus::HostedBus;

use crate::broker::message::{
    Answer, Ask, Lent, Refusal, Request, Tell, UNASKED, VERSION, WANTED_MAX,
};
use crate::bus::BusOptions;
use crate::error::Error;
use crate::participant::{Participant, Reclaimed, Role};
use crate::shm::name;

/// Brokered buses at a time: each takes a handful of descriptors and some for each of its seats.
pub const BUSES_MAX: usize = 256;

/// All brokered buses of one daemon.
#[derive(Debug, Default)]
pub struct Broker {
    buses: BTreeMap<String, HostedBus>,
    sessions: u64,
}

/// One connection, as the broker sees it. To be given back by [`Broker::end`].
#[derive(Debug)]
pub struct Session {
    id: u64,
    peer: Peer,
    /// The bus that is open, by name and instance.
    bus: Option<(String, u64)>,
    /// The seat that it was lent or holds.
    seat: Option<(Role, u32)>,
    is_pending: bool,
}

/// What to send back for a packet, and what happened.
#[derive(Debug)]
pub struct Reply {
    /// The answer's packet.
    pub packet: Vec<u8>,
    /// The descriptors to send beside it.
    pub descriptors: Vec<Arc<File>>,
    /// What is to be sent to others before that.
    pub pushes: Vec<Push>,
    /// What happened, for the log.
    pub event: Option<Event>,
    /// The packet made no sense: the connection is to be ended.
    pub is_over: bool,
}

/// Something to send to a connection that has not asked for it.
#[derive(Debug)]
pub struct Push {
    /// Which connection.
    pub session: u64,
    /// The packet.
    pub packet: Vec<u8>,
    /// The descriptors to send beside it.
    pub descriptors: Vec<Arc<File>>,
}

impl Push {
    fn of(session: u64, lent: Lent, file: Arc<File>) -> Self {
        let tell = Tell::Regions { regions: vec![lent] };
        // Plain structs of numbers: this cannot fail.
        let packet = serde_json::to_vec(&Answer { id: UNASKED, tell }).unwrap_or_default();
        Self { session, packet, descriptors: vec![file] }
    }
}

/// Something that happened to a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody is attached from now on.
    Attached {
        /// The bus.
        bus: String,
        /// Who.
        who: Participant,
    },
    /// Somebody has left, in order.
    Detached {
        /// The bus.
        bus: String,
        /// Whose seat it was.
        who: Reclaimed,
    },
    /// A connection ended without a word; its seat was given back.
    Died {
        /// The bus.
        bus: String,
        /// Whose seat it was.
        who: Reclaimed,
    },
    /// Somebody was refused.
    Refused {
        /// As [`Error::code`].
        code: String,
        /// Why.
        message: String,
    },
}

/// What an answer is made of, inside.
type Outcome = Result<(Tell, Vec<Arc<File>>, Option<Event>), Refusal>;

impl Broker {
    /// Without any bus.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a bus. Root, this process's user and `creator` may always use it; `allow` says who else.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], also when a named bus has the name; [`Error::BadOption`] for what a
    /// brokered bus cannot be; as [`BusOptions::create`] otherwise.
    pub fn create(
        &mut self,
        options: &BusOptions,
        name: &str,
        creator: u32,
        allow: Vec<Allow>,
    ) -> Result<&HostedBus, Error> {
        name::check_name(name)?;
        if self.buses.contains_key(name) || name::path(name).symlink_metadata().is_ok() {
            return Err(Error::AlreadyExists { name: name.to_owned() });
        }
        if self.buses.len() >= BUSES_MAX {
            return Err(Error::BadGeometry {
                what: "count of brokered buses",
                value: u64::try_from(self.buses.len()).unwrap_or(u64::MAX).saturating_add(1),
                allowed: format!("at most {BUSES_MAX}"),
            });
        }
        let bus = HostedBus::create(options, name, creator, allow)?;
        Ok(self.buses.entry(name.to_owned()).or_insert(bus))
    }

    /// Removes a bus: whoever is attached learns it, nobody new gets in.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn remove(&mut self, name: &str) -> Result<(), Error> {
        match self.buses.remove(name) {
            Some(bus) => {
                bus.mark_removed();
                Ok(())
            }
            None => Err(Error::NotFound { name: name.to_owned() }),
        }
    }

    /// One bus.
    #[must_use]
    pub fn bus(&self, name: &str) -> Option<&HostedBus> {
        self.buses.get(name)
    }

    /// All of them, by name.
    pub fn buses(&self) -> impl Iterator<Item = &HostedBus> {
        self.buses.values()
    }

    /// Somebody has connected.
    pub fn session(&mut self, peer: Peer) -> Session {
        self.sessions += 1;
        Session { id: self.sessions, peer, bus: None, seat: None, is_pending: false }
    }

    /// Does what a packet asks for. Descriptors that came with it are the caller's to close: no
    /// request has any.
    pub fn answer(&mut self, session: &mut Session, packet: &[u8]) -> Reply {
        let Ok(Request { id, ask }) = serde_json::from_slice(packet) else {
            let refusal = refusal("protocol", "the packet is no request of this protocol");
            return Reply::of(0, Err(refusal), true);
        };
        let was_pending = session.is_pending;
        let outcome = self.do_as_asked(session, ask);
        let mut reply = Reply::of(id, outcome, false);
        if was_pending
            && matches!(reply.event, Some(Event::Attached { .. }))
            && let Some(((role, seat), bus)) = session.seat.zip(self.open_bus(session))
        {
            reply.pushes = bus.news(role, seat);
        }
        reply
    }

    /// The bus that a connection has open, unless it was removed.
    fn open_bus(&mut self, session: &Session) -> Option<&mut HostedBus> {
        let (name, instance) = session.bus.as_ref()?;
        self.buses.get_mut(name).filter(|bus| bus.instance() == *instance)
    }

    /// A push could not be sent: the session gets no more before it has asked for what it misses.
    pub fn stop_pushing(&mut self, session: u64) {
        self.buses.values_mut().for_each(|bus| bus.stop_pushing(session));
    }

    /// A connection has ended: gives its seat back.
    pub fn end(&mut self, session: Session) -> Option<Event> {
        let Session { bus, seat, id, .. } = session;
        let ((name, instance), (role, seat)) = bus.zip(seat)?;
        let bus = self.buses.get_mut(&name).filter(|bus| bus.instance() == instance)?;
        let who = bus.vacate(id, role, seat, true)?;
        Some(Event::Died { bus: name, who })
    }

    fn do_as_asked(&mut self, session: &mut Session, ask: Ask) -> Outcome {
        if let Ask::Open { version, bus } = ask {
            return self.open(session, version, bus);
        }
        if session.bus.is_none() {
            return Err(refusal("protocol", "no bus is open on this connection"));
        }
        let Some(bus) = self.open_bus(session) else {
            return Err(refusal("not_found", "the bus has been removed"));
        };
        if let Some((role, seat)) = session.seat {
            bus.has_heard(role, seat);
        }
        match ask {
            Ask::Open { .. } => Err(refusal("protocol", "a bus is open already")),
            Ask::Produce { name } => borrow(bus, session, Role::Producer, &name),
            Ask::Consume { name } => borrow(bus, session, Role::Consumer, &name),
            Ask::Sealed {} => {
                let Some((role, seat)) = session.seat.filter(|_| session.is_pending) else {
                    return Err(refusal("protocol", "nothing is lent that could be sealed"));
                };
                session.is_pending = false;
                match bus.seal(session.id, &session.peer, role, seat) {
                    Ok(who) => {
                        let event = Event::Attached { bus: bus.name().to_owned(), who };
                        Ok((Tell::Done {}, Vec::new(), Some(event)))
                    }
                    Err(refusal) => {
                        session.seat = None;
                        Err(refusal)
                    }
                }
            }
            Ask::Lanes { wanted } if wanted.len() <= WANTED_MAX => {
                bus.check(&session.peer, Role::Consumer)?;
                let consumer = session.seat.filter(|(role, _)| *role == Role::Consumer);
                let (regions, files) = bus.lanes(&wanted, consumer.map(|(_, seat)| seat));
                Ok((Tell::Regions { regions }, files, None))
            }
            Ask::Rows { wanted } if wanted.len() <= WANTED_MAX => {
                let (regions, files) = bus.rows(&wanted);
                Ok((Tell::Regions { regions }, files, None))
            }
            Ask::Lanes { .. } | Ask::Rows { .. } => {
                Err(refusal("protocol", &format!("more than {WANTED_MAX} regions at a time")))
            }
            Ask::Leave {} => {
                session.is_pending = false;
                let left = session
                    .seat
                    .take()
                    .and_then(|(role, seat)| bus.vacate(session.id, role, seat, false));
                let bus = bus.name().to_owned();
                Ok((Tell::Done {}, Vec::new(), left.map(|who| Event::Detached { bus, who })))
            }
        }
    }

    fn open(&mut self, session: &mut Session, version: u32, name: String) -> Outcome {
        if session.bus.is_some() {
            return Err(refusal("protocol", "a bus is open already"));
        }
        if version != VERSION {
            let message = format!("protocol version {version}, this broker speaks {VERSION}");
            return Err(refusal("incompatible", &message));
        }
        let Some(bus) = self.buses.get(&name) else {
            return Err(refusal("not_found", &format!("there is no brokered bus {name:?}")));
        };
        bus.check_any(&session.peer)?;
        session.bus = Some((name, bus.instance()));
        Ok((Tell::Opened { instance: bus.instance() }, vec![bus.board()], None))
    }
}

fn borrow(bus: &mut HostedBus, session: &mut Session, role: Role, name: &str) -> Outcome {
    bus.check(&session.peer, role)?;
    if session.seat.is_some() {
        return Err(refusal("protocol", "this connection has a seat already"));
    }
    let (lent, file) = match role {
        Role::Producer => bus.lend_lane(session.id, name)?,
        Role::Consumer => bus.lend_row(session.id, name)?,
    };
    session.seat = Some((role, lent.seat));
    session.is_pending = true;
    Ok((Tell::Lent(lent), vec![bus.bells(), file], None))
}

impl Session {
    /// Whether something was lent to it that it has not sealed yet. For how long is for the caller
    /// to bound: the seat is kept free for it meanwhile.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Tells it from every other of this broker.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whose connection it is.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Reply {
    fn of(id: u64, outcome: Outcome, is_over: bool) -> Self {
        let (tell, descriptors, event) = outcome.unwrap_or_else(|refusal| {
            let (code, message) = (refusal.code.clone(), refusal.message.clone());
            (Tell::Refused(refusal), Vec::new(), Some(Event::Refused { code, message }))
        });
        // Plain structs of numbers and text: this cannot fail, and an empty packet would end the
        // connection.
        let packet = serde_json::to_vec(&Answer { id, tell }).unwrap_or_default();
        Self { packet, descriptors, pushes: Vec::new(), event, is_over }
    }

    /// The refusal of a connection that there is no place for.
    #[must_use]
    pub fn refusal(code: &str, message: &str) -> Self {
        // The first request of a connection has this number.
        Self::of(1, Err(refusal(code, message)), true)
    }
}

/// Why not.
fn refusal(code: &str, message: &str) -> Refusal {
    Refusal { code: code.to_owned(), message: message.to_owned(), holders: Vec::new() }
}

/// The same for an error of this library.
fn refusal_of(error: &Error) -> Refusal {
    refusal(error.code(), &error.to_string())
}
