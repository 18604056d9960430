//! The client's side of a brokered bus: what is said to the broker, and what is made of the
//! descriptors that come back.
//!
//! ```text
//! message   requests and answers: JSON, one a packet, bounded
//! wire      packets with descriptors over a Unix socket
//! client    one connection: asks and waits for the answer
//! memory    descriptors into regions, each verified before it is mapped
//! feed      keeps up with lanes that are let again
//! ```
//!
//! The other side is `host`. The connection is a participant's proof of life: when it ends, the
//! broker gives the seat back, and whatever its holder may still store reaches nobody, since the next
//! tenant of the seat gets memory of its own.

pub(crate) mod client;
pub(crate) mod feed;
pub(crate) mod memory;
pub(crate) mod message;
pub(crate) mod wire;
