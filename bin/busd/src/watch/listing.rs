//! Which segments exist, and whether that may have changed since the last look.
//!
//! A directory's mtime moves with every name that is made or removed in it, so that an idle look
//! is one stat(2). The kernel's clock for it ticks in milliseconds: a list that was read right
//! after a change may miss a second change with the same mtime, so a list counts as settled only
//! when the change before it was some time ago.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::segment::SHM_DIR;

/// Coarser than any tick of the kernel's clock.
const SETTLED: Duration = Duration::from_millis(100);

/// Remembers what was seen last.
#[derive(Debug, Default)]
pub(super) struct Listing {
    settled_mtime: Option<SystemTime>,
}

impl Listing {
    /// Has the next look list again, whatever the directory says.
    pub(super) fn forget(&mut self) {
        self.settled_mtime = None;
    }

    /// Whether names may have come or gone since this last said no. To be called before listing.
    pub(super) fn may_have_changed(&mut self) -> bool {
        let Ok(mtime) = fs::metadata(SHM_DIR).and_then(|found| found.modified()) else {
            return true;
        };
        if self.settled_mtime == Some(mtime) {
            return false;
        }
        let age = SystemTime::now().duration_since(mtime).unwrap_or_default();
        self.settled_mtime = (age >= SETTLED).then_some(mtime);
        true
    }
}
