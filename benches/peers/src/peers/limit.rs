//! The machine's limit, by peers that do nothing but carry the bytes: no header, no policy, no
//! check, no way to attach late or to die well. What a bus reaches of it is what its service costs.
//!
//! * `lane`: `limit:lane` and `limit:broadcast`, one ring. `marked`: the same with a mark in each
//!   message instead of a head. `lanes`: one ring for each producer. `order`: the same under one total
//!   order, `limit:order` and `limit:order-cas`. `line`: one cache line, `limit:ping-pong` and
//!   `limit:futex`.

mod lane;
mod lanes;
mod line;
mod marked;
mod order;

pub use lane::{Broadcast, Lane};
pub use lanes::Lanes;
pub use line::{Futex, PingPong};
pub use marked::Marked;
pub use order::{Cas, Order, Store};
