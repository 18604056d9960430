//! The list of everything that can be measured. A peer is a file in `peers/` and a line here.

#[cfg(not(all(
    feature = "aeron",
    feature = "boost",
    feature = "iceoryx2",
    feature = "nats",
    feature = "redis",
    feature = "tachyon",
    feature = "zmq"
)))]
mod absent;
#[cfg(feature = "aeron")]
pub mod aeron;
#[cfg(feature = "boost")]
pub mod boost;
#[cfg(any(feature = "nats", feature = "redis"))]
mod broker;
pub mod busway;
mod by_size;
mod bytes;
pub mod disruptor_mp;
#[cfg(feature = "iceoryx2")]
pub mod iceoryx2;
pub mod inside;
pub mod ipc_channel;
pub mod limit;
#[cfg(feature = "nats")]
pub mod nats;
pub mod pipe;
pub mod posix_mq;
#[cfg(feature = "redis")]
pub mod redis;
pub mod ringfire;
mod rings;
pub mod shaq;
mod shm;
#[cfg(feature = "tachyon")]
pub mod tachyon;
pub mod unix_datagram;
pub mod unix_stream;
#[cfg(feature = "zmq")]
pub mod zmq;

#[cfg(not(feature = "aeron"))]
absent::absent!(aeron, "aeron": Aeron = "aeron", Aeron64M = "aeron:64M");
#[cfg(not(feature = "boost"))]
absent::absent!(boost, "boost": Boost = "boost");
#[cfg(not(feature = "iceoryx2"))]
absent::absent!(iceoryx2, "iceoryx2": Iceoryx2 = "iceoryx2");
#[cfg(not(feature = "nats"))]
absent::absent!(nats, "nats": Nats = "nats");
#[cfg(not(feature = "redis"))]
absent::absent!(redis, "redis": Redis = "redis");
#[cfg(not(feature = "tachyon"))]
absent::absent!(tachyon, "tachyon": Tachyon = "tachyon-ipc");
#[cfg(not(feature = "zmq"))]
absent::absent!(zmq, "zmq": Zmq = "zeromq");

/// Calls a macro with the types of all peers that this build has, in the order of the tables.
#[macro_export]
macro_rules! each_peer {
    ($call:ident) => {
        $call! {
            $crate::peers::busway::Busway<$crate::peers::busway::Event>,
            $crate::peers::busway::Busway<$crate::peers::busway::Bare>,
            $crate::peers::limit::Lane,
            $crate::peers::limit::Marked,
            $crate::peers::limit::Lanes,
            $crate::peers::limit::Order<$crate::peers::limit::Store>,
            $crate::peers::limit::Order<$crate::peers::limit::Cas>,
            $crate::peers::limit::Broadcast,
            $crate::peers::limit::PingPong,
            $crate::peers::limit::Futex,
            $crate::peers::disruptor_mp::DisruptorMp,
            $crate::peers::ringfire::Ringfire,
            $crate::peers::shaq::Spsc,
            $crate::peers::shaq::Broadcast,
            $crate::peers::shaq::Mpmc,
            $crate::peers::iceoryx2::Iceoryx2,
            $crate::peers::aeron::Aeron,
            $crate::peers::aeron::Aeron64M,
            $crate::peers::tachyon::Tachyon,
            $crate::peers::boost::Boost,
            $crate::peers::zmq::Zmq,
            $crate::peers::ipc_channel::IpcChannel,
            $crate::peers::redis::Redis,
            $crate::peers::nats::Nats,
            $crate::peers::inside::Rtrb,
            $crate::peers::inside::Disruptor,
            $crate::peers::inside::ArrayQueues,
            $crate::peers::pipe::Pipe,
            $crate::peers::unix_stream::Stream,
            $crate::peers::unix_datagram::Datagram,
            $crate::peers::posix_mq::Queues,
        }
    };
}
