//! iceoryx2: publish-subscribe over shared memory; a message is loaned from the publisher's pool,
//! written there, and its offset goes through one queue for each pair of publisher and subscriber.
//!
//! Settings: `ipc` services (single-threaded ports), fixed-size payloads, `loan_uninit`, subscriber
//! buffers of the shape's slots; lossless by `enable_safe_overflow(false)` with
//! `RetryUntilDelivered`, lossy by safe overflow, which drops the oldest. There are no batches: a
//! batch is a loop. Parking is its event service beside the data, as its examples do it: one
//! notification for each send.

use std::path::Path;
use std::time::Duration;

use busway::zerocopy::IntoBytes as _;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{
    BackpressureStrategy, Config, FileName, LogLevel, Node, NodeBuilder, SemanticString as _,
    ServiceName, SignalHandlingMode, ipc, set_log_level,
};
use iceoryx2::service::port_factory;

use super::by_size::{Attach, by_size_rx, by_size_tx, need_size};
use super::shm;
use crate::peer::{Order, Peer, Rx, Shape, Tx, Wait, need, tag};

/// Bytes that a message costs beside its payload: the header of a sample.
const HEADER_BYTES: usize = size_of::<iceoryx2::service::header::publish_subscribe::Header>();

/// A service of a measurement, kept open while the ends come and go.
pub struct Iceoryx2 {
    _node: Node<ipc::Service>,
    _sweep: shm::Sweep,
}

impl Peer for Iceoryx2 {
    const NAME: &'static str = "iceoryx2";
    const ABOUT: &'static str = "iceoryx2 0.10, publish-subscribe, loaned samples";
    type Tx = Iceoryx2Tx;
    type Rx = Iceoryx2Rx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need_size(shape)?;
        need(shape.order == Order::PerProducer || shape.seats() == 1, "no order over publishers")
    }

    fn prepare(_shape: &Shape, place: &Path) -> Result<Self, String> {
        let sweep = shm::Sweep::new(place);
        Ok(Self { _node: node(place)?, _sweep: sweep })
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<Iceoryx2Tx, String> {
        Iceoryx2Tx::attach(shape, place, index)
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<Iceoryx2Rx, String> {
        Iceoryx2Rx::attach(shape, place, index)
    }
}

/// A closure that puts what was tried before an error.
fn tried<E: std::fmt::Debug>(what: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error:?}")
}

fn node(place: &Path) -> Result<Node<ipc::Service>, String> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    // Everything below the place, and everything in /dev/shm by its tag.
    let root = iceoryx2::prelude::Path::new(place.as_os_str().as_encoded_bytes());
    config.global.set_root_path(&root.map_err(tried("naming the root"))?);
    let prefix = FileName::new(format!("{}_", tag(place)).as_bytes());
    config.global.prefix = prefix.map_err(tried("naming the prefix"))?;
    NodeBuilder::new()
        .config(&config)
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .create::<ipc::Service>()
        .map_err(tried("creating a node"))
}

fn name(name: &str) -> Result<ServiceName, String> {
    ServiceName::new(name).map_err(tried("naming a service"))
}

type Frames<const WORDS: usize> =
    port_factory::publish_subscribe::PortFactory<ipc::Service, [u64; WORDS], ()>;

fn frames<const WORDS: usize>(
    shape: &Shape,
    node: &Node<ipc::Service>,
) -> Result<Frames<WORDS>, String> {
    node.service_builder(&name("frames")?)
        .publish_subscribe::<[u64; WORDS]>()
        .max_publishers(shape.seats())
        .max_subscribers(shape.consumers)
        .max_nodes(shape.seats() + shape.consumers + 1)
        .subscriber_max_buffer_size(shape.slots(8 * WORDS + HEADER_BYTES))
        .subscriber_max_borrowed_samples(1)
        .history_size(0)
        .enable_safe_overflow(shape.lossy)
        .open_or_create()
        .map_err(tried("opening the service"))
}

