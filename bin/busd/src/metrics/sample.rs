//! Every bus as it stands now.

use busway::{Bus, BusInfo, BusStat, Error, GroupStat};

use crate::broker::Brokered;
use crate::segment;

/// One bus as it stood at a time.
#[derive(Clone, Debug)]
pub(crate) struct BusSample {
    pub(crate) info: BusInfo,
    pub(crate) stat: BusStat,
    /// Its groups by name; a brokered bus has none.
    pub(crate) groups: Vec<(String, GroupStat)>,
}

/// Every bus that can be opened, by name, and how many segments could not. Blocks for as long as mapping
/// them takes.
///
/// # Errors
/// `Io` when shared memory cannot be listed.
pub(crate) fn all(brokered: &Brokered) -> Result<(Vec<BusSample>, u64), Error> {
    let mut samples = Vec::new();
    let mut unreadable = 0;
    for name in Bus::list()? {
        match segment::open(&name) {
            Ok(bus) => samples.push(of(&bus)),
            // Gone meanwhile; or a table, which is no bus.
            Err(Error::NotFound { .. } | Error::WrongKind { .. }) => {}
            Err(_) => unreadable += 1,
        }
    }
    for bus in brokered.lock().buses() {
        let (info, stat) = (bus.info().clone(), bus.stat());
        samples.push(BusSample { info, stat, groups: Vec::new() });
    }
    samples.sort_by(|one, other| one.info.name.cmp(&other.info.name));
    Ok((samples, unreadable))
}

fn of(bus: &Bus) -> BusSample {
    // A group that is made, removed or damaged just now is left out.
    let groups = bus.groups().unwrap_or_default().into_iter().filter_map(|name| {
        let stat = bus.open_group(&name).and_then(|group| group.stat()).ok()?;
        Some((name, stat))
    });
    BusSample { info: bus.info().clone(), stat: bus.stat(), groups: groups.collect() }
}
