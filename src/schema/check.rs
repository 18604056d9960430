//! The rules a schema must keep: names, counts, and fields that tile the frame.

use std::collections::HashSet;

use super::{
    ALIGN_BYTES_MAX, FIELD_NAME_BYTES_MAX, FIELDS_MAX, Field, FieldType, LayoutError,
    NAME_BYTES_MAX, SIZE_BYTES_MAX, Schema, SchemaError, UNIT_BYTES_MAX,
};

impl Schema {
    /// Whether the schema keeps every rule of the [module](super).
    ///
    /// # Errors
    /// The first rule that is broken, with the values.
    pub fn check(&self) -> Result<(), SchemaError> {
        if !is_type_name(&self.name) {
            return Err(SchemaError::BadName { name: shown(&self.name) });
        }
        if self.fields.is_empty() {
            return Err(SchemaError::NoFields);
        }
        if self.fields.len() > FIELDS_MAX {
            return Err(SchemaError::TooManyFields { count: self.fields.len() });
        }
        let mut names = HashSet::with_capacity(self.fields.len());
        for field in &self.fields {
            check_field(field)?;
            if !names.insert(field.name.as_str()) {
                return Err(SchemaError::DuplicateField { field: field.name.clone() });
            }
        }
        Ok(self.check_layout()?)
    }

    /// Whether the fields, in order, cover the frame exactly.
    fn check_layout(&self) -> Result<(), LayoutError> {
        let need_bytes = self.fields.iter().map(|f| f.field_type.size_bytes()).max().unwrap_or(1);
        let align_bytes = self.align_bytes;
        if !align_bytes.is_power_of_two() || !(need_bytes..=ALIGN_BYTES_MAX).contains(&align_bytes)
        {
            return Err(LayoutError::BadAlign { align_bytes, need_bytes });
        }
        let mut end_bytes = 0;
        let mut previous: Option<&Field> = None;
        for field in &self.fields {
            check_place(field, previous, end_bytes)?;
            end_bytes = field.end_bytes();
            if end_bytes > u64::from(SIZE_BYTES_MAX) {
                return Err(LayoutError::TooLarge { size_bytes: end_bytes });
            }
            previous = Some(field);
        }
        let size_bytes = u64::from(self.size_bytes);
        if size_bytes > u64::from(SIZE_BYTES_MAX) {
            return Err(LayoutError::TooLarge { size_bytes });
        }
        if let Some(last) = previous.filter(|_| end_bytes > size_bytes) {
            let field = last.name.clone();
            return Err(LayoutError::PastEnd { field, end_bytes, size_bytes: self.size_bytes });
        }
        // A size that is no multiple of the alignment leaves a gap before the next multiple.
        let whole_bytes = size_bytes.next_multiple_of(u64::from(align_bytes));
        if end_bytes < whole_bytes {
            let bytes = whole_bytes - end_bytes;
            return Err(LayoutError::Gap { offset_bytes: end_bytes, bytes, before: None });
        }
        Ok(())
    }
}

/// Whether a field may stand where it stands, after a field that ends at `end_bytes`.
fn check_place(field: &Field, previous: Option<&Field>, end_bytes: u64) -> Result<(), LayoutError> {
    let offset_bytes = field.offset_bytes;
    let align_bytes = field.field_type.size_bytes();
    let start_bytes = u64::from(offset_bytes);
    if !offset_bytes.is_multiple_of(align_bytes) {
        let field = field.name.clone();
        return Err(LayoutError::Misaligned { field, offset_bytes, align_bytes });
    }
    if let Some(previous) = previous.filter(|_| start_bytes < end_bytes) {
        return Err(LayoutError::Overlap {
            field: field.name.clone(),
            offset_bytes,
            previous: previous.name.clone(),
            end_bytes,
        });
    }
    if start_bytes > end_bytes {
        return Err(LayoutError::Gap {
            offset_bytes: end_bytes,
            bytes: start_bytes - end_bytes,
            before: Some(field.name.clone()),
        });
    }
    Ok(())
}

/// What is wrong with a field by itself.
fn check_field(field: &Field) -> Result<(), SchemaError> {
    if !is_field_name(&field.name) {
        return Err(SchemaError::BadFieldName { field: shown(&field.name) });
    }
    let name = || field.name.clone();
    match field.count {
        Some(0) => return Err(SchemaError::BadCount { field: name() }),
        None if field.field_type == FieldType::Text => {
            return Err(SchemaError::BadCount { field: name() });
        }
        _ => {}
    }
    let unit = field.unit.as_deref().unwrap_or_default();
    if unit.len() > UNIT_BYTES_MAX || unit.contains(char::is_control) {
        return Err(SchemaError::BadNote { field: name(), key: "unit" });
    }
    if field.doc.as_deref().unwrap_or_default().contains(char::is_control) {
        return Err(SchemaError::BadNote { field: name(), key: "doc" });
    }
    Ok(())
}

fn is_type_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(allowed)
}

fn is_field_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.len() <= FIELD_NAME_BYTES_MAX
        && name.split('.').all(|part| !part.is_empty() && part.chars().all(allowed))
}

/// As much of a refused name as belongs into a message.
fn shown(name: &str) -> String {
    name.chars().take(FIELD_NAME_BYTES_MAX).collect()
}