fn events(
    shape: &Shape,
    node: &Node<ipc::Service>,
) -> Result<port_factory::event::PortFactory<ipc::Service>, String> {
    node.service_builder(&name("events")?)
        .event()
        .max_notifiers(shape.seats())
        .max_listeners(shape.consumers)
        .max_nodes(shape.seats() + shape.consumers + 1)
        .open_or_create()
        .map_err(tried("opening the event service"))
}

by_size_tx!(
    /// A publisher.
    Iceoryx2Tx of PublisherTx
);

/// A publisher of messages of one size.
pub struct PublisherTx<const WORDS: usize> {
    publisher: Publisher<ipc::Service, [u64; WORDS], ()>,
    /// Where consumers park.
    notifier: Option<Notifier<ipc::Service>>,
    _node: Node<ipc::Service>,
}

impl<const WORDS: usize> Attach for PublisherTx<WORDS> {
    fn attach(shape: &Shape, place: &Path, _index: usize) -> Result<Self, String> {
        let node = node(place)?;
        let publisher = frames::<WORDS>(shape, &node)?
            .publisher_builder()
            .max_loaned_samples(1)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .map_err(tried("creating a publisher"))?;
        let notifier = match shape.wait {
            Wait::Spin => None,
            Wait::Park => {
                let notifier = events(shape, &node)?.notifier_builder().create();
                Some(notifier.map_err(tried("creating a notifier"))?)
            }
        };
        Ok(Self { publisher, notifier, _node: node })
    }
}

impl<const WORDS: usize> Tx for PublisherTx<WORDS> {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        for index in 0..count {
            let mut sample = self.publisher.loan_uninit().map_err(tried("loaning"))?;
            // SAFETY: the pool is shared memory that its owner has zeroed: initialized, and every
            // pattern of bits is an array of integers.
            fill(index, unsafe { sample.payload_mut().assume_init_mut() }.as_mut_bytes());
            // SAFETY: as above.
            let sample = unsafe { sample.assume_init() };
            sample.send().map_err(tried("sending"))?;
        }
        if let Some(notifier) = &self.notifier {
            notifier.notify().map_err(tried("notifying"))?;
        }
        Ok(())
    }
}

by_size_rx!(
    /// A subscriber.
    Iceoryx2Rx of SubscriberRx
);

/// A subscriber to messages of one size.
pub struct SubscriberRx<const WORDS: usize> {
    subscriber: Subscriber<ipc::Service, [u64; WORDS], ()>,
    listener: Option<Listener<ipc::Service>>,
    _node: Node<ipc::Service>,
}

impl<const WORDS: usize> Attach for SubscriberRx<WORDS> {
    fn attach(shape: &Shape, place: &Path, _index: usize) -> Result<Self, String> {
        let node = node(place)?;
        let subscriber = frames::<WORDS>(shape, &node)?
            .subscriber_builder()
            .create()
            .map_err(tried("creating a subscriber"))?;
        let listener = match shape.wait {
            Wait::Spin => None,
            Wait::Park => {
                let listener = events(shape, &node)?.listener_builder().create();
                Some(listener.map_err(tried("creating a listener"))?)
            }
        };
        Ok(Self { subscriber, listener, _node: node })
    }
}

impl<const WORDS: usize> Rx for SubscriberRx<WORDS> {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        for count in 0..max {
            match self.subscriber.receive().map_err(tried("receiving"))? {
                Some(sample) => each(sample.payload().as_bytes()),
                None => return Ok(count),
            }
        }
        Ok(max)
    }

    fn wait(&mut self, timeout: Duration, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let count = self.poll(1, &mut each)?;
        let Some(listener) = &self.listener else { return Ok(count) };
        if count > 0 {
            return Ok(count);
        }
        listener.timed_wait(|_| {}, timeout).map_err(tried("waiting"))?;
        self.poll(1, each)
    }
}
