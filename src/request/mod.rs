//! Request and reply: a call to another process, and its answer.
//!
//! A service is two buses:
//!
//! | bus | lanes | read by | when full |
//! |---|---|---|---|
//! | `NAME.req` | one a caller | the server | the caller waits, for as long as its call may take |
//! | `NAME.rep` | the server's | every caller, which takes its own | never waits: the oldest replies go |
//!
//! So a caller that is stopped, slow or dead holds up nobody: its replies are overwritten in time. A
//! server waits for no caller. Whether the server of a call is still there is read off its seats, of
//! which the callers themselves prove that their holder is dead (`seat::recovery`); the epoch of the
//! one at the replies tells a server from the one after it. It takes that one last, when it reads
//! requests for certain, and a request names whom it is asked of: so each is read by the server whose
//! callers wait for it, or by none, and none waits for a server that does not know of it. Nothing is
//! made for a call but a slot in its caller's memory, so there is nothing that a death could leave
//! behind.
//!
//! * `service`: making and finding one. * `caller`, `calls`: one side. * `server`: the other.
//! * `wire`: what a request looks like. * `error`: what becomes of a call.

mod caller;
mod calls;
mod error;
mod reply;
mod server;
mod service;
mod wire;

pub use caller::{Caller, CallerOptions};
pub use calls::Call;
pub use error::CallError;
pub use reply::{Completion, Reply};
pub use server::{ReplyTo, Request, Server, ServerOptions};
pub use service::{Service, ServiceOptions};
