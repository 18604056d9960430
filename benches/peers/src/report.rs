//! What is said in the end: tables for people, JSON for programs, a plot for a first look.

mod machine;
mod plot;
mod table;

pub use machine::Machine;
pub use plot::plot;
pub use table::print;

use serde::Serialize;

use crate::run::Outcome;

/// The JSON document.
#[derive(Serialize)]
pub struct Document<'a> {
    /// The document's kind and version.
    pub schema: &'static str,
    /// The command line that was run.
    pub command: &'a str,
    pub machine: &'a Machine,
    /// The processors that ends were dealt out to.
    pub pins: &'a [usize],
    pub runs: usize,
    pub peers: Vec<About>,
    pub scenarios: &'a [Outcome],
}

/// A peer that took part.
#[derive(Serialize)]
pub struct About {
    pub name: &'static str,
    pub about: &'static str,
}

/// `Document::schema`.
pub const SCHEMA: &str = "busway.peers/1";
