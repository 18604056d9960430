//! Buses: what they are, what happens on them, and how to ask for one.

use std::time::Duration;

use busway::{BusInfo, BusOptions, BusStat, FrameLayout, OnFull, Role, Timestamps, Topology};
use serde::{Deserialize, Serialize};

use super::{AllowText, ErrorBody, FileMode, GroupName, Latency, Participant};

/// A bus: its geometry and policies, which never change, and a few live counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bus {
    /// Its name; the segment of a named bus is `/dev/shm/busway.NAME`.
    pub name: String,
    /// Whether the daemon hands out its memory; else it is a segment with a name.
    pub brokered: bool,
    /// How the lanes are used.
    pub topology: Topology,
    /// What a producer does when its lane is full.
    pub on_full: OnFull,
    /// When frames are stamped with the time.
    pub timestamps: Timestamps,
    /// What a slot holds.
    pub frames: FrameLayout,
    /// Room for the user's bytes in one frame.
    pub payload_bytes: u32,
    /// Alignment of a frame.
    pub align_bytes: u32,
    /// Distance from one frame to the next.
    pub stride_bytes: u32,
    /// Frames that one lane holds.
    pub capacity_frames: u64,
    /// Lanes, hence producers at a time.
    pub lanes_max: u32,
    /// Consumers at a time.
    pub consumers_max: u32,
    /// Entries of the order ring; 0 unless `ordered`.
    pub order_capacity_entries: u64,
    /// The position that every lane started at.
    pub origin_position: u64,
    /// The most frames of one batch.
    pub batch_frames_max: u64,
    /// Size of the segment.
    pub segment_bytes: u64,
    /// Frames behind on a lane at which a consumer is evicted; `null`: never for that.
    pub evict_lag_frames: Option<u64>,
    /// Time in a producer's way after which a consumer is evicted; `null`: never for that.
    pub evict_after_ns: Option<u64>,
    /// Hash of the stored schema, 16 hexadecimal digits; `null` without a schema.
    pub schema_hash: Option<String>,
    /// When the bus was created, nanoseconds since 1970.
    pub created_unix_ns: u64,
    /// The process that created it.
    pub creator_pid: u32,
    /// The user that created it.
    pub creator_uid: u32,
    /// A random id: a bus that is removed and created again has another one.
    pub instance: String,
    /// The version of the segment's layout.
    pub layout_version: u32,
    /// Whether the bus has been removed while this answer was made.
    pub removed: bool,
    /// Producers that are attached.
    pub producers_attached: u32,
    /// Consumers that are attached.
    pub consumers_attached: u32,
    /// Frames ever published, over all lanes.
    pub published_frames: u64,
}

/// `GET /v1/buses`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusList {
    /// Every bus of the host that the daemon can open, by name.
    pub buses: Vec<Bus>,
    /// Every segment that is named like a bus and cannot be opened, and why.
    pub unreadable: Vec<UnreadableBus>,
}

/// A segment that is named like a bus and cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableBus {
    /// The name that it would have as a bus.
    pub name: String,
    /// Why it cannot be opened.
    pub error: ErrorBody,
}

/// `GET /v1/buses/{name}`: a snapshot of everything that is known of a bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusDetail {
    /// The bus.
    pub bus: Bus,
    /// Its stored schema, if any.
    pub schema: Option<serde_json::Value>,
    /// Who may use it, by number; `null` for a named bus, whose file's mode says that.
    pub allow: Option<Vec<AllowText>>,
    /// One entry a lane, by index.
    pub lanes: Vec<Lane>,
    /// Consumers that gate the producers, by seat.
    pub consumers: Vec<Consumer>,
    /// Who holds a consumer's seat and holds up nobody: it is just coming or going, or it was
    /// evicted and has been told.
    pub bystanders: Vec<Participant>,
    /// The order ring; `null` unless `ordered`.
    pub order: Option<Order>,
    /// Seats of dead participants that were ever given back on this bus, by anybody.
    pub recoveries: u64,
    /// Entries of the order ring that were punched because their producer did not follow up.
    pub punches: u64,
    /// Live participants that were made to leave, by the bus's rule or by a kick.
    pub evictions: u64,
    /// Impossible words that participants met: somebody stores what no honest program does.
    pub corruptions: u64,
}

