//! The verbs, one file each: its arguments and its `run`.
//!
//! ```text
//! make and remove    create · remove · kick
//! look               list · stat · participants · schema · doctor/
//! frames             publish (input) · subscribe (source, render) · rate (hz, bw) · owned
//! tables            table/
//! the program itself about (completions, man)
//! ```

pub mod about;
pub mod create;
pub mod doctor;
pub mod input;
pub mod kick;
pub mod list;
pub mod owned;
pub mod participants;
pub mod publish;
pub mod rate;
pub mod remove;
pub mod render;
pub mod schema;
pub mod source;
pub mod stat;
pub mod subscribe;
pub mod table;
