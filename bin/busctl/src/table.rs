//! A table for people: a heading line, columns as wide as they have to be, two spaces between.

use crate::exit::Failure;
use crate::output::{Out, Paint};
use std::fmt::Write as _;

/// On which side of a column the text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows gathered for printing; every row has as many cells as there are columns.
pub struct Table<const COLUMNS: usize> {
    columns: [(&'static str, Side); COLUMNS],
    rows: Vec<[String; COLUMNS]>,
    indent: &'static str,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with these headings and no rows.
    pub fn new(columns: [(&'static str, Side); COLUMNS]) -> Self {
        Self { columns, rows: Vec::new(), indent: "" }
    }

    /// Puts this before every line.
    #[must_use]
    pub fn indent(mut self, indent: &'static str) -> Self {
        self.indent = indent;
        self
    }

    /// Adds a row. Control characters in a cell (a process may call itself anything) are replaced.
    pub fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells.map(|cell| cell.replace(|c: char| c.is_control(), "?")));
    }

    /// Writes the heading and the rows.
    pub fn print(&self, out: &Out) -> Result<(), Failure> {
        let widths = self.widths();
        let heading = self.columns.map(|(name, _)| name.to_owned());
        let line = self.line(&heading, &widths);
        out.line(format_args!("{}{}", self.indent, out.paint(Paint::Bold, line)))?;
        for row in &self.rows {
            out.line(format_args!("{}{}", self.indent, self.line(row, &widths)))?;
        }
        Ok(())
    }

    fn widths(&self) -> [usize; COLUMNS] {
        let mut widths = self.columns.map(|(name, _)| name.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }

    fn line(&self, cells: &[String; COLUMNS], widths: &[usize; COLUMNS]) -> String {
        let mut line = String::new();
        for ((cell, (_, side)), width) in cells.iter().zip(self.columns).zip(widths) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            // Writing to a String cannot fail.
            match side {
                Side::Left => drop(write!(line, "{cell:<width$}")),
                Side::Right => drop(write!(line, "{cell:>width$}")),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let mut table = Table::new([("NAME", Side::Left), ("LAG", Side::Right)]);
        table.row(["a".into(), "7".into()]);
        table.row(["longer".into(), "12345".into()]);
        let widths = table.widths();
        assert_eq!(table.line(&table.rows[0], &widths), "a           7");
        assert_eq!(table.line(&table.rows[1], &widths), "longer  12345");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut table = Table::new([("NAME", Side::Left)]);
        table.row(["\x1b[2Jx\n".into()]);
        assert_eq!(table.rows[0], ["?[2Jx?"]);
    }
}
