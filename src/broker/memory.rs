//! Descriptors that came from a broker, turned into regions: each is verified before it is mapped,
//! and its size follows from the board's header, which was checked first.
//!
//! | region | label after `busway:NAME:INSTANCE:` | its owner | everybody else |
//! |---|---|---|---|
//! | board | `board` | broker, rw | r |
//! | bells | `bells` | - | all attached, rw |
//! | row | `row:SEAT:EPOCH` | that consumer, rw | broker and producers, r |
//! | lane | `lane:LANE:EPOCH` | that producer, rw | broker, consumers, observers, r |

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::message::Lent;
use crate::error::Error;
use crate::layout::PAGE_BYTES;
use crate::layout::geometry::{Geometry, Region};
use crate::layout::header::{BROKERED, Header};
use crate::layout::words::LaneWords;
use crate::regions::{self, LaneData, Row};
use crate::shm::mapping::{Access, Mapping, Shared};
use crate::shm::sealed::{self, Expected, Seals};
use crate::shm::segment::read_header;
use crate::sync::Ordering;

/// Which region of a bus.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Board,
    Bells,
    Row(Lent),
    Lane(Lent),
}

impl Part {
    /// What the region is called, for good.
    pub(crate) fn label(self, bus: &str, instance: u64) -> String {
        let part = match self {
            Self::Board => "board".to_owned(),
            Self::Bells => "bells".to_owned(),
            Self::Row(lent) => format!("row:{}:{}", lent.seat, lent.epoch),
            Self::Lane(lent) => format!("lane:{}:{}", lent.seat, lent.epoch),
        };
        format!("busway:{bus}:{instance:016x}:{part}")
    }

    /// How long it is.
    pub(crate) fn bytes(self, geometry: &Geometry) -> u64 {
        match self {
            Self::Board => geometry.board_bytes(),
            Self::Bells => geometry.bells_bytes(),
            Self::Row(_) => geometry.own_row_bytes(),
            Self::Lane(_) => geometry.own_lane_bytes(),
        }
    }
}

/// Whose regions are expected.
#[derive(Clone, Debug)]
pub(crate) struct Bus {
    pub(crate) name: String,
    /// The user that made all of them.
    pub(crate) owner: u32,
    pub(crate) header: Header,
    pub(crate) board: Arc<Mapping>,
}

/// One tenancy of a lane.
#[derive(Clone, Debug)]
pub(crate) struct LaneMemory {
    pub(crate) words: Shared<LaneWords>,
    pub(crate) data: LaneData,
    /// Its first position.
    pub(crate) start: u64,
}

impl Bus {
    /// Takes the board; gives the schema's document as well.
    ///
    /// # Errors
    /// `Corrupt`, `Incompatible` or `Io`.
    pub(crate) fn open(
        file: &File,
        name: &str,
        instance: u64,
        owner: u32,
    ) -> Result<(Self, Vec<u8>), Error> {
        let corrupt = |reason| Error::Corrupt { name: name.to_owned(), reason };
        let bytes = file.metadata().map_err(no_map)?.len();
        let label = Part::Board.label(name, instance);
        let (seals, access) = (Seals::Owned, Access::Read);
        // The size is checked against the header below; the seals see to it that it stays.
        let expected = Expected { label: &label, bytes, seals, access, owner };
        sealed::check(file, &expected).map_err(corrupt)?;
        let (header, document) = read_header(file, name, BROKERED)?;
        if header.instance != instance {
            return Err(corrupt("its board is another bus's".to_owned()));
        }
        if header.features_ro_compat != 0 {
            let features = header.features_ro_compat;
            let reason = format!("it needs features {features:#x}, known here are none");
            return Err(Error::Incompatible { name: name.to_owned(), reason });
        }
        let board = Mapping::new(file, header.geometry.control, Access::Look).map_err(no_map)?;
        Ok((Self { name: name.to_owned(), owner, header, board }, document))
    }

    /// Takes the bells.
    ///
    /// # Errors
    /// `Corrupt` when they are something else, or `Io`.
    pub(crate) fn bells(&self, file: &File) -> Result<Arc<Mapping>, Error> {
        self.map(file, Part::Bells, Seals::Common, Access::ReadWrite)
    }

    /// Takes a row that this process was lent: maps it and seals it for everybody else.
    ///
    /// # Errors
    /// As `bells`.
    pub(crate) fn own_row(&self, file: &File, lent: Lent) -> Result<Row, Error> {
        let mapping = self.own(file, Part::Row(lent))?;
        self.row_in(&mapping, lent)
    }

