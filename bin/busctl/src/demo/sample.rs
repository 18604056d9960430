//! The one frame of the demo: a row of a reading of this machine, of whatever source.
//!
//! All samplers publish this type, each on a lane of its own, so that one stored schema explains
//! every frame to every tool. Counters are as the kernel keeps them, since boot or since the
//! process started: rates are for the reader to compute, over whatever time it likes.

use busway::Frame;
use busway::zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};
use serde::{Deserialize, Serialize};

/// What a sample is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
pub enum Source {
    /// Time of each processor; row 0 is all of them.
    Cpu = 1,
    /// Memory in row 0, swap in row 1.
    Memory = 2,
    /// Load averages and tasks.
    Load = 3,
    /// Traffic of each disk; row 0 is all of them.
    Disk = 4,
    /// Traffic of each network interface; row 0 is all of them but `lo`.
    Network = 5,
    /// The busiest processes; row 0 counts all of them.
    Process = 6,
}

impl Source {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Cpu, Self::Memory, Self::Load, Self::Disk, Self::Network, Self::Process];

    /// The word that is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Load => "load",
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Process => "process",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub fn index(self) -> usize {
        usize::from(self as u16 - 1)
    }

    /// What the number in a frame means.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|source| *source as u16 == number)
    }
}

/// One row of one reading of this machine.
#[derive(Clone, Copy, Debug, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[zerocopy(crate = "busway::zerocopy")]
#[frame(kind = 1, name = "sample")]
#[repr(C)]
pub struct Sample {
    /// When the sampler began this reading, on CLOCK_MONOTONIC.
    #[frame(unit = "ns")]
    pub read_ns: u64,
    /// Readings that the sampler made before this one.
    pub reading: u64,
    /// 1 cpu, 2 memory, 3 load, 4 disk, 5 network, 6 process.
    pub source: u16,
    /// Row of the reading; row 0 is the total.
    pub row: u16,
    /// Number of the processor, or process id.
    pub id: u32,
    /// Name of the processor, disk, interface or process.
    #[frame(text)]
    pub name: [u8; 16],
    /// Time spent working.
    #[frame(unit = "ns")]
    pub busy_ns: u64,
    /// Time spent idle.
    #[frame(unit = "ns")]
    pub idle_ns: u64,
    /// Memory in use.
    #[frame(unit = "bytes")]
    pub used_bytes: u64,
    /// Memory there is.
    #[frame(unit = "bytes")]
    pub total_bytes: u64,
    /// Read from disk, or received.
    #[frame(unit = "bytes")]
    pub in_bytes: u64,
    /// Written to disk, or sent.
    #[frame(unit = "bytes")]
    pub out_bytes: u64,
    /// Reads, or packets received.
    pub in_count: u64,
    /// Writes, or packets sent.
    pub out_count: u64,
    /// Load averages over 1, 5 and 15 minutes.
    pub load: [f32; 3],
    /// Tasks that run or want to.
    pub running: u32,
    /// Tasks, or processes, that there are.
    pub tasks: u32,
    _pad: [u8; 4],
}

impl Sample {
    /// A row of a reading of `source`, all else zero.
    pub fn new(source: Source, id: u32, name: &str) -> Self {
        let mut sample = Self::new_zeroed();
        sample.source = source as u16;
        sample.id = id;
        let bytes = name.as_bytes();
        let len = floor_char_boundary(name, sample.name.len());
        if let (Some(to), Some(from)) = (sample.name.get_mut(..len), bytes.get(..len)) {
            to.copy_from_slice(from);
        }
        sample
    }

    /// The name as text. Anything may stand in a frame, so what is no text is replaced.
    pub fn name(&self) -> String {
        let end = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        let bytes = self.name.get(..end).unwrap_or_default();
        String::from_utf8_lossy(bytes).replace(|c: char| c.is_control(), "?")
    }
}

/// The longest start of `text` that ends with a whole character and has at most `bytes`.
fn floor_char_boundary(text: &str, bytes: usize) -> usize {
    let mut len = text.len().min(bytes);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_survive_their_number() {
        for source in Source::ALL {
            assert_eq!(Source::from_number(source as u16), Some(source));
            assert_eq!(Source::ALL[source.index()], source);
        }
        assert_eq!(Source::from_number(0), None);
        assert_eq!(Source::from_number(7), None);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(Sample::new(Source::Disk, 0, "vda").name(), "vda");
        let sample = Sample::new(Source::Process, 0, "fifteen-bytes-µ-and");
        assert_eq!(sample.name(), "fifteen-bytes-µ");
        assert_eq!(Sample::new(Source::Process, 0, "0123456789abcdef").name(), "0123456789abcdef");
    }

    #[test]
    fn the_schema_explains_every_field() {
        let schema = Sample::schema();
        assert_eq!(schema.size_bytes, 128);
        for field in schema.fields.iter().filter(|field| !field.is_padding()) {
            assert!(field.doc.is_some(), "{} has no description", field.name);
        }
        let busy = schema.field("busy_ns").expect("a field");
        assert_eq!(busy.unit.as_deref(), Some("ns"));
    }
}
