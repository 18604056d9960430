//! The options of a new bus, and its making.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::mem::offset_of;
use std::time::Duration;

use nix::unistd::Uid;
use zerocopy::IntoBytes;

use super::Bus;
use crate::error::Error;
use crate::layout::geometry::{Geometry, Shape};
use crate::layout::header::{Evict, FEATURE_EVICTS, Header};
use crate::layout::words::{ControlWords, LANE_WORDS_BYTES, LaneWords};
use crate::options::{FrameLayout, OnFull, Timestamps, Topology};
use crate::order::writer::PATIENCE_NS;
use crate::schema::Schema;
use crate::shm::name;
use crate::shm::segment::{Image, Rights, Segment, Words};
use crate::sync::clock;

/// Payload bytes of a frame unless asked otherwise: with its header, one cache line.
const PAYLOAD_BYTES: u32 = 48;
/// Frames a lane holds unless asked otherwise: 256 KiB of one-line frames, a share of a common L2.
const CAPACITY_FRAMES: u64 = 4096;
/// Lanes and consumers unless asked otherwise.
const LANES: u32 = 8;
const CONSUMERS: u32 = 8;
/// Who may use a bus unless asked otherwise: its owner.
pub(crate) const MODE: u32 = 0o600;
/// A bus's size at most unless asked otherwise: a slip in one number should not fill the host.
pub(crate) const SIZE_BYTES_MAX: u64 = 1 << 30;

/// The options of a bus that is to be created.
///
/// # Examples
/// ```
/// use busway::{Bus, OnFull, Topology};
///
/// # let name = format!("doc-options-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the bus whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
/// # let _guard = Guard(&name);
/// let bus = Bus::options()
///     .topology(Topology::Ordered)
///     .payload_bytes(32)
///     .capacity_frames(1024)
///     .lanes(4)
///     .on_full(OnFull::Reject)
///     .create(&name)?;
/// assert_eq!(bus.info().lanes, 4);
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `create`"]
pub struct BusOptions {
    topology: Topology,
    on_full: OnFull,
    timestamps: Timestamps,
    frames: FrameLayout,
    payload_bytes: Option<u32>,
    align_bytes: u32,
    capacity_frames: u64,
    lanes: Option<u32>,
    consumers: u32,
    mode: u32,
    group: Option<u32>,
    schema: Option<Schema>,
    size_bytes_max: u64,
    if_not_exists: bool,
    origin: u64,
    evict_lag_frames: u64,
    evict_after: Option<Duration>,
}

impl Default for BusOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl BusOptions {
    /// The defaults: topology `lanes`, 8 lanes, 8 consumers, 4096 frames of 48 bytes and a header
    /// each, `block`, timestamps per batch, mode 0600, at most 1 GiB.
    pub fn new() -> Self {
        Self {
            topology: Topology::Lanes,
            on_full: OnFull::Block,
            timestamps: Timestamps::Batch,
            frames: FrameLayout::Event,
            payload_bytes: None,
            align_bytes: 8,
            capacity_frames: CAPACITY_FRAMES,
            lanes: None,
            consumers: CONSUMERS,
            mode: MODE,
            group: None,
            schema: None,
            size_bytes_max: SIZE_BYTES_MAX,
            if_not_exists: false,
            origin: 0,
            evict_lag_frames: 0,
            evict_after: None,
        }
    }

    /// How lanes are used.
    pub fn topology(mut self, topology: Topology) -> Self {
        self.topology = topology;
        self
    }

    /// What a producer does when its lane is full.
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    /// When frames are stamped. Bare frames have nowhere to stamp and are never stamped.
    pub fn timestamps(mut self, timestamps: Timestamps) -> Self {
        self.timestamps = timestamps;
        self
    }

    /// What a slot holds.
    pub fn frames(mut self, frames: FrameLayout) -> Self {
        self.frames = frames;
        self
    }

    /// Payload bytes of a frame, 1 to 1 MiB. By default the schema's size, or 48.
    pub fn payload_bytes(mut self, payload_bytes: u32) -> Self {
        self.payload_bytes = Some(payload_bytes);
        self
    }

    /// What slots are aligned to: 8 (default), 16 or 64 bytes.
    pub fn align_bytes(mut self, align_bytes: u32) -> Self {
        self.align_bytes = align_bytes;
        self
    }