/// One lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Its index.
    pub lane: u32,
    /// The position that its next frame will have.
    pub position: u64,
    /// Frames ever published on it.
    pub published_frames: u64,
    /// Payload bytes of them.
    pub published_bytes: u64,
    /// Commits of more than one frame: batches and transactions.
    pub batches: u64,
    /// Frames in those.
    pub batched_frames: u64,
    /// Publishes refused because it was full.
    pub rejected_frames: u64,
    /// How often its producer had to wait for room.
    pub blocked_count: u64,
    /// How long its producer has waited for room.
    pub blocked_ns: u64,
    /// For how long its producer has found it full; `null` while it has room.
    pub held_up_ns: Option<u64>,
    /// The seats of the consumers that leave it no room; empty while it has room.
    pub held_up_by: Vec<u32>,
    /// Who publishes on it; `null` when the lane is free.
    pub producer: Option<Participant>,
}

/// One attached consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// Who it is.
    pub participant: Participant,
    /// Frames that it has read since it attached.
    pub read_frames: u64,
    /// Frames that it has still to read, over all lanes.
    pub lag_frames: u64,
    /// Frames that it was lapped by, over all lanes.
    pub lost_frames: u64,
    /// How long frames were under way to it; `null` without timestamps, and for a group.
    pub latency: Option<Latency>,
    /// Its next position in the order ring; `null` unless `ordered`.
    pub order_position: Option<u64>,
    /// Its cursor on each lane.
    pub lanes: Vec<Cursor>,
}

/// A consumer's cursor on one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The lane's index.
    pub lane: u32,
    /// The position that it reads next.
    pub position: u64,
    /// Frames that it has still to read.
    pub lag_frames: u64,
    /// Frames that it was lapped by.
    pub lost_frames: u64,
}

/// The order ring of an `ordered` bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The ticket that the next commit will take.
    pub tail_position: u64,
}

/// `DELETE /v1/buses/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedBus {
    /// The bus that is no more.
    pub removed: String,
    /// Who was still attached; they learn of it by themselves (`removed`).
    pub participants: Vec<Participant>,
}

/// `POST /v1/buses`: what is asked for. Everything but the name has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CreateBus {
    /// 1 to 64 of `a-z A-Z 0-9 . _ -`, not starting with a dot.
    pub name: String,
    /// How the lanes are used; default `lanes`.
    pub topology: Option<Topology>,
    /// Room for the user's bytes in one frame; default 48, or what the schema needs.
    pub payload_bytes: Option<u32>,
    /// Frames that one lane holds, a power of two; default 4096.
    pub capacity_frames: Option<u64>,
    /// Lanes, hence producers at a time; default 8 (1 for `single`).
    pub lanes_max: Option<u32>,
    /// Consumers at a time; default 8.
    pub consumers_max: Option<u32>,
    /// What a producer does when its lane is full; default `block`.
    pub on_full: Option<OnFull>,
    /// When frames are stamped with the time; default `batch`.
    pub timestamps: Option<Timestamps>,
    /// What a slot holds; default `event`.
    pub frames: Option<FrameLayout>,
    /// Alignment of a frame: 8, 16 or 64; default 8.
    pub align_bytes: Option<u32>,
    /// Permission bits of the segment in octal; default `"0600"`.
    pub mode: Option<FileMode>,
    /// The group that the segment shall belong to, by name or number.
    pub group: Option<GroupName>,
    /// A schema to store in the bus.
    pub schema: Option<serde_json::Value>,
    /// The position that every lane starts at; default 0.
    pub origin_position: Option<u64>,
    /// Evict a consumer that is so many frames behind on a lane; default never.
    pub evict_lag_frames: Option<u64>,
    /// Evict a consumer that has stood still in a producer's way for so long; default never.
    pub evict_after_ns: Option<u64>,
    /// Refuse to create a segment above this size; default 1 GiB.
    pub size_max_bytes: Option<u64>,
    /// Have the daemon hand out the bus's memory; default `false`: a segment with a name.
    pub brokered: bool,
    /// Who may use a brokered bus besides who asks for it, root and the daemon's user.
    pub allow: Vec<AllowText>,
    /// Accept a bus of this name that exists with the same options; default `false`.
    pub if_not_exists: bool,
}

