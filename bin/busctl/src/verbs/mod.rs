//! The verbs, one file each: its arguments and its `run`.
//!
//! ```text
//! make and remove    create · remove · kick
//! look               list · stat · participants · schema · check/ · doctor/
//! groups             group · dlq
//! frames             publish (input, later) · subscribe (source, render) · rate (hz, bw) · owned
//! later              schedule
//! tables             table/
//! the program itself about (completions, man)
//! ```

pub mod about;
pub mod check;
pub mod create;
pub mod dlq;
pub mod doctor;
pub mod group;
pub mod input;
pub mod kick;
pub mod later;
pub mod list;
pub mod owned;
pub mod participants;
pub mod publish;
pub mod rate;
pub mod remove;
pub mod render;
pub mod schedule;
pub mod schema;
pub mod source;
pub mod stat;
pub mod subscribe;
pub mod table;
