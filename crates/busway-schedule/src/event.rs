//! Frames as events: a scheduler that publishes on a producer.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use busway::{Producer, PublishError};

use crate::scheduler::{Scheduler, Verdict};

/// First pause when the lane is full; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(1);
/// Doublings of the pause at most: 128 ms.
const DOUBLINGS_MAX: u32 = 7;

/// One frame to be published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The event kind; bare frames have none.
    pub kind: u16,
    /// The payload.
    pub payload: Vec<u8>,
}

/// What has become of the events of a [`Scheduler::publishing`].
#[derive(Clone, Debug, Default)]
pub struct Report(Arc<Mutex<Counts>>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    published: u64,
    retried: u64,
    dropped: u64,
    last_error: Option<PublishError>,
}

impl Event {
    /// A frame of this kind and payload.
    pub fn new(kind: u16, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, payload: payload.into() }
    }
}

impl Scheduler<Event> {
    /// Publishes each event on this producer at its time. While its lane is full an event is tried
    /// again, after 1 ms at first and every 128 ms in the end, whatever the bus does with who waits;
    /// others are not held up. What can never be published (too long, the bus was removed) is dropped
    /// and counted.
    ///
    /// # Errors
    /// When the system gives no thread or descriptor.
    ///
    /// # Examples
    /// ```
    /// # let name = format!("doc-schedule-{}", std::process::id());
    /// # struct Guard<'a>(&'a str); // removes the bus whatever happens
    /// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
    /// # let _guard = Guard(&name);
    /// use busway_schedule::{Event, Scheduler};
    /// use std::time::Duration;
    ///
    /// let bus = busway::Bus::options().create(&name)?;
    /// let mut consumer = bus.consumer().attach()?;
    /// let (scheduler, report) = Scheduler::publishing(bus.producer().name("timer").attach()?)?;
    /// scheduler.schedule_after(Duration::from_millis(5), Event::new(7, *b"tick"));
    /// assert_eq!(consumer.recv()?.payload(), b"tick");
    /// # while report.published() == 0 { std::thread::yield_now(); }
    /// assert_eq!((report.published(), report.dropped()), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publishing(mut producer: Producer) -> io::Result<(Self, Report)> {
        let report = Report::default();
        let own = report.clone();
        let scheduler = Self::start(move |event: &mut Event, occasion| {
            match producer.try_publish_bytes(event.kind, &event.payload) {
                Ok(_) => {
                    own.lock().published += 1;
                    Verdict::Done
                }
                Err(PublishError::Full) => {
                    own.lock().retried += 1;
                    Verdict::Again(PAUSE_FIRST * (1 << occasion.attempt.min(DOUBLINGS_MAX)))
                }
                Err(error) => {
                    let mut counts = own.lock();
                    counts.dropped += 1;
                    counts.last_error = Some(error);
                    Verdict::Done
                }
            }
        })?;
        Ok((scheduler, report))
    }
}

impl Report {
    /// Frames that were published.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.lock().published
    }

    /// Attempts that found the lane full.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.lock().retried
    }

    /// Events that could not be published.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Why the last of those could not.
    #[must_use]
    pub fn last_error(&self) -> Option<PublishError> {
        self.lock().last_error
    }

    /// Plain counts: whoever panicked with them left them whole.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use busway::{Bus, OnFull};
    use std::time::Instant;

    struct Named(String);

    impl Drop for Named {
        fn drop(&mut self) {
            let _gone = Bus::remove(&self.0);
        }
    }

    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    #[test]
    fn full_lane_is_tried_again_and_what_does_not_fit_is_dropped_with_its_reason() {
        let name = Named(format!("t-schedule-{}", std::process::id()));
        let options = Bus::options().capacity_frames(2).payload_bytes(8).on_full(OnFull::Block);
        let bus = options.create(&name.0).unwrap();
        let mut consumer = bus.consumer().attach().unwrap();
        let (scheduler, report) = Scheduler::publishing(bus.producer().attach().unwrap()).unwrap();
        scheduler.schedule_after(Duration::ZERO, Event::new(9, [0; 9]));
        for count in 0..5_u8 {
            scheduler.schedule_after(Duration::ZERO, Event::new(u16::from(count), [count]));
        }
        until("a full lane", || report.retried() > 0);
        assert_eq!((report.published(), report.dropped()), (2, 1));
        assert_eq!(report.last_error(), Some(PublishError::TooLarge { len: 9, max: 8 }));
        let mut kinds = Vec::new();
        until("all of them", || {
            while let Some(frame) = consumer.poll().unwrap() {
                kinds.push(frame.kind());
            }
            kinds.len() == 5
        });
        kinds.sort_unstable();
        assert_eq!(kinds, [0, 1, 2, 3, 4]);
        until("the last one's count", || report.published() == 5);
    }
}
