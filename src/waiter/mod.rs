//! The one thread that sleeps for all tasks of this process which wait for buses.
//!
//! Futures cannot sleep on a futex, and a thread for each of them would be what they are there to avoid. So
//! they leave their wakers here, and one thread sleeps on all their doorbells at once, and on a word of its
//! own by which it learns of newcomers (`futex::wait_any`). It is started by the first that waits, and ends
//! when for a second there has been nobody to sleep for. `post` has the protocol.
//!
//! A task is woken when its bell rings, and now and then anyway: as a bound on a wake that was missed, and
//! so that it asks whether those that it waits for are alive.

mod post;

#[cfg(not(loom))]
pub(crate) use thread::Registration;

#[cfg(not(loom))]
mod thread;
