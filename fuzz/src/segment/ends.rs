//! Who is attached to the bus, and what each step has them do.

use std::time::Duration;

use busway::{
    Bus, Consumer, FrameLayout, FrameRef, Observer, PollError, Producer, PublishError, Start, Wait,
};

use super::step::{Form, Outcome, Step};

/// How long anybody waits: long enough to spin, yield and park once.
const SOON: Duration = Duration::from_micros(200);
/// Ends of each kind at most.
const ENDS_MAX: usize = 4;
/// Bytes that a payload is cut from.
const BYTES: [u8; 256] = [0; 256];

/// The ends that are attached.
pub(super) struct Ends {
    bus: Bus,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    observers: Vec<Observer>,
    /// Nobody has stored a word yet, so that frames are what was published.
    trusted: bool,
}

impl Ends {
    /// One of each kind.
    pub(super) fn new(bus: Bus) -> Self {
        let (producers, consumers, observers) = (Vec::new(), Vec::new(), Vec::new());
        let mut ends = Self { bus, producers, consumers, observers, trusted: true };
        ends.attach_consumer(Start::Latest, Wait::Adaptive);
        ends.attach_producer(Wait::Adaptive);
        ends.attach_observer(Start::Oldest);
        ends
    }

    /// From now on frames may say anything.
    pub(super) fn distrust(&mut self) {
        self.trusted = false;
    }

    /// Does one step. Every error is fine; what is not is checked where it would show.
    pub(super) fn take(&mut self, step: &Step) {
        match *step {
            Step::Publish(which, len, form) => self.publish(which, len, form),
            Step::Batch(which, frames, outcome) => self.batch(which, frames, outcome),
            Step::Drain(which) => {
                if let Some(producer) = pick(&mut self.producers, which) {
                    let _left = producer.drain(Duration::ZERO).left;
                }
            }
            Step::Poll(which) => self.poll(which, Consumer::poll),
            Step::Receive(which) => self.poll(which, |consumer| consumer.recv_timeout(SOON)),
            Step::PollBatch(which, most) => self.poll_batch(which, most),
            Step::Release(which) => {
                if let Some(consumer) = pick(&mut self.consumers, which) {
                    consumer.release();
                }
            }
            Step::Observe(which, most) => self.observe(which, most),
            Step::Look => self.look(),
            Step::Reclaim => {
                let _reclaimed = self.bus.reclaim();
            }
            Step::Open => {
                if let Ok(bus) = Bus::open(self.bus.name()) {
                    self.bus = bus;
                }
            }
            Step::Remove => {
                let _removed = Bus::remove(self.bus.name());
            }
            Step::AttachProducer(wait) => self.attach_producer(wait),
            Step::AttachConsumer(start, wait) => self.attach_consumer(start, wait),
            Step::AttachObserver(start) => self.attach_observer(start),
            Step::DetachProducer(which) => drop(remove(&mut self.producers, which)),
            Step::DetachConsumer(which) => drop(remove(&mut self.consumers, which)),
            Step::DetachObserver(which) => drop(remove(&mut self.observers, which)),
            Step::Store(_) => {}
        }
    }

    fn publish(&mut self, which: u8, len: usize, form: Form) {
        let payload_bytes = self.bus.info().payload_bytes as usize;
        let bare = self.bus.info().frames == FrameLayout::Bare;
        let Some(producer) = pick(&mut self.producers, which) else {
            return;
        };
        let len = if bare { payload_bytes } else { len };
        let bytes = &BYTES[..len.min(BYTES.len())];
        let result = match form {
            Form::Policy => producer.publish_bytes(7, bytes),
            Form::Try => producer.try_publish_bytes(7, bytes),
            Form::Claim => producer.claim_timeout(SOON).and_then(|mut claim| {
                claim.payload_mut().fill(0);
                claim.set_kind(7);
                claim.set_flags(7);
                claim.commit()
            }),
        };
        if matches!(form, Form::Claim) || len <= payload_bytes {
            let too_large = matches!(
                result,
                Err(PublishError::TooLarge { .. } | PublishError::WrongLength { .. })
            );
            assert!(!too_large, "{result:?} for {len} of {payload_bytes} bytes");
        }
    }

    fn batch(&mut self, which: u8, frames: u32, outcome: Outcome) {
        let Some(producer) = pick(&mut self.producers, which) else {
            return;
        };
        let Ok(mut batch) = producer.try_claim_batch(frames) else {
            return;
        };
        assert_eq!(batch.len(), frames);
        for index in 0..frames {
            let mut slot = batch.frame(index).expect("a frame of the batch");
            slot.payload_mut().fill(0);
            slot.set_kind(7);
        }
        assert!(batch.frame(frames).is_none());
        match outcome {
            Outcome::Commit => drop(batch.commit()),
            Outcome::Abort => drop(batch),
        }
    }

