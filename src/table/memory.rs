//! A table's regions as the words of the protocol.
//!
//! | role | control | desks | cells | slots |
//! |---|---|---|---|---|
//! | writer, recovery | rw | rw | rw | rw |
//! | reader | rw (bells), or r where it may not write | r | r | r |
//! | look: statistics | r | r | r | r |

use std::sync::Arc;

use crate::cells::{Cells, Memory, Plan};
use crate::error::Error;
use crate::layout::geometry::Region;
use crate::layout::table::geometry::{Geometry, SPARE_SLOTS, key_words};
use crate::layout::table::header::Header;
use crate::layout::table::words::{CELL_BYTES, DESK_BYTES, DeskWords, REMOVED, TableWords};
use crate::layout::words::SeatWords;
use crate::regions::Health;
use crate::shm::mapping::{Access, Mapping, Shared, SharedArray};
use crate::shm::segment::Segment;
use crate::sync::{AtomicU64, Ordering};

/// Words from one cell to the next.
const CELL_WORDS: usize = (CELL_BYTES / 8) as usize;

/// Who maps, which decides what is writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Writer,
    Reader,
    /// A reader that may not write, and so cannot say that it waits.
    ReaderOnly,
    Look,
}

/// The regions of one table.
#[derive(Clone, Debug)]
pub(crate) struct TableMemory {
    pub(super) words: Shared<TableWords>,
    seats: Arc<[Shared<SeatWords>]>,
    desks: Arc<[Shared<DeskWords>]>,
    cells: SharedArray,
    slots: SharedArray,
    /// Words from one slot to the next.
    slot_words: usize,
    pub(super) health: Health,
}

/// Maps a table's regions for a role.
///
/// # Errors
/// `Incompatible` for who would write to a table that has features this build does not know; `Io` when
/// the system refuses a mapping.
pub(super) fn cells(
    segment: &Segment,
    header: &Header,
    view: View,
) -> Result<Cells<TableMemory>, Error> {
    if header.features_ro_compat != 0 && view == View::Writer {
        return Err(Error::Incompatible {
            name: segment.name.clone(),
            reason: format!(
                "writing to it takes features {:#x}, which this build lacks; it can be read",
                header.features_ro_compat
            ),
        });
    }
    let Geometry { shape, control, desks, cell_region, slot_region, .. } = header.geometry;
    let map = |region: Region, access| {
        Mapping::new(&segment.file, region, access)
            .map_err(|source| Error::Io { action: "map the segment", source })
    };
    let (bells, rest) = match view {
        View::Writer => (Access::ReadWrite, Access::ReadWrite),
        View::Reader => (Access::ReadWrite, Access::Read),
        View::ReaderOnly => (Access::Read, Access::Read),
        View::Look => (Access::Look, Access::Look),
    };
    let control = map(control, bells)?;
    let [desks, cells, slots] = [desks, cell_region, slot_region].map(|region| map(region, rest));
    let (desks, cells, slots) = (desks?, cells?, slots?);
    let outside = || Error::Corrupt {
        name: segment.name.clone(),
        reason: "its words do not lie in its regions".to_owned(),
    };
    let memory = TableMemory {
        words: Shared::at(&control, 0).ok_or_else(outside)?,
        seats: (0..shape.writers)
            .map(|seat| Shared::at(&control, Geometry::seat(seat)))
            .collect::<Option<_>>()
            .ok_or_else(outside)?,
        desks: (0..shape.writers)
            .map(|seat| Shared::at(&desks, u64::from(seat) * DESK_BYTES))
            .collect::<Option<_>>()
            .ok_or_else(outside)?,
        cells: SharedArray::at(&cells, 0, cell_region.bytes / 8).ok_or_else(outside)?,
        slots: SharedArray::at(&slots, 0, slot_region.bytes / 8).ok_or_else(outside)?,
        slot_words: usize::try_from(header.geometry.slot_bytes / 8).map_err(|_| outside())?,
        health: Health::of(&[&control, &desks, &cells, &slots]),
    };
    Ok(Cells { memory, plan: plan(&header.geometry).ok_or_else(outside)? })
}

fn plan(geometry: &Geometry) -> Option<Plan> {
    let shape = geometry.shape;
    Some(Plan {
        cells: u32::try_from(geometry.cells).ok()?,
        slots: u32::try_from(geometry.slots).ok()?,
        writers: shape.writers,
        keys: shape.keys,
        spare: usize::try_from(SPARE_SLOTS).ok()?,
        key_words: usize::try_from(key_words(shape.key_kind)).ok()?,
        value_bytes: usize::try_from(shape.value_bytes).ok()?,
    })
}

impl TableMemory {
    /// A writer's seat; `None` when the table has no such seat.
    pub(super) fn seat(&self, seat: u32) -> Option<&Shared<SeatWords>> {
        self.seats.get(usize::try_from(seat).ok()?)
    }

    /// How many writers can attach.
    pub(super) fn seats(&self) -> u32 {
        u32::try_from(self.seats.len()).unwrap_or(u32::MAX)
    }

    /// Whether the table has been removed.
    #[inline]
    pub(super) fn is_removed(&self) -> bool {
        // ORDERING: acquire, pairs with the release in `Table::remove`.
        self.words.attention.load(Ordering::Acquire) & REMOVED != 0
    }

    /// Tells whoever watches that a seat was taken, left or given back.
    pub(super) fn note_change(&self) {
        // ORDERING: release, pairs with the acquire load in `Table::seat_changes`.
        self.words.seat_changes.fetch_add(1, Ordering::Release);
    }

    /// Counts an impossible word that was met. For who may write to the table.
    #[cold]
    pub(super) fn note_corruption(&self) {
        // ORDERING: relaxed; a statistic.
        self.words.corruptions.fetch_add(1, Ordering::Relaxed);
    }
}

impl Memory for TableMemory {
    type Desk<'a> = &'a DeskWords;

    #[inline]
    fn cell(&self, cell: u32) -> Option<&AtomicU64> {
        self.cells.get(usize::try_from(cell).ok()?.checked_mul(CELL_WORDS)?)
    }

    #[inline]
    fn slot(&self, slot: u32) -> Option<&[AtomicU64]> {
        let first = usize::try_from(slot).ok()?.checked_mul(self.slot_words)?;
        self.slots.get(first..first.checked_add(self.slot_words)?)
    }

    #[inline]
    fn desk(&self, seat: u32) -> Option<&DeskWords> {
        self.desks.get(usize::try_from(seat).ok()?).map(|desk| &**desk)
    }

    fn keys(&self) -> &AtomicU64 {
        &self.words.keys
    }
}
