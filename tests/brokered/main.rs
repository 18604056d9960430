//! Brokered buses through the library: a broker in a thread of this process, ends that attach to it by
//! its socket, and brokers and peers that mean no good.
//!
//! ```text
//! support    a broker in a thread
//! frames     what a bus promises, on memory that was handed out
//! tenants    lanes and rows that change hands
//! broker     a broker that ends, refuses, or is full
//! hostile    peers that store what they like wherever they can
//! forged     brokers that hand out what is not what it should be
//! ```

mod broker;
mod forged;
mod frames;
mod hostile;
mod support;
mod tenants;
