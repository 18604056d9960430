//! What only a test inside the crate can set up: headers that this build never writes.

use std::os::unix::fs::FileExt;

use zerocopy::IntoBytes;

use crate::bus::{Bus, kick};
use crate::error::Error;
use crate::regions::{Regions, View};
use crate::shm::segment::Segment;

/// Removes the bus at the end of the test, whatever becomes of it.
struct Guard(String);

impl Drop for Guard {
    fn drop(&mut self) {
        let _removed = Bus::remove(&self.0);
    }
}

#[test]
fn bus_with_features_for_writers_can_only_be_observed() {
    let name = format!("t-{}-ro-compat", std::process::id());
    let _guard = Guard(name.clone());
    let bus = Bus::options().lanes(1).capacity_frames(2).create(&name).unwrap();
    let mut header = *bus.header();
    header.features_ro_compat = 4;
    let file = std::fs::File::options().write(true).open(crate::shm::name::path(&name));
    file.unwrap().write_all_at(header.encode(&name, &[]).as_bytes(), 0).unwrap();

    let bus = Bus::open(&name).unwrap();
    assert!(bus.observer().attach().is_ok());
    let refusals = [
        bus.producer().attach().map(drop).unwrap_err(),
        bus.consumer().attach().map(drop).unwrap_err(),
        bus.reclaim().map(drop).unwrap_err(),
    ];
    for error in refusals {
        assert!(matches!(error, Error::Incompatible { .. }), "{error}");
        assert!(error.to_string().contains("features 0x4"), "{error}");
    }
}

#[test]
fn newcomer_is_not_kicked_for_who_had_its_seat() {
    let name = format!("t-{}-kick-late", std::process::id());
    let _guard = Guard(name.clone());
    let bus = Bus::options().lanes(1).consumers(1).evict_lag_frames(8).create(&name).unwrap();
    let segment = Segment::open(&name, View::Recovery.file()).unwrap();
    let regions = Regions::map(&segment, bus.header(), View::Recovery).unwrap();
    let (producer, consumer) = (bus.producer().attach().unwrap(), bus.consumer().attach().unwrap());
    // Whoever kicks looks who is there, and is slow to say what it has to say.
    let looked_at = bus.participants();
    drop((producer, consumer));
    assert!(looked_at.iter().cloned().all(|one| kick::tell(&regions, one).is_none()), "left");
    let _newcomers = (bus.producer().attach().unwrap(), bus.consumer().attach().unwrap());
    assert!(looked_at.into_iter().all(|one| kick::tell(&regions, one).is_none()));
    assert!(bus.participants().iter().all(|one| !one.evicted), "{:?}", bus.participants());
    assert_eq!(bus.stat().evictions, 0);
}
