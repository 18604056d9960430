//! Putting a dispatcher together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

use busway::{Bus, Frame};
use crossbeam_channel::{Sender, bounded, unbounded};
use serde::Deserialize;

use super::Dispatcher;
use super::context::{Context, Middleware};
use super::core::Core;
use super::delay::Delays;
use super::failure::Failure;
use super::gate::Gate;
use super::held::Held;
use super::job::Message;
use super::metrics::{Counts, Strangers};
use super::route::{Handler, Route, Routes};
use super::worker::{self, Slot};
use crate::cancel::Cancel;
use crate::clock::{Clock, SystemClock, nanoseconds};
use crate::config::DispatcherConfig;
use crate::error::BuildError;
use crate::policy::{DeadLetters, Policy, WhileOpen};
use crate::scale::{Crew, Workers};
use crate::source::{Event, Source};

/// The most events that a dispatcher holds: each is a copy.
pub const BUFFER_MAX: usize = 65_536;
/// Events held, unless asked otherwise.
pub const BUFFER_DEFAULT: usize = 1024;
/// Events taken at a time, unless asked otherwise.
pub const BATCH_DEFAULT: usize = 256;

/// What becomes of events whose kind nobody handles. They are counted in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unhandled {
    /// They are counted as unhandled.
    #[default]
    Count,
    /// They go to the dead-letter bus.
    DeadLetter,
}

/// A handler with its kind and name.
pub(super) struct Given {
    pub(super) kind: u16,
    pub(super) name: String,
    pub(super) handler: Handler,
}

/// A source, and what is shared by those who handle its events.
type Parts<S> = (S, Arc<Core<<S as Source>::Receipt>>);

/// Puts a [`Dispatcher`] together; from [`Dispatcher::builder`].
#[must_use = "nothing is handled before `build`"]
pub struct DispatcherBuilder<S> {
    source: S,
    pub(super) handlers: Vec<Given>,
    names: BTreeMap<u16, String>,
    policies: BTreeMap<u16, Policy>,
    default_policy: Policy,
    middleware: Vec<Box<dyn Middleware>>,
    letters: Option<DeadLetters>,
    unhandled: Unhandled,
    pub(super) workers: Workers,
    pub(super) buffer: usize,
    pub(super) batch: usize,
    clock: Arc<dyn Clock>,
}