    /// Frames that a lane holds: a power of two from 2 to 2^24.
    pub fn capacity_frames(mut self, capacity_frames: u64) -> Self {
        self.capacity_frames = capacity_frames;
        self
    }

    /// Producers that can attach at a time: 1 to 256; 1 on a `single` bus.
    pub fn lanes(mut self, lanes: u32) -> Self {
        self.lanes = Some(lanes);
        self
    }

    /// Consumers that can attach at a time: 1 to 64.
    pub fn consumers(mut self, consumers: u32) -> Self {
        self.consumers = consumers;
        self
    }

    /// Permission bits of the segment, set exactly so whatever the umask. Attaching takes read and
    /// write permission; observing takes read permission.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The group that the segment is given to, by number.
    pub fn group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// What the frames mean: stored in the bus, and compared when typed ends attach.
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// The largest segment that may be created; 1 GiB by default.
    pub fn size_bytes_max(mut self, size_bytes_max: u64) -> Self {
        self.size_bytes_max = size_bytes_max;
        self
    }

    /// Opens the bus if it exists already and is what these options ask for.
    pub fn if_not_exists(mut self, if_not_exists: bool) -> Self {
        self.if_not_exists = if_not_exists;
        self
    }

    /// The first position of every lane; 0 by default. Positions wrap at 2^64. Meant for carrying
    /// on where another bus ended, and for tests of the wrap.
    pub fn origin(mut self, origin: u64) -> Self {
        self.origin = origin;
        self
    }

    /// Evicts a consumer that is so many frames behind on a lane: it gates nobody any more, and its
    /// next call says so with the number of frames that it did not get. 0, the default: never. The
    /// look is taken when a producer renews its credit, a quarter of the ring at a time.
    ///
    /// Lossless buses only. On a bus that evicts, consumers read checked copies instead of in place,
    /// since a consumer that stands still in the middle of a frame can lose it at any time.
    pub fn evict_lag_frames(mut self, frames: u64) -> Self {
        self.evict_lag_frames = frames;
        self
    }

    /// Evicts a consumer that a producer waits for, or is refused because of, and that does not move
    /// its cursor for so long. `None`, the default: never. As
    /// [`evict_lag_frames`](Self::evict_lag_frames) otherwise; both may be given.
    pub fn evict_after(mut self, after: Option<Duration>) -> Self {
        self.evict_after = after;
        self
    }

    /// What the segment would take. Refuses what `create` would refuse whatever the host.
    ///
    /// # Errors
    /// [`Error::BadGeometry`], [`Error::BadOption`] for a rule of eviction that makes no sense.
    pub fn size_bytes(&self) -> Result<u64, Error> {
        let geometry = self.geometry()?.0;
        self.evict(&geometry)?;
        Ok(geometry.segment_bytes)
    }

    /// Creates the bus.
    ///
    /// Memory is allocated now: a bus that was created never runs out of it. The bus appears under
    /// its name at once and whole, or not at all.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::BadGeometry`], [`Error::AlreadyExists`], [`Error::Differs`]
    /// with `if_not_exists`, [`Error::NoSpace`], [`Error::Permission`], [`Error::BadSchema`].
    pub fn create(&self, name: &str) -> Result<Bus, Error> {
        name::check_name(name)?;
        check_mode(self.mode)?;
        let (geometry, document) = self.geometry()?;
        self.check_size(geometry.segment_bytes)?;
        let evict = self.evict(&geometry)?;
        let header = self.header(geometry, evict, false, Uid::effective().as_raw());
        let rights = Rights { mode: self.mode, group: self.group };
        let words = first_words(&header);
        let schema = document.as_bytes();
        let fixed = header.encode(name, schema);
        let image = Image {
            bytes: geometry.segment_bytes,
            header: fixed.as_bytes(),
            schema,
            words: &words,
        };
        let made = Segment::unnamed(name, &image, rights)
            .and_then(Bus::from_segment)
            .and_then(|bus| bus.tie().segment().map_or(Ok(()), Segment::link).map(|()| bus));
        match made {
            Ok(bus) => Ok(bus),
            Err(Error::AlreadyExists { .. }) if self.if_not_exists => self.open_same(name),
            Err(error) => Err(error),
        }
    }

