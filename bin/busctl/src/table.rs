//! A table for people: a heading line, columns as wide as they have to be, two spaces between.
//!
//! A table that is to fit has its longest cells cut on a terminal that is narrower than it is; in a
//! pipe nothing is ever cut.

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
    /// Columns that may be cut.
    cut: &'static [usize],
}

/// Columns are not cut below this: the start of a name says something still.
const CUT_WIDTH_MIN: usize = 4;

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with these headings and no rows.
    pub fn new(columns: [(&'static str, Side); COLUMNS]) -> Self {
        Self { columns, rows: Vec::new(), indent: "", cut: &[] }
    }

    /// Puts this before every line.
    #[must_use]
    pub fn indent(mut self, indent: &'static str) -> Self {
        self.indent = indent;
        self
    }

    /// Lets cells of these columns be cut where a terminal is narrower than the table.
    #[must_use]
    pub fn fitting(mut self, cut: &'static [usize]) -> Self {
        self.cut = cut;
        self
    }

    /// Adds a row. Control characters in a cell (a process may call itself anything) are replaced.
    pub fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells.map(|cell| cell.replace(|c: char| c.is_control(), "?")));
    }

    /// Writes the heading and the rows.
    pub fn print(&self, out: &Out) -> Result<(), Failure> {
        let mut widths = self.widths();
        if let Some(columns) = out.columns() {
            self.narrow(&mut widths, columns);
        }
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

    /// Takes from the widest of the columns that may be cut, until all fit or none can give more.
    fn narrow(&self, widths: &mut [usize; COLUMNS], columns: usize) {
        let all = |widths: &[usize; COLUMNS]| {
            self.indent.len() + widths.iter().sum::<usize>() + 2 * (COLUMNS - 1)
        };
        while all(widths) > columns {
            let can_give = self.cut.iter().filter(|index| widths[**index] > CUT_WIDTH_MIN);
            let Some(widest) = can_give.max_by_key(|index| widths[**index]) else {
                return;
            };
            widths[*widest] -= 1;
        }
    }

    fn line(&self, cells: &[String; COLUMNS], widths: &[usize; COLUMNS]) -> String {
        let mut line = String::new();
        for ((cell, (_, side)), &width) in cells.iter().zip(self.columns).zip(widths) {
            let cell = cut_to(cell, width);
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

/// A cell that is too long, with a sign that it is.
fn cut_to(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['~']).collect()
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
    fn only_the_columns_that_may_are_cut_and_no_further_than_needed() {
        let mut table = Table::new([("NAME", Side::Left), ("LAG", Side::Right)]).fitting(&[0]);
        table.row(["a-long-name".into(), "1234567".into()]);
        let line = |columns: usize| {
            let mut widths = table.widths();
            table.narrow(&mut widths, columns);
            table.line(&table.rows[0], &widths)
        };
        assert_eq!(line(20), "a-long-name  1234567");
        assert_eq!(line(15), "a-lon~  1234567");
        assert_eq!(line(1), "a-l~  1234567");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut table = Table::new([("NAME", Side::Left)]);
        table.row(["\x1b[2Jx\n".into()]);
        assert_eq!(table.rows[0], ["?[2Jx?"]);
    }
}
