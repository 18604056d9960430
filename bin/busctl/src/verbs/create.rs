//! `create`: makes a bus, through the daemon (which is started when none runs) or straight.

use crate::context::Context;
use crate::daemon;
use crate::exit::{Exit, Failure};
use crate::units::parse_size_u32;
use crate::units::{choice, format_bytes, format_count, parse_duration, parse_size};
use busd::api::{self, AllowText, CreateBus, FileMode, GroupName};
use busway::{FrameLayout, OnFull, Schema, Timestamps, Topology};
use clap::Args;
use serde::Serialize;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The longest schema file that is read; the library's own limit is far below.
const SCHEMA_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What `--size-max` is unless said otherwise, as in the library.
const SIZE_BYTES_MAX_DEFAULT: u64 = 1024 * 1024 * 1024;

/// Arguments of `create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name of the bus: 1 to 64 of a-z A-Z 0-9 . _ - not starting with a dot
    name: String,
    /// How the lanes are used [default: lanes]
    #[arg(long, value_name = "TOPOLOGY", value_parser = choice::<Topology>(Topology::NAMES))]
    topology: Option<Topology>,
    /// Room for the user's bytes in one frame, 1 to 1M [default: 48]
    #[arg(long, value_name = "BYTES", value_parser = parse_size_u32, conflicts_with = "schema")]
    payload: Option<u32>,
    /// JSON file (- for stdin) with the fields of a frame; says the payload's size too
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Frames that one lane holds: a power of two, 2 to 16M [default: 4096]
    #[arg(long, value_name = "FRAMES", value_parser = parse_size)]
    capacity: Option<u64>,
    /// Lanes, hence producers at a time, 1 to 256 [default: 8; 1 for single]
    #[arg(long, value_name = "N", value_parser = parse_size_u32)]
    lanes: Option<u32>,
    /// Consumers at a time, 1 to 64 [default: 8]
    #[arg(long, value_name = "N", value_parser = parse_size_u32)]
    consumers: Option<u32>,
    /// What a producer does when its lane is full [default: block]
    #[arg(long, value_name = "POLICY", value_parser = choice::<OnFull>(OnFull::NAMES))]
    on_full: Option<OnFull>,
    /// Evict a consumer that is so many frames behind on a lane [default: never]
    #[arg(long, value_name = "FRAMES", value_parser = parse_size)]
    evict_lag: Option<u64>,
    /// Evict a consumer that stands still in a producer's way for so long [default: never]
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    evict_after: Option<Duration>,
    /// When frames are stamped with the time [default: batch]
    #[arg(long, value_name = "WHEN", value_parser = choice::<Timestamps>(Timestamps::NAMES))]
    timestamps: Option<Timestamps>,
    /// What a slot holds: a 16-byte header and the payload, or the payload alone [default: event]
    #[arg(long, value_name = "LAYOUT", value_parser = choice::<FrameLayout>(FrameLayout::NAMES))]
    frames: Option<FrameLayout>,
    /// Alignment of a frame in bytes: 8, 16 or 64 [default: 8]
    #[arg(long, value_name = "BYTES", value_parser = parse_size_u32)]
    align: Option<u32>,
    /// Permission bits of the segment, in octal [default: 0600]
    #[arg(long, value_name = "MODE")]
    mode: Option<FileMode>,
    /// Group of the segment, by name or number
    #[arg(long, value_name = "GROUP")]
    group: Option<GroupName>,
    /// Have the daemon hand out the bus's memory: no participant can harm another's frames
    #[arg(long)]
    brokered: bool,
    /// Who may use a brokered bus besides you and root: USER, UID or @GROUP, and then
    /// :producer, :consumer or :both [may be repeated]
    #[arg(long, value_name = "WHO", requires = "brokered")]
    allow: Vec<AllowText>,
    /// Refuse a segment above this size [default: 1G]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    size_max: Option<u64>,
    /// Accept a bus of this name that has the same shape already
    #[arg(long)]
    if_not_exists: bool,
}

/// The document of `create --json`.
#[derive(Serialize)]
struct Created {
    created: bool,
    bus: api::Bus,
}

