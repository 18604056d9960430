//! The plot: for each case a group of bars on a logarithmic axis, one bar for each peer.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Machine;
use crate::run::{Measured, Outcome};

/// Pixels.
const WIDTH: u32 = 1100;
const BAR: i32 = 16;
const GAP: i32 = 4;
const MARGIN: i32 = 16;
const NAMES_WIDTH: i32 = 190;
const VALUES_WIDTH: i32 = 110;
const HEAD_HEIGHT: i32 = 64;
const CASE_HEAD_HEIGHT: i32 = 34;
const FONT_BAR: i32 = 12;
const FONT_CASE: i32 = 15;

/// One case as bars.
struct Chart {
    title: String,
    bars: Vec<Bar>,
}

struct Bar {
    name: String,
    value: f64,
    text: String,
    color: RGBColor,
}

/// Bars of busway, of the limits, and of everything else.
const OURS: RGBColor = RGBColor(200, 80, 20);
const LIMIT: RGBColor = RGBColor(170, 170, 170);
const OTHER: RGBColor = RGBColor(90, 120, 160);

/// Writes all cases of all scenarios into one SVG file.
///
/// # Errors
/// The file's path and what went wrong.
pub fn plot(
    outcomes: &[Outcome],
    machine: &Machine,
    command: &str,
    path: &Path,
) -> Result<(), String> {
    let charts: Vec<Chart> = outcomes
        .iter()
        .flat_map(|outcome| {
            let scenario = outcome.scenario.name();
            outcome.cases.iter().map(move |measured| chart(scenario, measured))
        })
        .filter(|chart| !chart.bars.is_empty())
        .collect();
    let height = HEAD_HEIGHT + charts.iter().map(height_of).sum::<i32>() + MARGIN;
    let area = SVGBackend::new(path, (WIDTH, height.cast_unsigned())).into_drawing_area();
    draw(&area, &charts, machine, command)
        .map_err(|error| format!("writing {}: {error}", path.display()))
}

fn chart(scenario: &str, measured: &Measured) -> Chart {
    let figure = measured.figures().first().copied();
    let title = format!(
        "{scenario}: {} ({})",
        measured.case.name,
        figure.map_or("", |figure| figure.title())
    );
    let mut bars: Vec<Bar> = measured
        .rows
        .iter()
        .filter_map(|row| {
            let (figure, summary) = (figure?, row.summary.as_ref()?);
            let value = summary.figures.get(&figure)?.median;
            let mark = if summary.distance == crate::stats::Distance::Usual { "" } else { "*" };
            Some(Bar {
                name: format!("{}{mark}", row.peer),
                value,
                text: figure.unit().format(value),
                color: match row.peer.split(':').next() {
                    Some("busway") => OURS,
                    Some("limit") => LIMIT,
                    _ => OTHER,
                },
            })
        })
        .collect();
    let more_is_better = figure.is_some_and(crate::figure::Figure::more_is_better);
    bars.sort_by(|one, other| {
        let order = one.value.total_cmp(&other.value);
        if more_is_better { order.reverse() } else { order }
    });
    Chart { title, bars }
}

fn height_of(chart: &Chart) -> i32 {
    let bars = i32::try_from(chart.bars.len()).unwrap_or(0);
    CASE_HEAD_HEIGHT + bars * (BAR + GAP)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(area: &Area<'_>, charts: &[Chart], machine: &Machine, command: &str) -> Drawn {
    area.fill(&WHITE)?;
    let small = ("sans-serif", FONT_BAR).into_font().color(&BLACK);
    area.draw(&Text::new(machine.describe(), (MARGIN, MARGIN), small.clone()))?;
    area.draw(&Text::new(command.to_owned(), (MARGIN, MARGIN + 18), small))?;
    let mut top = HEAD_HEIGHT;
    for chart in charts {
        draw_chart(area, chart, top)?;
        top += height_of(chart);
    }
    area.present()?;
    Ok(())
}

fn draw_chart(area: &Area<'_>, chart: &Chart, top: i32) -> Drawn {
    let head = ("sans-serif", FONT_CASE).into_font().color(&BLACK);
    area.draw(&Text::new(chart.title.clone(), (MARGIN, top + 8), head))?;
    let values = || chart.bars.iter().map(|bar| bar.value.max(f64::MIN_POSITIVE).log10());
    // From the power of ten below the least to the greatest.
    let (low, high) = (
        values().fold(f64::INFINITY, f64::min).floor() - 0.1,
        values().fold(f64::NEG_INFINITY, f64::max),
    );
    let span = f64::from(WIDTH) - f64::from(2 * MARGIN + NAMES_WIDTH + VALUES_WIDTH);
    let text = ("sans-serif", FONT_BAR).into_font().color(&BLACK);
    let name_style = text.clone().pos(Pos::new(HPos::Right, VPos::Center));
    let value_style = text.pos(Pos::new(HPos::Left, VPos::Center));
    let mut y = top + CASE_HEAD_HEIGHT;
    for (bar, log) in chart.bars.iter().zip(values()) {
        #[allow(clippy::cast_possible_truncation, reason = "pixels of a picture 1100 wide")]
        let length = ((log - low) / (high - low).max(0.1) * span).round() as i32;
        let (left, middle) = (MARGIN + NAMES_WIDTH, y + BAR / 2);
        let right = left + length.max(1);
        area.draw(&Rectangle::new([(left, y), (right, y + BAR)], bar.color.filled()))?;
        area.draw(&Text::new(bar.name.clone(), (left - 6, middle), name_style.clone()))?;
        area.draw(&Text::new(bar.text.clone(), (right + 6, middle), value_style.clone()))?;
        y += BAR + GAP;
    }
    Ok(())
}