impl<S> std::fmt::Debug for DispatcherBuilder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DispatcherBuilder").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl<S: Source> DispatcherBuilder<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            handlers: Vec::new(),
            names: BTreeMap::new(),
            policies: BTreeMap::new(),
            default_policy: Policy::default(),
            middleware: Vec::new(),
            letters: None,
            unhandled: Unhandled::default(),
            workers: Workers::fixed(0),
            buffer: BUFFER_DEFAULT,
            batch: BATCH_DEFAULT,
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// What handles events of a kind. It is called by several threads at a time if there are several
    /// workers.
    pub fn on<F>(mut self, kind: u16, handler: F) -> Self
    where
        F: Fn(&Context<'_>, &Event<'_>) -> Result<(), Failure> + Send + Sync + 'static,
    {
        self.handlers.push(Given {
            kind,
            name: format!("kind {kind}"),
            handler: Handler::Call(Box::new(handler)),
        });
        self
    }

    /// What handles frames of a type, by the type's kind and name. A payload of another size is a
    /// permanent failure.
    ///
    /// # Examples
    /// ```
    /// # let name = format!("doc-typed-{}", std::process::id());
    /// # struct Guard<'a>(&'a str); // removes the bus whatever happens
    /// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
    /// # let _guard = Guard(&name);
    /// use busway::Frame;
    /// use busway::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
    /// use busway_toolkit::{BusSource, Dispatcher};
    ///
    /// #[derive(Clone, Copy, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
    /// #[zerocopy(crate = "busway::zerocopy")]
    /// #[frame(kind = 7, name = "order")]
    /// #[repr(C)]
    /// struct Order {
    ///     item: u32,
    ///     count: u32,
    /// }
    ///
    /// let bus = busway::Bus::options().create(&name)?;
    /// let dispatcher = Dispatcher::builder(BusSource::attach(&bus)?)
    ///     .on_frame(|_, order: &Order| {
    ///         println!("{} of {}", order.count, order.item);
    ///         Ok(())
    ///     })
    ///     .build()?;
    /// # drop(dispatcher);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_frame<T, F>(mut self, handler: F) -> Self
    where
        T: Frame,
        F: Fn(&Context<'_>, &T) -> Result<(), Failure> + Send + Sync + 'static,
    {
        let typed = move |context: &Context<'_>, event: &Event<'_>| {
            let value = event.value::<T>().map_err(Failure::permanent)?;
            handler(context, &value)
        };
        self.handlers.push(Given {
            kind: T::KIND,
            name: T::NAME.to_owned(),
            handler: Handler::Call(Box::new(typed)),
        });
        self
    }

    /// What happens around the handler of a kind.
    pub fn policy(mut self, kind: u16, policy: Policy) -> Self {
        self.policies.insert(kind, policy);
        self
    }

    /// What happens around handlers whose kind has no policy of its own.
    pub fn default_policy(mut self, policy: Policy) -> Self {
        self.default_policy = policy;
        self
    }

    /// What is done around every attempt; added behind those that were added before.
    pub fn middleware(mut self, middleware: impl Middleware + 'static) -> Self {
        self.middleware.push(Box::new(middleware));
        self
    }

    /// Where events go that failed for good.
    pub fn dead_letters(mut self, letters: DeadLetters) -> Self {
        self.letters = Some(letters);
        self
    }

    /// What becomes of events whose kind nobody handles; counted by default.
    pub fn unhandled(mut self, unhandled: Unhandled) -> Self {
        self.unhandled = unhandled;
        self
    }

    /// How many threads handle events; by default none, and the polling thread does.
    pub fn workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// The most events that are held outside the bus, handled or waiting; 1024 by default, at most
    /// 65536. With that many, nothing is taken from the bus, and its producers wait as the bus says.
    pub fn buffer(mut self, events: usize) -> Self {
        self.buffer = events;
        self
    }

    /// The most events that are taken from the bus at a time; 256 by default.
    pub fn batch(mut self, events: usize) -> Self {
        self.batch = events;
        self
    }

    /// Another clock, for tests.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// All that a configuration says, in place of what was said before. Attaches to the dead-letter bus
    /// that it names, which has to exist.
    ///
    /// # Errors
    /// When there is no such bus, or it cannot hold dead letters.
    pub fn config(mut self, config: &DispatcherConfig) -> Result<Self, BuildError> {
        self.workers = config.workers;
        self.buffer = config.buffer;
        self.batch = config.batch;
        self.unhandled = config.unhandled;
        self.default_policy = config.policy.clone().into();
        self.policies = config.kind.iter().map(|kind| (kind.kind, kind.policy())).collect();
        let names = config.kind.iter().filter_map(|kind| Some((kind.kind, kind.name.clone()?)));
        self.names = names.collect();
        self.letters = match &config.dead_letter_bus {
            Some(name) => Some(DeadLetters::attach(&Bus::open(name)?)?),
            None => None,
        };
        Ok(self)
    }

    /// Checks it all, and starts the workers.
    ///
    /// # Errors
    /// What is wrong, by name. Nothing has been started then.
    pub fn build(self) -> Result<Dispatcher<S>, BuildError> {
        #[cfg(feature = "async")]
        self.check_no_futures()?;
        let jobs = self.buffer + self.workers.max as usize + 1;
        let queue = (!self.workers.is_none()).then(|| bounded(jobs));
        let (sender, jobs) = queue.unzip();
        let (workers, batch) = (self.workers.min, self.batch);
        let (source, core) = self.core(sender)?;
        let mut dispatcher =
            Dispatcher { source: Some(source), core, workers: Vec::new(), queue: jobs, batch };
        if let Some(queue) = &dispatcher.queue {
            for _ in 0..workers {
                dispatcher.workers.push(worker::start(&dispatcher.core, queue)?);
            }
        }
        Ok(dispatcher)
    }

    /// Checks it all, and makes of it what threads or tasks share.
    pub(super) fn core(
        mut self,
        queue: Option<Sender<Message<S::Receipt>>>,
    ) -> Result<Parts<S>, BuildError> {
        self.check()?;
        let routes = self.routes()?;
        let core = Arc::new(Core {
            source: self.source.name().into(),
            routes,
            strangers: Strangers::default(),
            unhandled: self.unhandled,
            middleware: self.middleware,
            clock: self.clock,
            letters: self.letters,
            delays: Delays::new(),
            held: Held::new(self.buffer),
            crew: Crew::new(self.workers),
            queue,
            settled: S::SETTLES.then(unbounded),
            cancel: Cancel::new(),
            closed: AtomicBool::new(false),
            left_over: Mutex::default(),
            slots: Mutex::default(),
            own_slot: Slot::default(),
            last_ns: AtomicU64::new(0),
        });
        Ok((self.source, core))
    }

    fn check(&self) -> Result<(), BuildError> {
        self.workers.check()?;
        for (what, value) in [("buffer", self.buffer), ("batch", self.batch)] {
            if !(1..=BUFFER_MAX).contains(&value) {
                return Err(BuildError::limit(what, value as u64, format!("1 to {BUFFER_MAX}")));
            }
        }
        let mut kinds: Vec<u16> = self.handlers.iter().map(|given| given.kind).collect();
        kinds.sort_unstable();
        if let Some(kind) = kinds.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some(*a),
            _ => None,
        }) {
            return Err(BuildError::KindTwice { kind });
        }
        if let Some(kind) = self.policies.keys().find(|kind| kinds.binary_search(kind).is_err()) {
            return Err(BuildError::NoHandler { kind: *kind });
        }
        self.check_letters()
    }

    fn check_letters(&self) -> Result<(), BuildError> {
        if let Some(letters) = &self.letters {
            return letters.check(self.source.payload_bytes_max());
        }
        if self.unhandled == Unhandled::DeadLetter {
            return Err(BuildError::NoDeadLetters { what: "`unhandled`".to_owned() });
        }
        let policies = self.policies.values().chain([&self.default_policy]);
        let mut breakers = policies.filter_map(|policy| policy.breaker);
        if breakers.any(|breaker| breaker.while_open == WhileOpen::DeadLetter) {
            return Err(BuildError::NoDeadLetters { what: "a breaker's `while-open`".to_owned() });
        }
        Ok(())
    }

    fn routes(&mut self) -> Result<Routes<S::Receipt>, BuildError> {
        let mut routes = Vec::new();
        for given in self.handlers.drain(..) {
            let policy = self.policies.get(&given.kind).unwrap_or(&self.default_policy).clone();
            policy.check()?;
            routes.push(Route {
                kind: given.kind,
                name: self.names.remove(&given.kind).unwrap_or(given.name).into(),
                timeout_ns: policy.timeout.map(nanoseconds),
                gate: Gate::new(&policy, &self.clock)?,
                policy,
                handler: given.handler,
                counts: Counts::new(),
            });
        }
        Ok(Routes::new(routes))
    }
}
