//! After a death: what of the journal was published.
//!
//! The journal's last word on a position says which schedule was to stand there. If the tenancy ended
//! after that position, it does; if not, nothing of it was ever visible. Whoever reads this journal has
//! the lock of its directory, so the process that wrote it is dead, and can publish nothing more.

use std::time::{Duration, Instant};

use busway::{Error, TenancyEnd};

use super::journal::{Contents, Tenancy};
use super::record::{Change, Outcome};
use crate::segment;

/// Longest wait for the recovery of the dead daemon's seat by somebody else.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// What has become of what was to be published. What is not mentioned was not, and is still due.
pub(super) fn judge(contents: &Contents) -> Vec<Change> {
    let mut changes = Vec::new();
    for (tenancy, intents) in contents.iter().filter(|(_, intents)| !intents.is_empty()) {
        let end = end_of(tenancy);
        let change = |(position, intent): (&u64, &super::journal::Intent)| {
            let outcome = match &end {
                Ok(end) if is_before(*position, *end) => Outcome::Published,
                Ok(_) => return None,
                Err(reason) => Outcome::Doubtful(reason.clone()),
            };
            Some(Change { id: intent.id, occurrence: intent.occurrence, outcome })
        };
        changes.extend(intents.iter().filter_map(change));
        match &end {
            Ok(end) => tracing::info!(bus = tenancy.bus, lane = tenancy.lane, end, "settled"),
            Err(reason) => tracing::warn!(
                bus = tenancy.bus,
                lane = tenancy.lane,
                reason,
                "cannot tell what was published before the daemon's death"
            ),
        }
    }
    changes
}

/// Where the tenancy ended; why that is not known, otherwise.
fn end_of(tenancy: &Tenancy) -> Result<u64, String> {
    let doubt = |what: String| format!("the daemon died while it published, and {what}");
    let bus = match segment::open(&tenancy.bus) {
        Ok(bus) if bus.info().instance == tenancy.instance => bus,
        Ok(_) | Err(Error::NotFound { .. }) => {
            return Err(doubt("the bus is not there any more".to_owned()));
        }
        Err(error) => return Err(doubt(error.to_string())),
    };
    let start = Instant::now();
    loop {
        // Its own seat among them, unless somebody else has been faster.
        if let Err(error) = bus.reclaim() {
            return Err(doubt(format!("its seat cannot be recovered: {error}")));
        }
        match bus.tenancy_end(tenancy.lane, tenancy.epoch) {
            TenancyEnd::At(end) => return Ok(end),
            TenancyEnd::Unknown => {
                let lane = tenancy.lane;
                return Err(doubt(format!("another has kept its end on lane {lane} since")));
            }
            TenancyEnd::NotYet if start.elapsed() > RECOVERY_TIMEOUT => {
                return Err(doubt("whoever recovers its seat does not go on".to_owned()));
            }
            TenancyEnd::NotYet => std::thread::sleep(LOOK),
        }
    }
}

/// Positions wrap at 2^64.
fn is_before(position: u64, end: u64) -> bool {
    position.wrapping_sub(end) > 1 << 63
}