    /// The header of a brokered bus of these options, and the schema's document.
    ///
    /// # Errors
    /// [`Error::BadOption`] for what a brokered bus cannot be; [`Error::BadName`],
    /// [`Error::BadGeometry`], [`Error::BadSchema`].
    pub(crate) fn brokered_header(
        &self,
        name: &str,
        creator: u32,
    ) -> Result<(Header, String), Error> {
        name::check_name(name)?;
        let refused = |option, value: String, allowed: &str| {
            Err(Error::BadOption { option, value, allowed: allowed.to_owned() })
        };
        if self.topology == Topology::Ordered {
            // Its order ring is written by everybody, which is what a brokered bus is to avoid.
            let allowed = "single, lanes on a brokered bus";
            return refused("topology", self.topology.to_string(), allowed);
        }
        if self.mode != MODE {
            let allowed = "none on a brokered bus, whose access list says who may use it";
            return refused("mode", format!("{:04o}", self.mode), allowed);
        }
        if let Some(group) = self.group {
            let allowed = "none on a brokered bus, whose access list says who may use it";
            return refused("group", group.to_string(), allowed);
        }
        let (geometry, document) = self.geometry()?;
        if self.evict(&geometry)?.is_some() {
            // Who evicts stores to the seat of another, which only the broker can do here.
            let allowed = "none on a brokered bus, whose participants cannot evict each other";
            return refused("eviction rule", "of slow consumers".to_owned(), allowed);
        }
        self.check_size(geometry.brokered_bytes())?;
        Ok((self.header(geometry, None, true, creator), document))
    }

    fn check_size(&self, bytes: u64) -> Result<(), Error> {
        if bytes <= self.size_bytes_max {
            return Ok(());
        }
        Err(Error::BadGeometry {
            what: "segment size",
            value: bytes,
            allowed: format!("at most {} bytes (size_bytes_max)", self.size_bytes_max),
        })
    }

    fn header(
        &self,
        geometry: Geometry,
        evict: Option<Evict>,
        brokered: bool,
        creator_uid: u32,
    ) -> Header {
        Header {
            geometry,
            brokered,
            features_ro_compat: if evict.is_some() { FEATURE_EVICTS } else { 0 },
            evict,
            origin: self.origin,
            schema_hash: self.schema.as_ref().map_or(0, Schema::hash),
            created_unix_ns: clock::unix_ns(),
            creator_pid: std::process::id(),
            creator_uid,
            instance: random(),
        }
    }

    fn open_same(&self, name: &str) -> Result<Bus, Error> {
        let bus = Bus::open(name)?;
        match self.difference(&bus)? {
            None => Ok(bus),
            Some(difference) => Err(Error::Differs { name: name.to_owned(), difference }),
        }
    }

    /// The first thing in which an existing bus is not what these options ask for, in words.
    ///
    /// # Errors
    /// [`Error::BadGeometry`] when the options themselves are wrong.
    pub fn difference(&self, bus: &Bus) -> Result<Option<String>, Error> {
        self.difference_from(bus.header())
    }

    pub(crate) fn difference_from(&self, header: &Header) -> Result<Option<String>, Error> {
        let geometry = self.geometry()?.0;
        let want = geometry.shape;
        let have = header.geometry.shape;
        let schema = self.schema.as_ref().map_or(0, Schema::hash);
        let rule = |evict: Option<Evict>| match evict {
            Some(Evict { lag, after_ns }) => format!("{lag} frames, {after_ns} ns"),
            None => "never".to_owned(),
        };
        let pairs: [(&str, String, String); 11] = [
            ("topology", have.topology.to_string(), want.topology.to_string()),
            ("on-full policy", have.on_full.to_string(), want.on_full.to_string()),
            ("timestamps", have.timestamps.to_string(), want.timestamps.to_string()),
            ("frames", have.frames.to_string(), want.frames.to_string()),
            ("payload bytes", have.payload_bytes.to_string(), want.payload_bytes.to_string()),
            ("alignment", have.align_bytes.to_string(), want.align_bytes.to_string()),
            ("capacity", have.capacity.to_string(), want.capacity.to_string()),
            ("lanes", have.lanes.to_string(), want.lanes.to_string()),
            ("consumers", have.consumers.to_string(), want.consumers.to_string()),
            ("eviction", rule(header.evict), rule(self.evict(&geometry)?)),
            ("schema hash", format!("{:016x}", header.schema_hash), format!("{schema:016x}")),
        ];
        Ok(pairs
            .into_iter()
            .find(|(_, have, want)| have != want)
            .map(|(what, have, want)| format!("{what} is {have}, asked for is {want}")))
    }

