//! The options of a new table, and its making.

use nix::unistd::Uid;
use zerocopy::IntoBytes;

use super::Table;
use crate::bus::create::{MODE, SIZE_BYTES_MAX, check_mode, random};
use crate::error::Error;
use crate::layout::table::geometry::{Geometry, Shape};
use crate::layout::table::header::Header;
use crate::options::KeyKind;
use crate::schema::Schema;
use crate::shm::name;
use crate::shm::segment::{Image, Rights, Segment};
use crate::sync::clock;

/// Keys, value bytes and writers unless asked otherwise.
const KEYS: u64 = 1024;
const VALUE_BYTES: u32 = 16;
const WRITERS: u32 = 16;

/// The options of a table that is to be created.
///
/// # Examples
/// ```
/// use busway::{KeyKind, Table};
///
/// # let name = format!("doc-table-options-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the table whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Table::remove(self.0); } }
/// # let _guard = Guard(&name);
/// let table = Table::options().keys(256).value_bytes(64).writers(4).create(&name)?;
/// assert_eq!((table.info().keys, table.info().key_kind), (256, KeyKind::U64));
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `create`"]
pub struct TableOptions {
    keys: u64,
    key_kind: KeyKind,
    value_bytes: Option<u32>,
    writers: u32,
    timestamps: bool,
    mode: u32,
    group: Option<u32>,
    schema: Option<Schema>,
    size_bytes_max: u64,
    if_not_exists: bool,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl TableOptions {
    /// The defaults: 1024 keys that are numbers, values of 16 bytes, 16 writers, with times, mode 0600,
    /// at most 1 GiB.
    pub fn new() -> Self {
        Self {
            keys: KEYS,
            key_kind: KeyKind::U64,
            value_bytes: None,
            writers: WRITERS,
            timestamps: true,
            mode: MODE,
            group: None,
            schema: None,
            size_bytes_max: SIZE_BYTES_MAX,
            if_not_exists: false,
        }
    }

    /// Keys that the table holds: 1 to 524288. A key that was written once counts for as long as the
    /// table lives, also when its value was removed.
    pub fn keys(mut self, keys: u64) -> Self {
        self.keys = keys;
        self
    }

    /// What keys are.
    pub fn key_kind(mut self, kind: KeyKind) -> Self {
        self.key_kind = kind;
        self
    }

    /// Keys are texts of 1 to 32 bytes.
    pub fn text_keys(self) -> Self {
        self.key_kind(KeyKind::Text)
    }

    /// Bytes that a value has at most, 1 to 1 MiB. By default the schema's size, or 16.
    pub fn value_bytes(mut self, value_bytes: u32) -> Self {
        self.value_bytes = Some(value_bytes);
        self
    }

    /// Writers that can attach at a time: 1 to 256. Readers are not counted.
    pub fn writers(mut self, writers: u32) -> Self {
        self.writers = writers;
        self
    }

    /// Whether values are stamped with the time, which is a clock read a write; they are by default.
    pub fn timestamps(mut self, timestamps: bool) -> Self {
        self.timestamps = timestamps;
        self
    }

    /// Permission bits of the segment, set exactly so whatever the umask. Writing, and waiting without
    /// polling, takes read and write permission; reading takes read permission.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The group that the segment is given to, by number.
    pub fn group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// What the values mean: stored in the table, and compared when typed ends attach. Values are then
    /// always of its size.
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// The largest segment that may be created; 1 GiB by default.
    pub fn size_bytes_max(mut self, size_bytes_max: u64) -> Self {
        self.size_bytes_max = size_bytes_max;
        self
    }

    /// Opens the table if it exists already and is what these options ask for.
    pub fn if_not_exists(mut self, if_not_exists: bool) -> Self {
        self.if_not_exists = if_not_exists;
        self
    }

    /// What the segment would take.
    ///
    /// # Errors
    /// [`Error::BadGeometry`], [`Error::BadSchema`].
    pub fn size_bytes(&self) -> Result<u64, Error> {
        Ok(self.geometry()?.0.segment_bytes)
    }

    /// Creates the table: at once and whole, or not at all. All its memory is allocated now.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::BadGeometry`], [`Error::AlreadyExists`], [`Error::Differs`] with
    /// `if_not_exists`, [`Error::NoSpace`], [`Error::Permission`], [`Error::BadSchema`].
    pub fn create(&self, name: &str) -> Result<Table, Error> {
        name::check_name(name)?;
        check_mode(self.mode)?;
        let (geometry, document) = self.geometry()?;
        if geometry.segment_bytes > self.size_bytes_max {
            return Err(Error::BadGeometry {
                what: "segment size",
                value: geometry.segment_bytes,
                allowed: format!("at most {} bytes (size_bytes_max)", self.size_bytes_max),
            });
        }
        let header = Header {
            geometry,
            features_ro_compat: 0,
            schema_hash: self.schema.as_ref().map_or(0, Schema::hash),
            created_unix_ns: clock::unix_ns(),
            creator_pid: std::process::id(),
            creator_uid: Uid::effective().as_raw(),
            instance: random(),
        };
        let schema = document.as_bytes();
        let fixed = header.encode(name, schema);
        let bytes = geometry.segment_bytes;
        // Zeros are what every word of a new table is.
        let image = Image { bytes, header: fixed.as_bytes(), schema, words: &[] };
        let rights = Rights { mode: self.mode, group: self.group };
        let made = Segment::unnamed(name, &image, rights)
            .and_then(Table::from_segment)
            .and_then(|table| table.inner.segment.link().map(|()| table));
        match made {
            Ok(table) => Ok(table),
            Err(Error::AlreadyExists { .. }) if self.if_not_exists => self.open_same(name),
            Err(error) => Err(error),
        }
    }

    fn open_same(&self, name: &str) -> Result<Table, Error> {
        let table = Table::open(name)?;
        let (have, want) = (table.inner.header.geometry.shape, self.geometry()?.0.shape);
        let schema = self.schema.as_ref().map_or(0, Schema::hash);
        let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
        let pairs: [(&str, String, String); 6] = [
            ("kind of keys", have.key_kind.to_string(), want.key_kind.to_string()),
            ("number of keys", have.keys.to_string(), want.keys.to_string()),
            ("value bytes", have.value_bytes.to_string(), want.value_bytes.to_string()),
            ("number of writers", have.writers.to_string(), want.writers.to_string()),
            ("timestamps", switch(have.timestamps), switch(want.timestamps)),
            (
                "schema hash",
                format!("{:016x}", table.inner.header.schema_hash),
                format!("{schema:016x}"),
            ),
        ];
        match pairs.into_iter().find(|(_, have, want)| have != want) {
            None => Ok(table),
            Some((what, have, want)) => Err(Error::Differs {
                name: name.to_owned(),
                difference: format!("{what} is {have}, asked for is {want}"),
            }),
        }
    }

    fn geometry(&self) -> Result<(Geometry, String), Error> {
        let mut document = String::new();
        let mut value_bytes = self.value_bytes.unwrap_or(VALUE_BYTES);
        if let Some(schema) = &self.schema {
            schema.check()?;
            document = schema.to_json()?;
            let size = schema.size_bytes;
            value_bytes = self.value_bytes.unwrap_or(size);
            if value_bytes != size {
                return Err(Error::BadGeometry {
                    what: "value",
                    value: value_bytes.into(),
                    allowed: format!("{size} bytes, the size of the schema's values"),
                });
            }
        }
        let geometry = Geometry::of(Shape {
            key_kind: self.key_kind,
            timestamps: self.timestamps,
            value_bytes,
            keys: self.keys,
            writers: self.writers,
            schema_bytes: u32::try_from(document.len()).unwrap_or(u32::MAX),
        })?;
        Ok((geometry, document))
    }
}
