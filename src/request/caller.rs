//! The asking side.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::calls::{Call, Calls, InFlight};
use super::error::CallError;
use super::reply::{Completion, Reply};
use super::service::Service;
use super::wire::{CANCEL, HEAD_BYTES, Head, REFUSED};
use crate::bus::Bus;
use crate::consumer::Consumer;
use crate::error::{Error, PollError, PublishError};
use crate::layout::state::SeatState;
use crate::layout::words::SeatWords;
use crate::options::Wait;
use crate::park::{Bed, PARK};
use crate::participant::Role;
use crate::producer::Producer;
use crate::seat;
use crate::shm::mapping::Shared;
use crate::waits::Waits;

/// The server's seat on either bus.
const SERVER: u32 = 0;
/// Calls in flight, unless said.
const IN_FLIGHT: usize = 1024;
/// How long a caller that waits goes without asking whether its server lives.
const PROBE: Duration = Duration::from_millis(20);
/// Polls that find nothing before it is asked whether it is time to: the clock costs more than a poll.
const POLLS_PER_PROBE: u32 = 64;
/// How long it sleeps at a time while no server has a lane to reply on.
const NAP: Duration = Duration::from_millis(1);

/// How a caller attaches: from [`Service::caller`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `attach`"]
pub struct CallerOptions<'a> {
    service: &'a Service,
    name: Option<String>,
    wait: Wait,
    in_flight: usize,
}

impl<'a> CallerOptions<'a> {
    pub(super) fn new(service: &'a Service) -> Self {
        Self { service, name: None, wait: Wait::Adaptive, in_flight: IN_FLIGHT }
    }

    /// The name that tools show; by default the process's.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How waits for replies wait; adaptive by default.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Calls that may be in flight at once, 1 to 65 536; 1024 by default. Those that have ended and
    /// were not asked for count too.
    pub fn in_flight(mut self, calls: usize) -> Self {
        self.in_flight = calls;
        self
    }

    /// Attaches.
    ///
    /// # Errors
    /// As attaching to a bus, twice.
    pub fn attach(self) -> Result<Caller, Error> {
        let name = self.name.unwrap_or_else(seat::process_name);
        let Service { requests, replies } = self.service;
        let replies = replies.consumer().name(name.clone()).wait(self.wait).attach()?;
        let requests = requests.producer().name(name).wait(self.wait).attach()?;
        let no_seat = |bus: &Bus| Error::Corrupt {
            name: bus.name().to_owned(),
            reason: "it has no seat for a server".to_owned(),
        };
        let Service { requests: asked, replies: answered } = self.service;
        let server = ServerSeats {
            reads: requests.peer(Role::Consumer, SERVER).ok_or_else(|| no_seat(asked))?,
            replies: replies.peer(Role::Producer, SERVER).ok_or_else(|| no_seat(answered))?,
        };
        Ok(Caller {
            last_seen: server.look(),
            lost: replies.lost(),
            calls: Calls::new(self.in_flight),
            ended: VecDeque::new(),
            late: 0,
            empty_polls: 0,
            ask_at: None,
            looked_for: None,
            requests,
            replies,
            server,
        })
    }
}

/// One caller of a service. Many of its calls can be in flight at once.
///
/// [`call`](Self::call) asks and waits for the answer; [`send`](Self::send) asks, and
/// [`recv`](Self::recv) or [`wait`](Self::wait) has the answers. A call ends once: with its reply or with a
/// [`CallError`], at its timeout at the latest if it has one, and soon after its server is provably dead if
/// it has none.
///
/// It can be sent to another thread, not shared by two. Dropping it detaches; what its calls would have
/// been answered is dropped by the server and counted there.
#[derive(Debug)]
pub struct Caller {
    requests: Producer,
    replies: Consumer,
    server: ServerSeats,
    calls: Calls,
    /// Calls that ended otherwise than by the reply that comes next.
    ended: VecDeque<Completion<'static>>,
    /// How the server's seats stood when calls were last ended for want of one.
    last_seen: Seen,
    /// Frames that were lost at the last look.
    lost: u64,
    late: u64,
    /// Polls that found nothing.
    empty_polls: u32,
    /// When to ask next whether the server's seats are those of the dead.
    ask_at: Option<Instant>,
    /// The one call that a look is to be about, if it is.
    looked_for: Option<Call>,
}

/// The seats of whoever serves.
#[derive(Debug)]
struct ServerSeats {
    /// On the bus of requests: taken first, left first.
    reads: Shared<SeatWords>,
    /// On the bus of replies: taken when it reads for certain, left when it has replied for the last time.
    replies: Shared<SeatWords>,
}