    /// The rule for slow consumers.
    fn evict(&self, geometry: &Geometry) -> Result<Option<Evict>, Error> {
        let after_ns = self.evict_after.map_or(Ok(0), |after| {
            u64::try_from(after.as_nanos()).ok().filter(|&ns| ns > 0).ok_or(Error::BadOption {
                option: "evict-after",
                value: format!("{after:?}"),
                allowed: "from a nanosecond to 584 years".to_owned(),
            })
        })?;
        let evict = Evict { lag: self.evict_lag_frames, after_ns };
        if evict.lag == 0 && evict.after_ns == 0 {
            return Ok(None);
        }
        if evict.lag > geometry.shape.capacity {
            return Err(Error::BadGeometry {
                what: "evict-lag",
                value: evict.lag,
                allowed: format!("1 to {}, the frames that a lane holds", geometry.shape.capacity),
            });
        }
        if !self.on_full.is_lossless() {
            return Err(Error::BadOption {
                option: "eviction on a bus with on-full policy",
                value: self.on_full.to_string(),
                allowed: "block, reject".to_owned(),
            });
        }
        Ok(Some(evict))
    }

    /// The geometry, and the schema's document.
    fn geometry(&self) -> Result<(Geometry, String), Error> {
        let document = self.schema.as_ref().map(Schema::to_json).transpose()?.unwrap_or_default();
        let schema_size = self.schema.as_ref().map(|schema| schema.size_bytes);
        let payload_bytes = self.payload_bytes.or(schema_size).unwrap_or(PAYLOAD_BYTES);
        if let Some(size) = schema_size {
            let bare = self.frames == FrameLayout::Bare;
            if payload_bytes < size || (bare && payload_bytes != size) {
                return Err(Error::BadGeometry {
                    what: "payload",
                    value: payload_bytes.into(),
                    allowed: format!(
                        "{}{size} bytes, the size of the schema's frames",
                        if bare { "" } else { "at least " }
                    ),
                });
            }
        }
        let single = self.topology == Topology::Single;
        let geometry = Geometry::of(Shape {
            topology: self.topology,
            on_full: self.on_full,
            timestamps: self.timestamps,
            frames: self.frames,
            payload_bytes,
            align_bytes: self.align_bytes,
            capacity: self.capacity_frames,
            lanes: self.lanes.unwrap_or(if single { 1 } else { LANES }),
            consumers: self.consumers,
            schema_bytes: u32::try_from(document.len()).unwrap_or(u32::MAX),
        })?;
        Ok((geometry, document))
    }
}

/// Refuses permission bits that a segment cannot have.
pub(crate) fn check_mode(mode: u32) -> Result<(), Error> {
    if mode & !0o777 == 0 && mode & 0o600 == 0o600 {
        return Ok(());
    }
    Err(Error::BadOption {
        option: "mode",
        value: format!("{mode:#o}"),
        allowed: "0o600 to 0o777, with read and write for the owner".to_owned(),
    })
}

/// The words of a new bus that are not zero, and where they go.
fn first_words(header: &Header) -> Vec<Words> {
    let geometry = &header.geometry;
    let one = |offset: u64, field: usize, value: u64| Words {
        offset: offset + field as u64,
        count: 1,
        value,
    };
    let control = geometry.control.offset;
    let mut words = vec![
        one(control, offset_of!(ControlWords, patience_ns), PATIENCE_NS),
        one(control, offset_of!(ControlWords, order_tail), header.origin),
    ];
    // The last position and ticket of all 2^64: surely not taken yet.
    let never = header.origin.wrapping_sub(1);
    for lane in 0..u64::from(geometry.shape.lanes) {
        let lane_words = geometry.heads.offset + lane * LANE_WORDS_BYTES;
        words.push(one(lane_words, offset_of!(LaneWords, head), header.origin));
        words.push(one(lane_words, offset_of!(LaneWords, reserve), header.origin));
        words.push(one(lane_words, offset_of!(LaneWords, ticket_at), never));
        if geometry.order_capacity > 0 {
            let data = geometry.data.offset + lane * geometry.lane_bytes;
            let offset = data + geometry.tickets_offset;
            words.push(Words { offset, count: geometry.shape.capacity, value: never });
        }
    }
    words
}

/// A number that no other bus is likely to have. Seeded by the operating system.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
