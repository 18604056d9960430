//! The answering side.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::service::Service;
use super::wire::{CANCEL, HEAD_BYTES, Head, REFUSED};
use crate::consumer::Consumer;
use crate::error::{Error, PollError, PublishError};
use crate::layout::words::SeatWords;
use crate::options::Wait;
use crate::park::Bed;
use crate::participant::Role;
use crate::producer::Producer;
use crate::received::FrameRef;
use crate::seat;
use crate::shm::mapping::Shared;
use crate::waits::Waits;

/// Cancelled calls that a server remembers: those that it has taken and not replied to are meant, and few.
const CANCELS_MAX: usize = 256;

/// How a server attaches: from [`Service::server`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `attach`"]
pub struct ServerOptions<'a> {
    service: &'a Service,
    name: Option<String>,
    wait: Wait,
}

impl<'a> ServerOptions<'a> {
    pub(super) fn new(service: &'a Service) -> Self {
        Self { service, name: None, wait: Wait::Adaptive }
    }

    /// The name that tools show; by default the process's.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How `recv` waits; adaptive by default.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Becomes the server: answers what is asked from now on.
    ///
    /// # Errors
    /// [`Error::SeatsTaken`] naming the server that there is; otherwise as attaching to a bus.
    pub fn attach(self) -> Result<Server, Error> {
        let name = self.name.unwrap_or_else(seat::process_name);
        let Service { requests, replies } = self.service;
        // Requests first, and to the end: whoever sees a server at the replies is heard by it. Its seat
        // at the requests says so too early, since where it starts to read is settled after that.
        let requests = requests.consumer().name(name.clone()).wait(self.wait).attach()?;
        let lane = replies.producer().name(name).attach()?;
        let lanes = self.service.requests.info().lanes;
        let callers = (0..lanes).map(|lane| requests.peer(Role::Producer, lane)).collect();
        let office = Office { replies: lane, callers, cancelled: VecDeque::new(), unwanted: 0 };
        Ok(Server { requests, office })
    }
}

/// The server of a service: takes requests and replies to them, in any order.
///
/// Requests of one caller come in the order in which they were sent; callers have their turns.
/// Dropping it detaches: calls that it took and did not reply to end with
/// [`CallError::ServerGone`](super::CallError::ServerGone).
#[derive(Debug)]
pub struct Server {
    // Drop order: who sees the replies' producer gone has all replies, and nobody reads requests.
    requests: Consumer,
    office: Office,
}

/// What replying takes.
#[derive(Debug)]
struct Office {
    replies: Producer,
    /// The callers' seats, lane by lane.
    callers: Vec<Option<Shared<SeatWords>>>,
    cancelled: VecDeque<ReplyTo>,
    unwanted: u64,
}

/// Whom to reply to, and what about. Can be kept while other requests are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo(Head);

/// A request, in place, with the means to reply to it.
#[derive(Debug)]
pub struct Request<'a> {
    frame: FrameRef<'a>,
    body: &'a [u8],
    to: ReplyTo,
    office: &'a mut Office,
}

