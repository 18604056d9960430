//! Reading and writing the schema document.

use super::{DOCUMENT_BYTES_MAX, Field, FieldType, LayoutError, Schema, SchemaError};

/// The document as it is written, with what may be left out.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    name: String,
    #[serde(default)]
    kind: u16,
    size_bytes: Option<u32>,
    align_bytes: Option<u32>,
    fields: Vec<DocumentField>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentField {
    name: String,
    #[serde(rename = "type")]
    field_type: FieldType,
    offset_bytes: Option<u32>,
    count: Option<u32>,
    unit: Option<String>,
    doc: Option<String>,
}

impl Schema {
    /// Reads a schema document; the [module](super) describes it. What is left out is filled in.
    ///
    /// # Errors
    /// [`SchemaError`] names what is wrong: the text, a value in it, or the layout that results.
    pub fn from_json(document: impl AsRef<[u8]>) -> Result<Self, SchemaError> {
        let document = document.as_ref();
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(SchemaError::TooLong { bytes: document.len() });
        }
        let document: Document = serde_json::from_slice(document).map_err(syntax)?;
        document.try_into()
    }

    /// The document of this schema, complete and on one line: what a bus stores.
    ///
    /// # Errors
    /// A schema that is not valid, or whose document would be longer than [`DOCUMENT_BYTES_MAX`].
    pub fn to_json(&self) -> Result<String, SchemaError> {
        self.check()?;
        let document = serde_json::to_string(self).map_err(syntax)?;
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(SchemaError::TooLong { bytes: document.len() });
        }
        Ok(document)
    }
}

// By value, for `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn syntax(error: serde_json::Error) -> SchemaError {
    SchemaError::Syntax { message: error.to_string() }
}

impl TryFrom<Document> for Schema {
    type Error = SchemaError;

    fn try_from(document: Document) -> Result<Self, SchemaError> {
        let mut end_bytes = 0;
        let mut fields = Vec::with_capacity(document.fields.len());
        for field in document.fields {
            let field = place(field, end_bytes)?;
            end_bytes = field.end_bytes();
            fields.push(field);
        }
        fields.sort_by_key(|field| field.offset_bytes);
        let end_bytes = fields.iter().map(Field::end_bytes).max().unwrap_or(0);
        let schema = Self {
            name: document.name,
            kind: document.kind,
            size_bytes: match document.size_bytes {
                Some(size_bytes) => size_bytes,
                None => narrow(end_bytes)?,
            },
            align_bytes: document.align_bytes.unwrap_or_else(|| {
                fields.iter().map(|field| field.field_type.size_bytes()).max().unwrap_or(1)
            }),
            fields,
        };
        schema.check()?;
        Ok(schema)
    }
}

/// Gives a field its offset: the one it says, else the next that C would use after `end_bytes`.
fn place(field: DocumentField, end_bytes: u64) -> Result<Field, SchemaError> {
    let align_bytes = u64::from(field.field_type.size_bytes());
    let offset_bytes = match field.offset_bytes {
        Some(offset_bytes) => offset_bytes,
        None => narrow(end_bytes.next_multiple_of(align_bytes))?,
    };
    Ok(Field {
        name: field.name,
        field_type: field.field_type,
        offset_bytes,
        count: field.count,
        unit: field.unit,
        doc: field.doc,
    })
}

/// A computed offset or size; one that leaves 32 bits is far over the limit as well.
fn narrow(size_bytes: u64) -> Result<u32, LayoutError> {
    u32::try_from(size_bytes).map_err(|_| LayoutError::TooLarge { size_bytes })
}