/// How those seats stood, at the replies and then at the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen(SeatState, SeatState);

impl ServerSeats {
    fn look(&self) -> Seen {
        Seen(seat::state(&self.replies), seat::state(&self.reads))
    }
}

impl Seen {
    /// The tenancy of the server, if there was one that reads and replies: what is published after the look
    /// is read by it, or by nobody.
    fn who(self) -> Option<u64> {
        let is_there = |state: SeatState| state.is_taken() && !state.is_lost();
        (is_there(self.0) && is_there(self.1)).then_some(self.0.epoch())
    }
}

impl Caller {
    /// Asks, and waits for the answer. Answers of other calls that come meanwhile are kept.
    ///
    /// # Errors
    /// [`CallError`] says what became of it.
    pub fn call(
        &mut self,
        kind: u16,
        body: &[u8],
        timeout: Duration,
    ) -> Result<Reply<'static>, CallError> {
        let call = self.send(kind, body, Some(timeout))?;
        self.wait(call)
    }

    /// Asks. The answer is to come within `timeout`, in which there also has to be room for the request; no
    /// timeout is for as long as the server lives.
    ///
    /// # Errors
    /// [`CallError::NoServer`], [`CallError::TooMany`], [`CallError::NotSent`]: the request was not sent.
    pub fn send(
        &mut self,
        kind: u16,
        body: &[u8],
        timeout: Option<Duration>,
    ) -> Result<Call, CallError> {
        if self.requests.is_forked() {
            return Err(CallError::NotSent(PublishError::Forked));
        }
        // Before the request is published: a server that comes later does not have it.
        let Some(server) = self.server.look().who() else {
            self.ask_who_lives();
            return Err(CallError::NoServer);
        };
        let too_many = CallError::TooMany { max: self.calls.max() };
        if self.calls.len() + self.ended.len() >= self.calls.max() {
            return Err(too_many);
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let in_flight = InFlight { deadline, server, may_be_lost: false };
        let call = self.calls.begin(in_flight).ok_or(too_many)?;
        let head = self.head(call, server);
        let sent = self.publish(head, kind, 0, body, timeout.unwrap_or(Duration::MAX));
        if let Err(error) = sent {
            self.calls.end(call);
            return Err(CallError::NotSent(error));
        }
        Ok(call)
    }

    fn head(&self, call: Call, server: u64) -> Head {
        Head::new(self.requests.lane(), self.requests.epoch(), server, call.0)
    }

    fn publish(
        &mut self,
        head: Head,
        kind: u16,
        flags: u16,
        body: &[u8],
        timeout: Duration,
    ) -> Result<(), PublishError> {
        let len = HEAD_BYTES.saturating_add(body.len());
        let mut claim = self.requests.claim_timeout(timeout)?;
        claim.set_len(len)?;
        claim.set_kind(kind);
        claim.set_flags(flags);
        head.write(body, claim.payload_mut());
        claim.commit().map(drop)
    }

    /// The end of any call, if one has ended. Never waits.
    pub fn poll(&mut self) -> Option<Completion<'_>> {
        if self.look() {
            return self.take();
        }
        // Who only polls has to learn of the server's death as well.
        self.empty_polls = self.empty_polls.wrapping_add(1);
        if self.empty_polls.is_multiple_of(POLLS_PER_PROBE) && self.calls.len() > 0 {
            self.ask_who_lives();
        }
        None
    }

    /// Has the dead taken for dead, if it is time to ask.
    fn ask_who_lives(&mut self) {
        self.replies.probe();
        self.requests.probe();
        let now = Instant::now();
        if now >= *self.ask_at.get_or_insert_with(|| now + PROBE) {
            // Neither end minds whoever died after it sat down and before it joined; a caller takes that
            // for a server.
            self.replies.give_back_dead(Role::Producer, SERVER);
            self.requests.give_back_dead(Role::Consumer, SERVER);
            self.ask_at = Some(now + PROBE);
        }
    }

    /// The end of any call, or `None` when none ended within `timeout`.
    pub fn recv(&mut self, timeout: Duration) -> Option<Completion<'_>> {
        let end = Instant::now().checked_add(timeout);
        while !self.look() {
            let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            self.sleep(left);
        }
        self.take()
    }

    /// Waits for the end of one call. The ends of others that come meanwhile are kept for
    /// [`recv`](Self::recv) and [`wait`](Self::wait).
    ///
    /// # Errors
    /// [`CallError`] says what became of it; [`CallError::TimedOut`] as well for one that is not in flight.
    pub fn wait(&mut self, call: Call) -> Result<Reply<'static>, CallError> {
        loop {
            if self.has_ended(call) {
                return self.take_end_of(call).unwrap_or(Err(CallError::TimedOut));
            }
            self.sleep(PARK);
        }
    }

    /// Whether a call has ended, or is none; what others came to is put aside.
    fn has_ended(&mut self, call: Call) -> bool {
        while self.calls.has(call) {
            if self.has_reply() {
                self.keep();
                continue;
            }
            self.look_at_ends();
            return !self.calls.has(call);
        }
        true
    }

    /// Has looks be about one call, or about all again.
    #[cfg(feature = "async")]
    pub(crate) fn look_for(&mut self, call: Option<Call>) {
        self.looked_for = call;
    }

    /// Gives a call up: its reply is wanted no more, and the server is told if there is room. `false`: it
    /// has ended already.
    pub fn cancel(&mut self, call: Call) -> bool {
        let in_flight = self.calls.end(call);
        if let Some(in_flight) = in_flight {
            self.tell_cancelled(call, in_flight.server);
        }
        in_flight.is_some() || self.take_end_of(call).is_some()
    }

    /// Calls in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }

    /// Replies that came after their calls had ended, and were dropped.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Whether a server is attached now, as far as is known.
    #[must_use]
    pub fn has_server(&self) -> bool {
        !self.requests.is_forked() && self.server.look().who().is_some()
    }

    /// Waits until a server is attached, for `timeout` at most. Whether one is.
    pub fn wait_for_server(&mut self, timeout: Duration) -> bool {
        let end = Instant::now().checked_add(timeout);
        while !self.has_server() {
            if end.is_some_and(|end| Instant::now() >= end) {
                return false;
            }
            std::thread::sleep(NAP);
        }
        true
    }

    /// Best effort: the server may spare itself the work.
    fn tell_cancelled(&mut self, call: Call, server: u64) {
        let _told = self.publish(self.head(call, server), 0, CANCEL, &[], Duration::ZERO);
    }

    /// Whether the next frame to read is a reply to a call in flight; passes over what is not.
    fn has_reply(&mut self) -> bool {
        let Self { replies, requests, calls, late, .. } = self;
        let (lane, epoch) = (requests.lane(), requests.epoch());
        let found = replies.skip_while(|frame| match Head::of(&frame) {
            Some((head, _)) if head.is_of(lane, epoch) => {
                let is_wanted = calls.has(Call(head.call));
                *late += u64::from(!is_wanted);
                !is_wanted
            }
            _ => true,
        });
        match found {
            Ok(found) => found,
            Err(PollError::Closed) => false,
            Err(error) => {
                // Nothing will be read any more.
                let ended = &mut self.ended;
                self.calls.end_all(
                    |_| true,
                    |call, _| {
                        let result = Err(CallError::Poll(error));
                        ended.push_back(Completion { call, result });
                    },
                );
                false
            }
        }
    }

    /// Ends what has ended without a reply. Whether there is anything that has.
    fn look_at_ends(&mut self) -> bool {
        if self.requests.is_forked() {
            // Nothing of the parent's is mapped here.
            return !self.ended.is_empty();
        }
        // The seats before the replies: whoever is seen gone has published all that it ever will.
        let seen = self.server.look();
        if seen != self.last_seen && !self.has_reply() && self.replies.lag() == 0 {
            self.last_seen = seen;
            let server = seen.who();
            let ended = &mut self.ended;
            self.calls.end_all(
                |one| Some(one.server) != server,
                |call, _| {
                    ended.push_back(Completion { call, result: Err(CallError::ServerGone) });
                },
            );
        }
        let lost = self.replies.lost();
        if lost != self.lost {
            self.lost = lost;
            self.calls.note_loss();
        }
        if let Some(soonest) = self.calls.soonest() {
            let now = Instant::now();
            if soonest <= now {
                self.expire(now);
            }
        }
        !self.ended.is_empty()
    }

    #[cold]
    fn expire(&mut self, now: Instant) {
        let mut over = Vec::new();
        self.calls.end_all(
            |call| call.deadline.is_some_and(|deadline| deadline <= now),
            |call, in_flight| over.push((call, in_flight)),
        );
        for (call, in_flight) in over {
            self.tell_cancelled(call, in_flight.server);
            let error =
                if in_flight.may_be_lost { CallError::ReplyLost } else { CallError::TimedOut };
            self.ended.push_back(Completion { call, result: Err(error) });
        }
    }

    /// The end of a call, of which `look` found that there is one.
    fn take(&mut self) -> Option<Completion<'_>> {
        if let Some(ended) = self.ended.pop_front() {
            return Some(ended);
        }
        let Self { replies, calls, .. } = self;
        let frame = replies.poll().ok().flatten()?;
        let (head, body) = Head::of(&frame)?;
        let call = Call(head.call);
        calls.end(call)?;
        let result = if frame.flags() & REFUSED != 0 {
            Err(CallError::Refused(String::from_utf8_lossy(body).into()))
        } else {
            Ok(Reply { kind: frame.kind(), payload: Cow::Borrowed(body) })
        };
        Some(Completion { call, result })
    }

    /// Takes the reply that comes next and keeps it.
    fn keep(&mut self) {
        let ended = std::mem::take(&mut self.ended);
        let next = self.take().map(|Completion { call, result }| Completion {
            call,
            result: result.map(Reply::into_owned),
        });
        self.ended = ended;
        self.ended.extend(next);
    }

    pub(crate) fn take_end_of(&mut self, call: Call) -> Option<Result<Reply<'static>, CallError>> {
        let index = self.ended.iter().position(|ended| ended.call == call)?;
        self.ended.remove(index).map(|ended| ended.result)
    }

    /// Waits for a reply or for something else to look at.
    fn sleep(&mut self, longest: Duration) {
        let until = self.calls.soonest().map_or(longest, |soonest| {
            longest.min(soonest.saturating_duration_since(Instant::now()))
        });
        if self.replies.wait_ready(until.min(PROBE)).is_err() {
            // Without a server nobody has a lane to reply on.
            std::thread::sleep(until.min(NAP));
        }
        // Unless the server has answered since, it may be dead: that is asked for every 2 ms at most.
        self.ask_who_lives();
    }
}