/// Makes the bus.
pub fn run(args: CreateArgs, context: &Context) -> Result<ExitCode, Failure> {
    let request = request(args)?;
    // Checked here before a daemon is started for it: bad input changes nothing at all.
    busway::check_name(&request.name)?;
    check_size(&request)?;
    let (bus, created) = if context.no_daemon {
        if request.brokered {
            return Err(Failure::usage(
                "a brokered bus is a daemon's: --no-daemon cannot make one",
            ));
        }
        create_straight(&request)?
    } else {
        daemon::ensure(context)?.create_bus(&request)?
    };
    if context.out.json() {
        context.out.document("busway.create/1", &Created { created, bus })?;
    } else {
        context.out.note(describe(&bus, created));
    }
    Ok(Exit::Ok.code())
}

/// The library refuses this too, after a daemon was started, and knows nothing of the flag.
fn check_size(request: &CreateBus) -> Result<(), Failure> {
    let size_bytes = request.options()?.size_bytes()?;
    let size_bytes_max = request.size_max_bytes.unwrap_or(SIZE_BYTES_MAX_DEFAULT);
    if size_bytes <= size_bytes_max {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "segment size {size_bytes} is out of range; allowed: at most {size_bytes_max} bytes"
    ))
    .hint("`--size-max BYTES` raises the limit"))
}

fn request(args: CreateArgs) -> Result<CreateBus, Failure> {
    let schema = args.schema.as_deref().map(read_schema).transpose()?;
    if let Some(group) = &args.group {
        group.resolve().map_err(|error| Failure::usage(error.to_string()))?;
    }
    for line in &args.allow {
        line.resolve().map_err(|error| Failure::usage(error.to_string()))?;
    }
    Ok(CreateBus {
        name: args.name,
        topology: args.topology,
        payload_bytes: args.payload,
        capacity_frames: args.capacity,
        lanes_max: args.lanes,
        consumers_max: args.consumers,
        on_full: args.on_full,
        evict_lag_frames: args.evict_lag,
        evict_after_ns: args
            .evict_after
            .map(|after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)),
        timestamps: args.timestamps,
        frames: args.frames,
        align_bytes: args.align,
        mode: args.mode,
        group: args.group,
        schema,
        size_max_bytes: args.size_max,
        brokered: args.brokered,
        allow: args.allow,
        if_not_exists: args.if_not_exists,
        ..CreateBus::default()
    })
}

/// Reads a schema document, or the document that `schema --json` prints, which holds one.
pub fn read_schema(path: &Path) -> Result<serde_json::Value, Failure> {
    let shown = path.display();
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(SCHEMA_FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(SCHEMA_FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::from(error).context(format_args!("schema file {shown}")))?;
    let bad = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("schema file {shown}: {error}"))
            .hint("`busctl schema NAME --json` shows the form; docs/busctl.md describes it")
    };
    let mut document: serde_json::Value = serde_json::from_str(&text).map_err(|e| bad(&e))?;
    if let Some(inner) = document.get_mut("frame") {
        document = inner.take();
    }
    Schema::from_json(document.to_string()).map_err(|e| bad(&e))?;
    Ok(document)
}

fn create_straight(request: &CreateBus) -> Result<(api::Bus, bool), Failure> {
    let options = request.options()?;
    let read = |bus: &busway::Bus| api::Bus::new(bus.info(), &bus.stat());
    match options.clone().create(&request.name) {
        Ok(bus) => Ok((read(&bus), true)),
        Err(error) if error.code() == "already_exists" && request.if_not_exists => {
            let bus = options.if_not_exists(true).create(&request.name)?;
            Ok((read(&bus), false))
        }
        Err(error) => Err(error.into()),
    }
}

fn describe(bus: &api::Bus, created: bool) -> String {
    format!(
        "{} {}: {}{}, {} × {} frames of {} bytes, {}",
        if created { "created" } else { "found" },
        bus.name,
        if bus.brokered { "brokered, " } else { "" },
        bus.topology,
        if bus.lanes_max == 1 { "1 lane".to_owned() } else { format!("{} lanes", bus.lanes_max) },
        format_count(bus.capacity_frames),
        format_count(u64::from(bus.payload_bytes)),
        format_bytes(bus.segment_bytes),
    )
}