impl CreateBus {
    /// Asks for a bus with every default.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The same wish in the library's terms; `if_not_exists` is left to the caller.
    ///
    /// # Errors
    /// When the schema cannot be read (`bad_schema`) or the group does not exist (`bad_option`).
    pub fn options(&self) -> Result<BusOptions, busway::Error> {
        let mut options = busway::Bus::options();
        if let Some(topology) = self.topology {
            options = options.topology(topology);
        }
        if let Some(schema) = &self.schema {
            options = options.schema(busway::Schema::from_json(schema.to_string())?);
        }
        if let Some(bytes) = self.payload_bytes {
            options = options.payload_bytes(bytes);
        }
        if let Some(frames) = self.capacity_frames {
            options = options.capacity_frames(frames);
        }
        if let Some(lanes) = self.lanes_max {
            options = options.lanes(lanes);
        }
        if let Some(consumers) = self.consumers_max {
            options = options.consumers(consumers);
        }
        if let Some(on_full) = self.on_full {
            options = options.on_full(on_full);
        }
        if let Some(timestamps) = self.timestamps {
            options = options.timestamps(timestamps);
        }
        if let Some(frames) = self.frames {
            options = options.frames(frames);
        }
        if let Some(bytes) = self.align_bytes {
            options = options.align_bytes(bytes);
        }
        if let Some(FileMode(mode)) = self.mode {
            options = options.mode(mode);
        }
        if let Some(group) = &self.group {
            let number = group.resolve().map_err(|_| busway::Error::BadOption {
                option: "group",
                value: group.to_string(),
                allowed: "the groups of this host, by name or number".to_owned(),
            })?;
            options = options.group(number);
        }
        if let Some(position) = self.origin_position {
            options = options.origin(position);
        }
        if let Some(frames) = self.evict_lag_frames {
            options = options.evict_lag_frames(frames);
        }
        if let Some(after_ns) = self.evict_after_ns {
            options = options.evict_after(Some(Duration::from_nanos(after_ns)));
        }
        if let Some(bytes) = self.size_max_bytes {
            options = options.size_bytes_max(bytes);
        }
        Ok(options)
    }
}

impl CreateBus {
    /// The access list in numbers.
    ///
    /// # Errors
    /// `bad_option` when the host has no such user or group, or the bus is not to be brokered.
    pub fn allowed(&self) -> Result<Vec<busway::host::Allow>, busway::Error> {
        let refused = |value: String, allowed: &str| busway::Error::BadOption {
            option: "access list",
            value,
            allowed: allowed.to_owned(),
        };
        if let Some(line) = self.allow.first().filter(|_| !self.brokered) {
            return Err(refused(line.to_string(), "none unless the bus is brokered"));
        }
        let line = |text: &AllowText| {
            text.resolve()
                .map_err(|_| refused(text.to_string(), "the users and groups of this host"))
        };
        self.allow.iter().map(line).collect()
    }
}

impl Bus {
    /// Joins what never changes with a snapshot of what does.
    #[must_use]
    pub fn new(info: &BusInfo, stat: &BusStat) -> Self {
        let producers = stat.lanes.iter().filter(|lane| lane.producer.is_some()).count();
        Self {
            name: info.name.clone(),
            brokered: info.brokered,
            topology: info.topology,
            on_full: info.on_full,
            timestamps: info.timestamps,
            frames: info.frames,
            payload_bytes: info.payload_bytes,
            align_bytes: info.align_bytes,
            stride_bytes: info.stride_bytes,
            capacity_frames: info.capacity_frames,
            lanes_max: info.lanes,
            consumers_max: info.consumers,
            order_capacity_entries: info.order_capacity_entries,
            origin_position: info.origin,
            batch_frames_max: info.batch_frames_max,
            segment_bytes: info.segment_bytes,
            evict_lag_frames: info.evict_lag_frames,
            evict_after_ns: info.evict_after_ns,
            schema_hash: (info.schema_hash != 0).then(|| format!("{:016x}", info.schema_hash)),
            created_unix_ns: info.created_unix_ns,
            creator_pid: info.creator_pid,
            creator_uid: info.creator_uid,
            instance: format!("{:016x}", info.instance),
            layout_version: info.layout_version,
            removed: stat.removed,
            producers_attached: u32::try_from(producers).unwrap_or(u32::MAX),
            consumers_attached: u32::try_from(stat.consumers.len()).unwrap_or(u32::MAX),
            published_frames: stat.published,
        }
    }
}

