//! What a table is and how it stands, as plain values.

use serde::{Deserialize, Serialize};

use super::memory::TableMemory;
use super::seat;
use crate::cells::{Cells, Memory};
use crate::layout::header::LAYOUT_VERSION;
use crate::layout::table::header::Header;
use crate::options::KeyKind;
use crate::participant::Participant;
use crate::shm::segment::Segment;
use crate::sync::{AtomicU64, Ordering};

/// What a table is: fixed at create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// What its keys are.
    pub key_kind: KeyKind,
    /// Keys that it holds.
    pub keys: u64,
    /// Bytes that a value has at most; with a schema, always.
    pub value_bytes: u32,
    /// Writers that can attach at a time.
    pub writers: u32,
    /// Whether values are stamped with the time.
    pub timestamps: bool,
    /// Cells that keys are looked for in.
    pub cells: u64,
    /// Slots that values are in.
    pub slots: u64,
    /// From one slot to the next.
    pub slot_bytes: u32,
    /// The whole segment.
    pub segment_bytes: u64,
    /// The hash of the value type's layout; 0 without a schema.
    pub schema_hash: u64,
    /// When it was created, nanoseconds since 1970 UTC.
    pub created_unix_ns: u64,
    /// By which process.
    pub creator_pid: u32,
    /// By which user.
    pub creator_uid: u32,
    /// A random number that tells this table from another of the same name.
    pub instance: u64,
    /// The layout version of its segment.
    pub layout_version: u32,
}

impl TableInfo {
    pub(super) fn of(name: &str, header: &Header) -> Self {
        let geometry = &header.geometry;
        let shape = &geometry.shape;
        Self {
            name: name.to_owned(),
            key_kind: shape.key_kind,
            keys: shape.keys,
            value_bytes: shape.value_bytes,
            writers: shape.writers,
            timestamps: shape.timestamps,
            cells: geometry.cells,
            slots: geometry.slots,
            slot_bytes: geometry.slot_bytes,
            segment_bytes: geometry.segment_bytes,
            schema_hash: header.schema_hash,
            created_unix_ns: header.created_unix_ns,
            creator_pid: header.creator_pid,
            creator_uid: header.creator_uid,
            instance: header.instance,
            layout_version: LAYOUT_VERSION,
        }
    }
}

/// How a table stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStat {
    /// Whether it has been removed.
    pub removed: bool,
    /// Keys that were ever written.
    pub keys: u64,
    /// Values ever written, all keys.
    pub writes: u64,
    /// Seats given back after their holder died.
    pub recoveries: u64,
    /// Impossible words that writers met in the segment. More than 0: somebody stores there what no
    /// honest program does.
    pub corruptions: u64,
    /// The attached writers.
    pub writers: Vec<WriterStat>,
}

/// How an attached writer stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterStat {
    /// Who it is; its role is that of a producer.
    pub participant: Participant,
    /// Values written since it attached.
    pub writes: u64,
    /// Times that another writer of the same key came first, and it tried again.
    pub retries: u64,
}

pub(super) fn snapshot(segment: &Segment, cells: &Cells<TableMemory>) -> TableStat {
    let memory = &cells.memory;
    let (mut keys, mut writes) = (0, 0_u64);
    for cell in 0..cells.plan.cells {
        if let Ok(word) = cells.load(cell) {
            keys += u64::from(!word.is_empty());
            writes = writes.saturating_add(word.version());
        }
    }
    let writers = seat::writers(segment, memory)
        .into_iter()
        .filter_map(|participant| {
            let desk = memory.desk(participant.seat)?;
            let (writes, retries) = (load(&desk.writes), load(&desk.retries));
            Some(WriterStat { participant, writes, retries })
        })
        .collect();
    TableStat {
        removed: memory.is_removed() || !segment.is_linked(),
        keys,
        writes,
        recoveries: load(&memory.words.recoveries),
        corruptions: load(&memory.words.corruptions),
        writers,
    }
}

fn load(word: &AtomicU64) -> u64 {
    // ORDERING: relaxed; statistics.
    word.load(Ordering::Relaxed)
}
