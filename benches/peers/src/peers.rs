//! The list of everything that can be measured. A peer is a file in `peers/` and a line here.

pub mod busway;
mod bytes;
mod by_size;
pub mod disruptor_mp;
pub mod limit;
pub mod pipe;
pub mod posix_mq;
pub mod unix_datagram;
pub mod unix_stream;
pub mod ringfire;
mod rings;
pub mod shaq;
mod shm;

/// Calls a macro with the types of all peers that this build has, in the order of the tables.
#[macro_export]
macro_rules! each_peer {
    ($call:ident) => {
        $call! {
            $crate::peers::busway::Busway<$crate::peers::busway::Event>,
            $crate::peers::busway::Busway<$crate::peers::busway::Bare>,
            $crate::peers::limit::Lane,
            $crate::peers::limit::Lanes,
            $crate::peers::limit::Order,
            $crate::peers::limit::Broadcast,
            $crate::peers::limit::PingPong,
            $crate::peers::limit::Futex,
            $crate::peers::disruptor_mp::DisruptorMp,
            $crate::peers::ringfire::Ringfire,
            $crate::peers::shaq::Spsc,
            $crate::peers::shaq::Broadcast,
            $crate::peers::shaq::Mpmc,
            $crate::peers::pipe::Pipe,
            $crate::peers::unix_stream::Stream,
            $crate::peers::unix_datagram::Datagram,
            $crate::peers::posix_mq::Queues,
        }
    };
}
