//! Makes the buses exist that the config file declares: all of them, or none of the new ones.
//!
//! A bus that exists with the options that are declared is kept as it is, with everybody who is
//! attached. One that exists with other options is an error that names the difference: the daemon
//! removes nothing that it was not asked to remove.

use busway::{Bus, BusOptions, Error};

use crate::api::CreateBus;
use crate::broker::Brokered;
use crate::config::Config;
use crate::runtime_dir::own_uid;
use crate::segment;

/// What became of the declared buses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Buses that were created.
    pub created: Vec<String>,
    /// Buses that existed with the same options.
    pub kept: Vec<String>,
}

/// A declared bus that cannot be.
#[derive(Debug)]
pub struct DeclareError {
    /// The line of the config file that declares it.
    pub line: usize,
    /// The bus.
    pub name: String,
    /// Why not.
    pub source: Error,
}

/// Creates what is missing.
///
/// # Errors
/// When a declared bus exists with other options, its options are no good, or the system refuses.
/// Then whatever this call created is removed again.
pub(crate) fn ensure(config: &Config, brokered: &Brokered) -> Result<Outcome, DeclareError> {
    let mut outcome = Outcome::default();
    let mut missing = Vec::new();
    let mut held = Vec::new();
    for (line, wish) in &config.buses {
        let name = wish.name.as_str();
        let failed = |source| DeclareError { line: *line, name: name.to_owned(), source };
        let options = wish.options().map_err(failed)?;
        options.size_bytes().map_err(failed)?;
        if wish.brokered {
            held.push((*line, wish, options));
            continue;
        }
        match segment::open(name) {
            // The library compares, and says what differs.
            Ok(_) => match options.clone().if_not_exists(true).create(name) {
                Ok(_) => outcome.kept.push(name.to_owned()),
                Err(source) => return Err(failed(source)),
            },
            Err(Error::NotFound { .. }) => missing.push((*line, name, options)),
            Err(source) => return Err(failed(source)),
        }
    }
    // Those of an earlier daemon went with it: there are none yet.
    let created =
        create_all(missing, &mut outcome).and_then(|()| hold_all(held, brokered, &mut outcome));
    match created {
        Ok(()) => Ok(outcome),
        Err(error) => {
            for name in &outcome.created {
                // Nobody has had time to attach; what cannot be removed is seen in the list. Those that
                // are held here go with this process.
                let _ = Bus::remove(name);
            }
            Err(error)
        }
    }
}

fn create_all(
    missing: Vec<(usize, &str, BusOptions)>,
    outcome: &mut Outcome,
) -> Result<(), DeclareError> {
    for (line, name, options) in missing {
        options.create(name).map_err(|source| DeclareError {
            line,
            name: name.to_owned(),
            source,
        })?;
        outcome.created.push(name.to_owned());
    }
    Ok(())
}

fn hold_all(
    held: Vec<(usize, &CreateBus, BusOptions)>,
    brokered: &Brokered,
    outcome: &mut Outcome,
) -> Result<(), DeclareError> {
    for (line, wish, options) in held {
        let failed = |source| DeclareError { line, name: wish.name.clone(), source };
        let allow = wish.allowed().map_err(failed)?;
        brokered.lock().create(&options, &wish.name, own_uid(), allow).map_err(failed)?;
        outcome.created.push(wish.name.clone());
    }
    Ok(())
}