impl BusDetail {
    /// Reads everything there is to know of an open bus. Blocks on nothing.
    #[must_use]
    pub fn read(bus: &busway::Bus) -> Self {
        Self::new(bus.info(), &bus.stat(), bus.schema(), bus.now_ns(), &bus.participants(), None)
    }

    /// The same of a bus that this process holds.
    #[must_use]
    pub fn read_held(bus: &busway::host::HostedBus) -> Self {
        let allow = bus.allow().iter().copied().map(AllowText::from).collect();
        Self::new(
            bus.info(),
            &bus.stat(),
            bus.schema(),
            bus.now_ns(),
            &bus.participants(),
            Some(allow),
        )
    }

    fn new(
        info: &BusInfo,
        stat: &BusStat,
        schema: Option<&busway::Schema>,
        now_ns: u64,
        participants: &[busway::Participant],
        allow: Option<Vec<AllowText>>,
    ) -> Self {
        let name = info.name.as_str();
        let holds_up = |seat: u32| {
            let held = stat.lanes.iter().filter(|lane| lane.held_since_ns.is_some());
            held.filter(|lane| lane.held_by.contains(&seat)).map(|lane| lane.lane).collect()
        };
        Self {
            bus: Bus::new(info, stat),
            schema: schema.and_then(|schema| serde_json::to_value(schema).ok()),
            allow,
            lanes: stat.lanes.iter().map(|lane| Lane::new(name, lane, now_ns)).collect(),
            consumers: stat
                .consumers
                .iter()
                .map(|one| Consumer::new(name, one, holds_up(one.participant.seat)))
                .collect(),
            bystanders: bystanders(name, participants, stat),
            order: stat.order.as_ref().map(|order| Order { tail_position: order.tail }),
            recoveries: stat.recoveries,
            punches: stat.punches,
            evictions: stat.evictions,
            corruptions: stat.corruptions,
        }
    }

    /// Everybody who holds a seat: producers, consumers, bystanders; each by seat.
    pub fn participants(&self) -> impl Iterator<Item = &Participant> {
        let producers = self.lanes.iter().filter_map(|lane| lane.producer.as_ref());
        let consumers = self.consumers.iter().map(|consumer| &consumer.participant);
        producers.chain(consumers).chain(&self.bystanders)
    }
}

/// Who sits in a consumer's seat and is not among those that gate.
fn bystanders(bus: &str, participants: &[busway::Participant], stat: &BusStat) -> Vec<Participant> {
    let gates = |who: &busway::Participant| {
        stat.consumers.iter().any(|one| one.participant.seat == who.seat)
    };
    participants
        .iter()
        .filter(|who| who.role == Role::Consumer && !gates(who))
        .map(|who| Participant::bystander(bus, who))
        .collect()
}

impl Lane {
    fn new(bus: &str, lane: &busway::LaneStat, now_ns: u64) -> Self {
        let held_up_ns = lane.held_since_ns.map(|since_ns| now_ns.saturating_sub(since_ns));
        // A consumer may be a whole ring behind a producer that wants nothing: nobody is held up.
        let held_up_by = if held_up_ns.is_some() { lane.held_by.clone() } else { Vec::new() };
        Self {
            lane: lane.lane,
            position: lane.position,
            published_frames: lane.published,
            published_bytes: lane.bytes,
            batches: lane.batches,
            batched_frames: lane.batched,
            rejected_frames: lane.rejected,
            blocked_count: lane.blocked_count,
            blocked_ns: lane.blocked_ns,
            producer: Participant::of_lane(bus, lane, held_up_ns, &held_up_by),
            held_up_ns,
            held_up_by,
        }
    }
}

impl Consumer {
    fn new(bus: &str, consumer: &busway::ConsumerStat, holds_up: Vec<u32>) -> Self {
        let cursor = |cursor: &busway::CursorStat| Cursor {
            lane: cursor.lane,
            position: cursor.position,
            lag_frames: cursor.lag,
            lost_frames: cursor.lost,
        };
        Self {
            participant: Participant::of_consumer(bus, consumer, holds_up),
            read_frames: consumer.read,
            lag_frames: consumer.lag,
            lost_frames: consumer.lost,
            latency: consumer.latency.as_ref().map(Latency::of),
            order_position: consumer.order_position,
            lanes: consumer.lanes.iter().map(cursor).collect(),
        }
    }
}