impl Waits for Caller {
    fn look(&mut self) -> bool {
        if let Some(call) = self.looked_for {
            return self.has_ended(call);
        }
        !self.ended.is_empty() || self.has_reply() || self.look_at_ends()
    }

    fn bed(&self) -> &Bed {
        self.replies.bed()
    }

    fn probe(&mut self) {
        self.ask_who_lives();
    }

    fn longest_wait(&self) -> Duration {
        let until = |soonest: Instant| soonest.saturating_duration_since(Instant::now());
        self.calls.soonest().map_or(PARK, until).min(PARK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Removed<'a>(&'a str);

    impl Drop for Removed<'_> {
        fn drop(&mut self) {
            let _removed = Service::remove(self.0);
        }
    }

    #[test]
    fn server_that_died_before_it_joined_is_found_dead() {
        let name = format!("t-{}-request-unjoined", std::process::id());
        let _removed = Removed(&name);
        let service = Service::options().create(&name).unwrap();
        let mut caller = service.caller().attach().unwrap();
        // Killed after it sat down at either bus, and before anybody is told to mind it.
        let Service { requests, replies } = &service;
        drop(requests.tie().consumer(requests.header(), "dead").unwrap());
        drop(replies.tie().producer(replies.header(), "dead").unwrap());
        let call = caller.send(1, b"", None).unwrap();
        let ended = caller.recv(Duration::from_secs(60)).expect("it ends");
        assert_eq!(ended.call, call);
        assert!(matches!(ended.result, Err(CallError::ServerGone)));
    }

    #[test]
    fn request_for_the_server_before_is_passed_over_by_the_next() {
        let name = format!("t-{}-request-stale", std::process::id());
        let _removed = Removed(&name);
        let service = Service::options().create(&name).unwrap();
        let mut caller = service.caller().attach().unwrap();
        let first = service.server().attach().unwrap();
        let asked = caller.server.look().who().unwrap();
        drop(first);
        let mut next = service.server().attach().unwrap();
        // As by a caller that looked, was stopped, and went on.
        let stale = caller.head(Call(0), asked);
        caller.publish(stale, 1, 0, b"stale", Duration::MAX).unwrap();
        caller.publish(stale, 1, CANCEL, b"", Duration::MAX).unwrap();
        let call = caller.send(1, b"new", None).unwrap();
        let request = next.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!(request.payload(), b"new");
        let to = request.reply_to();
        assert!(!next.is_cancelled(to));
        assert!(next.reply(to, 1, b"").unwrap());
        assert!(caller.wait(call).is_ok());
    }
}
