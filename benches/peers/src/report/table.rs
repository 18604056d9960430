//! Tables: one for each case, a line for each peer, best first.

use std::fmt::Write as _;

use crate::figure::Figure;
use crate::run::{Measured, Outcome};
use crate::stats::{Distance, Row, Summary};

/// Between two columns.
const GAP: &str = "  ";

/// The whole scenario as text.
pub fn print(outcome: &Outcome) -> String {
    let mut text = format!("{}: {}\n", outcome.scenario.name(), outcome.scenario.question());
    if let Some(usual_ns) = outcome.usual_probe_ns {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "bare round trip between the cores, most samples: {usual_ns:.0} ns");
    }
    let mut marked = false;
    for measured in &outcome.cases {
        let _ = write!(text, "\n{}\n{}", measured.case.name, table(measured));
        marked |= measured.rows.iter().flat_map(|row| &row.summary).any(is_marked);
    }
    if marked {
        text.push_str("\n* measured at another distance of the cores than most samples");
        text.push_str(", and compared only with samples at the same distance\n");
    }
    text
}

fn is_marked(summary: &Summary) -> bool {
    summary.distance != Distance::Usual
}

fn table(measured: &Measured) -> String {
    let figures = measured.figures();
    let first = figures.first().copied();
    let mut rows: Vec<&Row> = measured.rows.iter().collect();
    rows.sort_by(|one, other| order(one, other, first));
    let mut head = vec![String::from("PEER")];
    for (index, figure) in figures.iter().enumerate() {
        head.push(figure.title().to_owned());
        if index == 0 {
            head.extend(["LEAST", "GREATEST", "RATIO"].map(String::from));
        }
    }
    head.extend(["PROBE", "N"].map(String::from));
    let mut lines = vec![(head, String::new())];
    let taking_part = rows.iter().filter(|row| row.left_out.is_none());
    lines.extend(taking_part.map(|row| line(row, figures)));
    align(&lines) + &left_out(&rows)
}

/// Who is left out and why, peers with the same reason together.
fn left_out(rows: &[&Row]) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rows {
        let Some(why) = row.left_out.as_deref() else {
            continue;
        };
        match reasons.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, peers)) => peers.push(row.peer),
            None => reasons.push((why, vec![row.peer])),
        }
    }
    let lines = reasons
        .into_iter()
        .map(|(reason, peers)| format!("{GAP}left out: {} ({reason})\n", peers.join(", ")));
    lines.collect()
}

/// Best first, then those without a figure.
fn order(one: &Row, other: &Row, figure: Option<Figure>) -> std::cmp::Ordering {
    let rank = |row: &Row| {
        let value =
            row.summary.as_ref().and_then(|summary| Some(summary.figures.get(&figure?)?.median));
        match value {
            Some(value) if figure.is_some_and(Figure::more_is_better) => (0, -value),
            Some(value) => (0, value),
            None => (1, 0.0),
        }
    };
    let (one, other) = (rank(one), rank(other));
    one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
}

/// The cells of a peer, and what is said after them.
fn line(row: &Row, figures: &[Figure]) -> (Vec<String>, String) {
    let Some(summary) = &row.summary else {
        return (vec![row.peer.to_owned()], failure(row));
    };
    let mark = if is_marked(summary) { "*" } else { "" };
    let mut cells = vec![format!("{}{mark}", row.peer)];
    for (index, figure) in figures.iter().enumerate() {
        let spread = summary.figures.get(figure);
        let cell = |value: Option<f64>| {
            value.map_or_else(|| String::from("-"), |value| figure.unit().format(value))
        };
        cells.push(cell(spread.map(|spread| spread.median)));
        if index == 0 {
            cells.push(cell(spread.map(|spread| spread.min)));
            cells.push(cell(spread.map(|spread| spread.max)));
            cells.push(summary.ratio.map_or_else(|| String::from("-"), ratio_text));
        }
    }
    let probe = summary.probe_ns.map(|probe_ns| format!("{probe_ns:.0} ns"));
    cells.push(probe.unwrap_or_else(|| String::from("-")));
    cells.push(summary.samples.to_string());
    (cells, failure(row))
}

fn ratio_text(ratio: f64) -> String {
    if ratio < 0.095 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

fn failure(row: &Row) -> String {
    let why = row.samples.iter().find_map(|sample| sample.result.as_ref().err());
    why.map(|why| format!("FAILED: {why}")).unwrap_or_default()
}

/// The first column to the left, the others to the right; what is said after a line's cells is not
/// aligned.
fn align(lines: &[(Vec<String>, String)]) -> String {
    let columns = lines.iter().map(|(cells, _)| cells.len()).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|(cells, _)| cells.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (cells, after) in lines {
        let mut line = String::new();
        for (index, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
            if index == 0 {
                let _ = write!(line, "{GAP}{cell:<width$}");
            } else {
                let _ = write!(line, "{GAP}{cell:>width$}");
            }
        }
        if !after.is_empty() {
            let _ = write!(line, "{GAP}{after}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let cells = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        let lines = [
            (cells(&["PEER", "RATE"]), String::new()),
            (cells(&["a", "12.3 M"]), String::new()),
            (cells(&["longer"]), String::from("FAILED: why")),
        ];
        let text = align(&lines);
        assert_eq!(text, "  PEER      RATE\n  a       12.3 M\n  longer  FAILED: why\n");
    }
}
