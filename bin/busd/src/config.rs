//! The config file: how the socket is guarded, and which buses shall exist.
//!
//! ```toml
//! [daemon]
//! socket-mode = "0660"
//! socket-group = "audio"
//! allow-uids = [1000]
//!
//! [[bus]]
//! name = "cpu"
//! payload = 48
//! ```
//!
//! A bus's keys are the long flags of `busctl create`. An unknown key or a bad value is an error
//! that names file, line and column; then nothing is created.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use busway::{FrameLayout, OnFull, Timestamps, Topology};
use serde::Deserialize;
use toml::Spanned;

use crate::api::{AllowText, CreateBus, FileMode, GroupName, Period};

/// A config file's size is bounded so that `--config /dev/zero` ends.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a config file says, checked.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// Who may connect and change things.
    pub daemon: DaemonConfig,
    /// The buses that shall exist, with the line that declares each.
    pub buses: Vec<(usize, CreateBus)>,
}

/// Who may connect to the socket and change things. By default only the daemon's user and root.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DaemonConfig {
    /// Mode of the socket; whoever may write to it may connect, and read what the API shows.
    pub socket_mode: Option<FileMode>,
    /// Group of the socket.
    pub socket_group: Option<GroupName>,
    /// Users that may change things besides the daemon's own and root.
    pub allow_uids: Vec<u32>,
}

/// Why a config file cannot be used.
#[derive(Debug)]
pub enum ConfigError {
    /// It cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not say what it should.
    Content {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    daemon: DaemonConfig,
    bus: Vec<Spanned<BusTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BusTable {
    name: Spanned<String>,
    topology: Option<Topology>,
    payload: Option<u32>,
    schema: Option<Spanned<PathBuf>>,
    capacity: Option<u64>,
    lanes: Option<u32>,
    consumers: Option<u32>,
    on_full: Option<OnFull>,
    timestamps: Option<Timestamps>,
    frames: Option<FrameLayout>,
    align: Option<u32>,
    mode: Option<FileMode>,
    group: Option<GroupName>,
    evict_lag: Option<u64>,
    evict_after: Option<Period>,
    size_max: Option<u64>,
    #[serde(default)]
    brokered: bool,
    #[serde(default)]
    allow: Vec<AllowText>,
}

impl Config {
    /// Reads the file that was named, else the first of the usual ones that exists.
    ///
    /// # Errors
    /// When the file cannot be read or does not say what it should.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let usual = || usual_paths(|name| std::env::var_os(name)).into_iter().find(|p| p.exists());
        let Some(path) = named.map(Path::to_owned).or_else(usual) else {
            return Ok(Self::default());
        };
        let text =
            read(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        Self::parse(path, &text)
    }

    /// Reads the text of a config file; schema files are looked for beside `path`.
    ///
    /// # Errors
    /// When it does not say what it should.
    pub fn parse(path: PathBuf, text: &str) -> Result<Self, ConfigError> {
        let at = |span: Option<Range<usize>>, message: String| {
            let (line, column) = position(text, span.map_or(0, |span| span.start));
            ConfigError::Content { path: path.clone(), line, column, message }
        };
        let document: Document = toml::from_str(text)
            .map_err(|error| at(error.span(), error.message().replace('\n', ", ")))?;
        let mut buses: Vec<(usize, CreateBus)> = Vec::new();
        for table in document.bus {
            let table = table.into_inner();
            let span = table.name.span();
            let name = table.name.get_ref();
            if let Err(error) = busway::check_name(name) {
                return Err(at(Some(span), error.to_string()));
            }
            let line = position(text, span.start).0;
            if let Some((first, _)) = buses.iter().find(|(_, bus)| &bus.name == name) {
                let message = format!("bus {name:?} is declared twice, first in line {first}");
                return Err(at(Some(span), message));
            }
            let folder = path.parent().unwrap_or(Path::new("."));
            let (span, wish) = table.into_wish(folder);
            buses.push((line, wish.map_err(|message| at(span, message))?));
        }
        Ok(Self { path: Some(path), daemon: document.daemon, buses })
    }
}

impl BusTable {
    /// The same in the terms of the API, with the schema read; and where the schema is named, for
    /// the message when it cannot be.
    fn into_wish(self, folder: &Path) -> (Option<Range<usize>>, Result<CreateBus, String>) {
        let mut wish = CreateBus {
            name: self.name.into_inner(),
            topology: self.topology,
            payload_bytes: self.payload,
            capacity_frames: self.capacity,
            lanes_max: self.lanes,
            consumers_max: self.consumers,
            on_full: self.on_full,
            timestamps: self.timestamps,
            frames: self.frames,
            align_bytes: self.align,
            mode: self.mode,
            group: self.group,
            evict_lag_frames: self.evict_lag,
            // Beyond 584 years there is nothing to choose between.
            evict_after_ns: self
                .evict_after
                .map(|Period(after)| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)),
            size_max_bytes: self.size_max,
            brokered: self.brokered,
            allow: self.allow,
            if_not_exists: true,
            ..CreateBus::default()
        };
        let Some(schema) = self.schema else {
            return (None, Ok(wish));
        };
        let span = Some(schema.span());
        let path = folder.join(schema.into_inner());
        let read = read(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
        match read {
            Ok(value) => {
                wish.schema = Some(value);
                (span, Ok(wish))
            }
            Err(error) => (span, Err(format!("cannot read schema {}: {error}", path.display()))),
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Where a config file is looked for when none is named, best first.
fn usual_paths(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = set("XDG_CONFIG_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".config")));
    let system = PathBuf::from("/etc/busway/busd.toml");
    user.map(|path| path.join("busway/busd.toml")).into_iter().chain([system]).collect()
}

/// Line and column, both from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => {
                write!(f, "cannot read config file {}: {source}", path.display())
            }
            Self::Content { path, line, column, message } => {
                write!(f, "{}, line {line}, column {column}: {message}", path.display())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
