//! From the shape that a table is asked for to the offset of everything in its segment.
//!
//! As `layout::geometry` for buses: checked arithmetic, and a header is believed only if its shape
//! gives the very offsets that it states.

use super::words::{CELL_BYTES, DESK_BYTES, SLOT_HEADER_BYTES, TABLE_WORDS_BYTES};
use crate::error::Error;
use crate::layout::PAGE_BYTES;
use crate::layout::geometry::{PAYLOAD_MAX, Region, SCHEMA_MAX};
use crate::layout::header::FIXED_BYTES;
use crate::layout::words::SEAT_WORDS_BYTES;
use crate::options::KeyKind;

/// Keys of a table at most: a cell's word has 20 bits for the slot, and a stamp as many for the cell.
pub(crate) const KEYS_MAX: u64 = 1 << 19;
/// Writers at most: a writer's tenancy is named by its seat in eight bits.
pub(crate) const WRITERS_MAX: u32 = 256;
/// Slots that an attached writer keeps for itself. A slot that was replaced is written again after so
/// many writes of who replaced it, so a reader has as long to copy it.
pub(crate) const SPARE_SLOTS: u64 = 4;
/// Cells at least: so that a small table has empty ones to end a search at.
const CELLS_MIN: u64 = 8;

/// The choices that decide a table's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) key_kind: KeyKind,
    pub(crate) timestamps: bool,
    pub(crate) value_bytes: u32,
    pub(crate) keys: u64,
    pub(crate) writers: u32,
    pub(crate) schema_bytes: u32,
}

/// Where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) shape: Shape,
    /// Bytes from one slot to the next: whole cache lines, since slots are of different writers.
    pub(crate) slot_bytes: u32,
    /// A power of two.
    pub(crate) cells: u64,
    pub(crate) slots: u64,
    pub(crate) header: Region,
    pub(crate) control: Region,
    pub(crate) desks: Region,
    pub(crate) cell_region: Region,
    pub(crate) slot_region: Region,
    pub(crate) segment_bytes: u64,
}

impl Geometry {
    /// Checks a shape and lays it out.
    ///
    /// # Errors
    /// `BadGeometry` naming the first size or count that is out of range.
    pub(crate) fn of(shape: Shape) -> Result<Self, Error> {
        check(shape)?;
        // Every factor is bounded by `check`, so the largest product, 2^20 slots of 2^20 + 128 bytes, is
        // below 2^41; the arithmetic is checked all the same.
        layout(shape).ok_or_else(|| bad("segment size", u64::MAX, "at most 2^63 bytes"))
    }

    /// Offset of a writer's seat in the control region.
    pub(crate) const fn seat(writer: u32) -> u64 {
        TABLE_WORDS_BYTES + writer as u64 * SEAT_WORDS_BYTES
    }
}

/// Words of a key in a slot.
pub(crate) const fn key_words(keys: KeyKind) -> u64 {
    match keys {
        KeyKind::U64 => 1,
        KeyKind::Text => 4,
    }
}

fn bad(what: &'static str, value: u64, allowed: &str) -> Error {
    Error::BadGeometry { what, value, allowed: allowed.to_owned() }
}

fn check(shape: Shape) -> Result<(), Error> {
    if !(1..=KEYS_MAX).contains(&shape.keys) {
        return Err(bad("keys", shape.keys, "1 to 524288"));
    }
    if !(1..=PAYLOAD_MAX).contains(&shape.value_bytes) {
        return Err(bad("value", shape.value_bytes.into(), "1 to 1048576 bytes"));
    }
    if !(1..=WRITERS_MAX).contains(&shape.writers) {
        return Err(bad("writers", shape.writers.into(), "1 to 256"));
    }
    if shape.schema_bytes > SCHEMA_MAX {
        return Err(bad("schema document", shape.schema_bytes.into(), "at most 16384 bytes"));
    }
    Ok(())
}

