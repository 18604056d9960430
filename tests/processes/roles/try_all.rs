//! A process that tries every door of a bus and tells what came of it.

use std::collections::BTreeMap;

use busway::{Bus, Error};

use super::say;
use crate::support::role::Note;

pub fn run(name: &str) {
    let mut codes = BTreeMap::new();
    let mut tell = |door: &str, result: Result<(), Error>| {
        let code = result.map_or_else(|error| error.code().to_owned(), |()| "ok".to_owned());
        codes.insert(door.to_owned(), code);
    };
    match Bus::open(name) {
        Err(error) => tell("open", Err(error)),
        Ok(bus) => {
            tell("open", Ok(()));
            tell("observe", bus.observer().attach().map(drop));
            tell("produce", bus.producer().attach().map(drop));
            tell("consume", bus.consumer().attach().map(drop));
            tell("reclaim", bus.reclaim().map(drop));
        }
    }
    tell("create", Bus::options().create(name).map(drop));
    tell("remove", Bus::remove(name));
    say(&Note::Codes(codes));
}