    /// Takes another's row.
    ///
    /// # Errors
    /// As `bells`.
    pub(crate) fn row(&self, file: &File, lent: Lent) -> Result<Row, Error> {
        let mapping = self.map(file, Part::Row(lent), Seals::Owned, Access::Read)?;
        self.row_in(&mapping, lent)
    }

    /// Takes a lane that this process was lent: maps it and seals it for everybody else.
    ///
    /// # Errors
    /// As `bells`.
    pub(crate) fn own_lane(&self, file: &File, lent: Lent) -> Result<LaneMemory, Error> {
        let mapping = self.own(file, Part::Lane(lent))?;
        self.lane_in(&mapping, lent)
    }

    /// Takes another's lane.
    ///
    /// # Errors
    /// As `bells`.
    pub(crate) fn lane(&self, file: &File, lent: Lent) -> Result<LaneMemory, Error> {
        let mapping = self.map(file, Part::Lane(lent), Seals::Owned, Access::Read)?;
        self.lane_in(&mapping, lent)
    }

    /// In the place of a lane that has never been let: nothing is published, nothing ever will be.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn blank_lane(&self) -> Result<LaneMemory, Error> {
        let mapping = Mapping::blank(self.header.geometry.own_lane_bytes()).map_err(no_map)?;
        let start = self.header.origin;
        let lane = self.lane_in(&mapping, Lent { seat: 0, epoch: 0, start })?;
        // ORDERING: relaxed; nobody else has this memory.
        lane.words.head.store(start, Ordering::Relaxed);
        lane.words.reserve.store(start, Ordering::Relaxed);
        Ok(lane)
    }

    fn own(&self, file: &File, part: Part) -> Result<Arc<Mapping>, Error> {
        let mapping = self.map(file, part, Seals::Sized, Access::ReadWrite)?;
        sealed::seal(file, Seals::Owned)
            .map_err(|source| Error::Io { action: "seal memory", source })?;
        Ok(mapping)
    }

    fn map(
        &self,
        file: &File,
        part: Part,
        seals: Seals,
        access: Access,
    ) -> Result<Arc<Mapping>, Error> {
        let label = part.label(&self.name, self.header.instance);
        let bytes = part.bytes(&self.header.geometry);
        let expected = Expected { label: &label, bytes, seals, access, owner: self.owner };
        sealed::check(file, &expected)
            .map_err(|reason| Error::Corrupt { name: self.name.clone(), reason })?;
        Mapping::new(file, Region { offset: 0, bytes }, access).map_err(no_map)
    }

    fn row_in(&self, mapping: &Arc<Mapping>, lent: Lent) -> Result<Row, Error> {
        Row::at(mapping, &self.header.geometry, 0, lent.epoch).ok_or_else(|| self.outside())
    }

    fn lane_in(&self, mapping: &Arc<Mapping>, lent: Lent) -> Result<LaneMemory, Error> {
        let words = Shared::at(mapping, 0).ok_or_else(|| self.outside())?;
        let data = regions::lane_data(mapping, &self.header.geometry, PAGE_BYTES)
            .ok_or_else(|| self.outside())?;
        Ok(LaneMemory { words, data, start: lent.start })
    }

    /// An error for words that do not lie in their region.
    pub(crate) fn outside(&self) -> Error {
        let reason = "its words do not lie in its regions".to_owned();
        Error::Corrupt { name: self.name.clone(), reason }
    }
}

/// Words of a lane that say for good that `head` is published and `reserve` announced, whatever a
/// former tenant may still store to its own.
///
/// # Errors
/// `Io`.
pub(crate) fn still_words(head: u64, reserve: u64) -> Result<Shared<LaneWords>, Error> {
    let mapping = Mapping::blank(PAGE_BYTES).map_err(no_map)?;
    let words: Shared<LaneWords> = Shared::at(&mapping, 0)
        .ok_or_else(|| no_map(io::Error::from(io::ErrorKind::InvalidInput)))?;
    // ORDERING: relaxed; nobody else has this memory.
    words.head.store(head, Ordering::Relaxed);
    words.reserve.store(reserve, Ordering::Relaxed);
    Ok(words)
}

fn no_map(source: io::Error) -> Error {
    Error::Io { action: "map memory", source }
}