impl Server {
    /// The next request, if there is one. Never waits.
    ///
    /// # Errors
    /// As [`Consumer::poll`], but for `Closed`: without callers there are no requests, and that is all.
    pub fn poll(&mut self) -> Result<Option<Request<'_>>, PollError> {
        if !self.skip()? {
            return Ok(None);
        }
        let Self { requests, office } = self;
        let Some(frame) = requests.poll()? else {
            return Ok(None);
        };
        let Some((head, body)) = Head::of(&frame) else {
            return Ok(None);
        };
        Ok(Some(Request { frame, body, to: ReplyTo(head), office }))
    }

    /// The next request, or `None` when there was none for `timeout`.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Request<'_>>, PollError> {
        let end = Instant::now().checked_add(timeout);
        while !self.skip()? {
            let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            self.requests.wait_open(left)?;
        }
        self.poll()
    }

    /// Replies to a request taken before. `false`: its caller is gone, and nothing was published.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`]; [`PublishError::Evicted`] and the like when this server is one no more.
    pub fn reply(&mut self, to: ReplyTo, kind: u16, body: &[u8]) -> Result<bool, PublishError> {
        self.office.reply(to, kind, 0, body)
    }

    /// Tells the caller of a request taken before that it is refused, and why (as much as fits a reply).
    ///
    /// # Errors
    /// As [`reply`](Self::reply), but for its length.
    pub fn refuse(&mut self, to: ReplyTo, why: &str) -> Result<bool, PublishError> {
        self.office.refuse(to, why)
    }

    /// Whether the caller has given the call up, by cancelling or because its time is over, as far as that
    /// was read: cancels come after the requests.
    #[must_use]
    pub fn is_cancelled(&self, to: ReplyTo) -> bool {
        self.office.cancelled.contains(&to) || !self.office.is_there(to)
    }

    /// Replies that were not published since their callers were gone.
    #[must_use]
    pub fn unwanted(&self) -> u64 {
        self.office.unwanted
    }

    /// Reads cancels, and passes over what is no request. Whether a request comes next.
    fn skip(&mut self) -> Result<bool, PollError> {
        let Self { requests, office } = self;
        let skipped = requests.skip_while(|frame| match Head::of(&frame) {
            // Asked of the one before, whose callers are told that it has gone.
            Some((head, _)) if !head.asks(office.replies.epoch()) => true,
            Some((head, _)) if frame.flags() & CANCEL != 0 => {
                office.note_cancel(ReplyTo(head));
                true
            }
            head => head.is_none(),
        });
        match skipped {
            Err(PollError::Closed) => Ok(false),
            skipped => skipped,
        }
    }
}

impl Office {
    fn reply(
        &mut self,
        to: ReplyTo,
        kind: u16,
        flags: u16,
        body: &[u8],
    ) -> Result<bool, PublishError> {
        if self.replies.is_forked() {
            return Err(PublishError::Forked);
        }
        if !self.is_there(to) {
            self.unwanted = self.unwanted.saturating_add(1);
            return Ok(false);
        }
        let len = HEAD_BYTES.saturating_add(body.len());
        let mut claim = self.replies.claim()?;
        claim.set_len(len)?;
        claim.set_kind(kind);
        claim.set_flags(flags);
        to.0.write(body, claim.payload_mut());
        claim.commit()?;
        Ok(true)
    }

    fn refuse(&mut self, to: ReplyTo, why: &str) -> Result<bool, PublishError> {
        let max = self.replies.payload_bytes().saturating_sub(HEAD_BYTES);
        let end = (0..=why.len().min(max)).rev().find(|end| why.is_char_boundary(*end));
        let why = why.get(..end.unwrap_or(0)).unwrap_or_default();
        self.reply(to, 0, REFUSED, why.as_bytes())
    }

    /// Whether the caller is still attached, as the one that it was.
    fn is_there(&self, ReplyTo(head): ReplyTo) -> bool {
        if self.replies.is_forked() {
            return false;
        }
        let seat = usize::try_from(head.lane()).ok().and_then(|lane| self.callers.get(lane));
        seat.and_then(Option::as_ref).is_some_and(|seat| {
            let state = seat::state(seat);
            state.is_taken() && !state.is_lost() && head.is_of(head.lane(), state.epoch())
        })
    }

    fn note_cancel(&mut self, to: ReplyTo) {
        if self.cancelled.len() >= CANCELS_MAX {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back(to);
    }
}

impl<'a> Request<'a> {
    /// The kind that the caller gave it.
    #[must_use]
    pub fn kind(&self) -> u16 {
        self.frame.kind()
    }

    /// Its bytes, in place.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.body
    }

    /// For replying later: [`Server::reply`].
    #[must_use]
    pub fn reply_to(&self) -> ReplyTo {
        self.to
    }

    /// Replies. `false`: the caller is gone, and nothing was published.
    ///
    /// # Errors
    /// As [`Server::reply`].
    pub fn reply(self, kind: u16, body: &[u8]) -> Result<bool, PublishError> {
        self.office.reply(self.to, kind, 0, body)
    }

    /// Tells the caller that it is refused, and why.
    ///
    /// # Errors
    /// As [`Server::refuse`].
    pub fn refuse(self, why: &str) -> Result<bool, PublishError> {
        self.office.refuse(self.to, why)
    }
}

impl Waits for Server {
    fn look(&mut self) -> bool {
        // An error comes again when it is polled.
        self.skip().unwrap_or(true)
    }

    fn bed(&self) -> &Bed {
        self.requests.bed()
    }

    fn probe(&mut self) {
        self.requests.probe();
    }
}
