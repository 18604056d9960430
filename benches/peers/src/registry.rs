//! The peers as values: for each, the functions that were compiled for it. A measurement passes
//! through one of these pointers once, and no message ever does.

use std::any::Any;
use std::path::Path;

use crate::peer::{Peer, Shape};
use crate::plan::{Report, Task};

/// Makes what the ends share; what is returned cleans up when dropped.
pub type Prepare = fn(&Shape, &Path) -> Result<Box<dyn Any>, String>;

/// A peer that this build has.
#[derive(Clone, Copy)]
pub struct Entry {
    /// As on the command line.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Its ends are threads of one process.
    pub threads: bool,
    /// As [`Peer::supports`].
    pub supports: fn(&Shape) -> Result<(), String>,
    /// As [`Peer::prepare`].
    pub prepare: Prepare,
    /// As [`Peer::sweep`].
    pub sweep: fn(&Path),
    /// What a worker does.
    pub work: fn(&Task) -> Result<Report, String>,
}

impl Entry {
    fn of<P: Peer + 'static>() -> Self {
        Self {
            name: P::NAME,
            about: P::ABOUT,
            threads: P::THREADS,
            supports: P::supports,
            prepare: |shape, place| Ok(Box::new(P::prepare(shape, place)?)),
            sweep: P::sweep,
            work: crate::work::work::<P>,
        }
    }
}

/// All peers of this build, in the order of the tables.
pub fn all() -> Vec<Entry> {
    macro_rules! entries {
        ($($(#[$meta:meta])* $peer:ty,)*) => {
            vec![$($(#[$meta])* Entry::of::<$peer>(),)*]
        };
    }
    crate::each_peer!(entries)
}

/// The peer of that name.
///
/// # Errors
/// That there is none.
pub fn find(name: &str) -> Result<Entry, String> {
    let entry = all().into_iter().find(|entry| entry.name == name);
    entry.ok_or_else(|| format!("there is no peer {name:?} in this build"))
}

/// The peers that `--peers` chooses: by whole names, or by the part before the colon for all
/// variants; all of them without a choice.
///
/// # Errors
/// Which name is not known, and which are.
pub fn choose(names: &[String]) -> Result<Vec<Entry>, String> {
    let all = all();
    if names.is_empty() {
        return Ok(all);
    }
    let is = |entry: &Entry, name: &str| {
        entry.name == name || entry.name.split_once(':').is_some_and(|(family, _)| family == name)
    };
    if let Some(name) = names.iter().find(|name| !all.iter().any(|entry| is(entry, name))) {
        let known: Vec<_> = all.iter().map(|entry| entry.name).collect();
        return Err(format!("no peer {name:?} in this build; there are {}", known.join(", ")));
    }
    Ok(all.into_iter().filter(|entry| names.iter().any(|name| is(entry, name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().iter().map(|entry| entry.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_family_is_all_its_variants() {
        let chosen = choose(&[String::from("busway")]).expect("known");
        let names: Vec<_> = chosen.iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["busway:event", "busway:bare"]);
        assert!(choose(&[String::from("nothing")]).is_err());
    }
}