    fn poll(
        &mut self,
        which: u8,
        poll: impl for<'a> FnOnce(&'a mut Consumer) -> Result<Option<FrameRef<'a>>, PollError>,
    ) {
        let limits = self.limits();
        if let Some(consumer) = pick(&mut self.consumers, which)
            && let Ok(Some(frame)) = poll(consumer)
        {
            limits.check(&frame);
        }
    }

    fn poll_batch(&mut self, which: u8, most: usize) {
        let limits = self.limits();
        let Some(consumer) = pick(&mut self.consumers, which) else {
            return;
        };
        let mut seen = 0;
        let result = consumer.poll_batch(most, |frames| {
            seen = frames.len();
            assert_eq!(frames.inspect(|frame| limits.check(frame)).count(), seen);
        });
        if let Ok(count) = result {
            assert!(count == seen && count <= most.min(limits.capacity), "{count} of {most}");
        }
    }

    fn observe(&mut self, which: u8, most: usize) {
        let limits = self.limits();
        let Some(observer) = pick(&mut self.observers, which) else {
            return;
        };
        let mut seen = 0;
        let result = observer.poll_batch(most, |frames| {
            seen = frames.inspect(|frame| limits.check(frame)).count();
        });
        if let Ok(count) = result {
            assert!(count == seen && count <= most.min(limits.capacity), "{count} of {most}");
        }
    }

    fn look(&self) {
        let info = self.bus.info();
        let stat = self.bus.stat();
        assert_eq!(stat.lanes.len(), info.lanes as usize);
        assert!(stat.consumers.len() <= info.consumers as usize);
        assert!(serde_json::to_string(&stat).is_ok());
        let seats = info.lanes as usize + info.consumers as usize;
        assert!(self.bus.participants().len() <= seats);
        let _any = (self.bus.seat_changes(), self.bus.is_removed());
        for consumer in &self.consumers {
            let _any = (consumer.lag(), consumer.lost(), consumer.order_position());
            let _any = (consumer.lane_position(0), consumer.lane_lag(99), consumer.read());
        }
        for observer in &self.observers {
            let _any = (observer.lag(), observer.lost(), observer.read());
        }
        for producer in &self.producers {
            let _any = (producer.published(), producer.rejected(), producer.blocked_ns());
        }
    }

    // A newcomer waits up to a second for a seat whose holder seems to be leaving. Here all holders
    // stay, so nobody is sent to look for a seat when there is none.

    fn attach_producer(&mut self, wait: Wait) {
        if self.producers.len() < self.bus.info().lanes as usize {
            let producer = self.bus.producer().name("fuzz").wait(wait).timeout(Some(SOON));
            self.producers.extend(producer.attach());
        }
    }

    fn attach_consumer(&mut self, start: Start, wait: Wait) {
        if self.consumers.len() < self.bus.info().consumers as usize {
            let consumer = self.bus.consumer().name("fuzz").start(start).wait(wait);
            self.consumers.extend(consumer.attach());
        }
    }

    fn attach_observer(&mut self, start: Start) {
        if self.observers.len() < ENDS_MAX {
            self.observers.extend(self.bus.observer().start(start).attach());
        }
    }

    fn limits(&self) -> Limits {
        let info = self.bus.info();
        Limits {
            lanes: info.lanes,
            payload_bytes: info.payload_bytes as usize,
            capacity: usize::try_from(info.capacity_frames).unwrap_or(usize::MAX),
            bare: info.frames == FrameLayout::Bare,
            trusted: self.trusted,
        }
    }
}

/// What holds for every frame of the bus.
#[derive(Clone, Copy)]
struct Limits {
    lanes: u32,
    payload_bytes: usize,
    capacity: usize,
    bare: bool,
    trusted: bool,
}

impl Limits {
    fn check(&self, frame: &FrameRef<'_>) {
        assert!(frame.lane() < self.lanes);
        assert!(frame.payload().len() <= self.payload_bytes);
        // Touches every byte, wherever it lies.
        let sum: u64 = frame.payload().iter().map(|byte| u64::from(*byte)).sum();
        if self.trusted {
            assert_eq!((sum, frame.kind()), (0, if self.bare { 0 } else { 7 }));
        }
        let _any = (frame.time_ns(), frame.flags(), frame.position(), frame.to_owned());
    }
}

fn pick<T>(ends: &mut [T], which: u8) -> Option<&mut T> {
    let count = ends.len().max(1);
    ends.get_mut(usize::from(which) % count)
}

fn remove<T>(ends: &mut Vec<T>, which: u8) -> Option<T> {
    let count = ends.len().max(1);
    let index = usize::from(which) % count;
    (index < ends.len()).then(|| ends.swap_remove(index))
}
