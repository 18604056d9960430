//! The tables of docs/format.md, as data.
//!
//! A table that is preceded by `<!-- table: NAME, N bytes -->` describes N bytes; its columns are
//! offset, bytes, name and meaning. A name in backticks is a field, `zero` is reserved.

use std::fs;
use std::path::Path;

/// One row: so many bytes at an offset.
#[derive(Clone, Debug)]
pub struct Row {
    pub offset: usize,
    pub bytes: usize,
    /// `None` for reserved bytes.
    pub name: Option<String>,
}

/// One table.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub bytes: usize,
    pub rows: Vec<Row>,
}

/// All tables of the page.
#[derive(Debug)]
pub struct Format {
    pub tables: Vec<Table>,
}

impl Format {
    /// Reads the page.
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/format.md");
        let text = fs::read_to_string(&path).expect("docs/format.md is there");
        let mut tables: Vec<Table> = Vec::new();
        let mut open = false;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("<!-- table: ") {
                tables.push(heading(rest));
                open = true;
            } else if !line.starts_with('|') {
                open = false;
            } else if open && let Some(table) = tables.last_mut() {
                table.rows.extend(row(line));
            }
        }
        Self { tables }
    }

    /// The table of that name.
    pub fn table(&self, name: &str) -> &Table {
        let found = self.tables.iter().find(|table| table.name == name);
        found.unwrap_or_else(|| panic!("docs/format.md has no table {name:?}"))
    }

    /// The row of a field.
    pub fn field(&self, table: &str, field: &str) -> &Row {
        let rows = &self.table(table).rows;
        rows.iter()
            .find(|row| row.name.as_deref() == Some(field))
            .unwrap_or_else(|| panic!("docs/format.md has no {field:?} in table {table:?}"))
    }
}

fn heading(rest: &str) -> Table {
    let (name, rest) = rest.split_once(", ").expect("a table has a name and a size");
    let bytes = rest.strip_suffix(" bytes -->").expect("a table's size is in bytes");
    let bytes = bytes.parse().expect("a table's size is a number");
    Table { name: name.to_owned(), bytes, rows: Vec::new() }
}

/// A row of the table, or nothing for its head and its rule.
fn row(line: &str) -> Option<Row> {
    let mut cells = line.trim_matches('|').split('|').map(str::trim);
    let offset = cells.next()?.parse().ok()?;
    let bytes = cells.next()?.parse().ok()?;
    let name = cells.next()?;
    let field = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
    assert!(field.is_some() || name == "zero", "neither a field nor reserved: {line}");
    Some(Row { offset, bytes, name: field.map(str::to_owned) })
}