fn layout(shape: Shape) -> Option<Geometry> {
    let writers = u64::from(shape.writers);
    // At most three in four are ever used, so that a search ends soon.
    let cells = (shape.keys.checked_mul(4)? / 3 + 1).checked_next_power_of_two()?.max(CELLS_MIN);
    // A slot for each key; what each writer keeps; and one each that a writer which was stopped may
    // keep from being used again (`cells::claim`).
    let slots = shape.keys.checked_add(writers.checked_mul(SPARE_SLOTS + 1)?)?;
    let slot_bytes = (SLOT_HEADER_BYTES + 8 * key_words(shape.key_kind))
        .checked_add(shape.value_bytes.into())?
        .checked_next_multiple_of(64)?;

    let mut end = 0_u64;
    let mut region = |bytes: u64| -> Option<Region> {
        let offset = end;
        end = end.checked_add(bytes)?.checked_next_multiple_of(PAGE_BYTES)?;
        Some(Region { offset, bytes })
    };
    let header = region(FIXED_BYTES + u64::from(shape.schema_bytes))?;
    let control = region(Geometry::seat(shape.writers))?;
    let desks = region(writers.checked_mul(DESK_BYTES)?)?;
    let cell_region = region(cells.checked_mul(CELL_BYTES)?)?;
    let slot_region = region(slots.checked_mul(slot_bytes)?)?;
    i64::try_from(end).ok()?;
    Some(Geometry {
        shape,
        slot_bytes: u32::try_from(slot_bytes).ok()?,
        cells,
        slots,
        header,
        control,
        desks,
        cell_region,
        slot_region,
        segment_bytes: end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            key_kind: KeyKind::U64,
            timestamps: true,
            value_bytes: 16,
            keys: 1024,
            writers: 64,
            schema_bytes: 0,
        }
    }

    #[test]
    fn small_value_of_a_number_is_one_cache_line() {
        let geometry = Geometry::of(shape()).unwrap();
        assert_eq!((geometry.slot_bytes, geometry.cells), (64, 2048));
        let text = Geometry::of(Shape { key_kind: KeyKind::Text, ..shape() }).unwrap();
        assert_eq!(text.slot_bytes, 128);
    }

    #[test]
    fn regions_are_page_aligned_and_disjoint() {
        let geometry = Geometry::of(Shape { schema_bytes: 5000, ..shape() }).unwrap();
        let mut end = 0;
        let Geometry { header, control, desks, cell_region, slot_region, .. } = geometry;
        for region in [header, control, desks, cell_region, slot_region] {
            assert_eq!(region.offset % PAGE_BYTES, 0);
            assert!(region.offset >= end, "{geometry:?}");
            end = region.offset + region.bytes;
        }
        assert!(geometry.segment_bytes >= end);
    }

    #[test]
    fn numbers_of_cells_and_slots_fit_twenty_bits_for_every_shape() {
        for keys in [1, 5, 6, 7, 1000, KEYS_MAX - 1, KEYS_MAX] {
            let largest = Shape { keys, writers: WRITERS_MAX, value_bytes: PAYLOAD_MAX, ..shape() };
            let Geometry { cells, slots, .. } = Geometry::of(largest).unwrap();
            assert!(cells <= 1 << 20 && slots < 1 << 20 && cells > keys, "{keys}: {cells} {slots}");
        }
    }

    #[test]
    fn every_limit_is_named_in_its_error() {
        let cases = [
            (Shape { keys: 0, ..shape() }, "keys 0"),
            (Shape { keys: KEYS_MAX + 1, ..shape() }, "keys 524289"),
            (Shape { value_bytes: 0, ..shape() }, "value 0"),
            (Shape { value_bytes: PAYLOAD_MAX + 1, ..shape() }, "value 1048577"),
            (Shape { writers: 0, ..shape() }, "writers 0"),
            (Shape { writers: 257, ..shape() }, "writers 257"),
            (Shape { schema_bytes: SCHEMA_MAX + 1, ..shape() }, "schema document 16385"),
        ];
        for (shape, want) in cases {
            let text = Geometry::of(shape).unwrap_err().to_string();
            assert!(text.contains(want) && text.contains("allowed"), "{text}");
        }
    }
}
