//! Times over numbers of machines, both by powers of ten, as an SVG that reads on light and on dark ground.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::growth::words;

const SIZE: (u32, u32) = (900, 520);

/// Room for the names of the lines, to the right.
const LEGEND: u32 = 230;

/// Between black and white: what is written and drawn with it shows on both.
const INK: RGBColor = RGBColor(128, 128, 128);

/// One colour for each line, none of them near black or white.
const COLOURS: [RGBColor; 10] = [
    RGBColor(78, 121, 167),
    RGBColor(242, 142, 43),
    RGBColor(225, 87, 89),
    RGBColor(63, 163, 156),
    RGBColor(89, 161, 79),
    RGBColor(201, 162, 39),
    RGBColor(176, 122, 161),
    RGBColor(211, 114, 149),
    RGBColor(156, 117, 95),
    RGBColor(121, 130, 138),
];

/// A line of the plot.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its name.
    pub(crate) label: String,
    /// Machines and seconds, by machines.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Draws the lines.
///
/// # Errors
/// A file that cannot be written, or nothing to draw.
pub(crate) fn draw(path: &Path, title: &str, axis: &str, lines: Vec<Line>) -> Result<()> {
    let all = || lines.iter().flat_map(|line| &line.points);
    let span = |of: fn(&(f64, f64)) -> f64| {
        let least = all().map(of).min_by(f64::total_cmp)?;
        Some((least, all().map(of).max_by(f64::total_cmp)?))
    };
    let nothing = || anyhow!("nothing was measured");
    let (fewest, most) = span(|point| point.0).ok_or_else(nothing)?;
    let (least, longest) = span(|point| point.1).ok_or_else(nothing)?;
    // Whole powers of ten: a small difference shall not look like a large one.
    let power = |exponent: f64| 10f64.powf(exponent);
    let seconds = power(least.log10().floor())..power(longest.log10().ceil());

    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    let ink = |size: u32| ("sans-serif", size).into_font().color(&INK);
    let root = root.margin(8, 0, 0, 0).titled(title, ink(18))?;
    let (left, right) = root.split_horizontally(SIZE.0 - LEGEND);
    let mut chart = ChartBuilder::on(&left)
        .margin(10)
        .x_label_area_size(45)
        .y_label_area_size(75)
        .build_cartesian_2d((fewest / 1.2..most * 1.2).log_scale(), seconds.log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(INK.mix(0.4))
        .max_light_lines(1)
        .axis_style(INK)
        .label_style(ink(13))
        .axis_desc_style(ink(14))
        .x_desc("machines")
        .y_desc(axis)
        .x_label_formatter(&|machines| format!("{machines:.0}"))
        .y_label_formatter(&|seconds| words(Duration::from_secs_f64(*seconds)))
        .draw()?;

    // In the order in which the lines end, the slowest first: so the legend reads as the plot does.
    let mut coloured: Vec<(Line, RGBColor)> = std::iter::zip(lines, COLOURS).collect();
    coloured.sort_by(|(a, _), (b, _)| end(b).total_cmp(&end(a)));
    let anchor = Pos::new(HPos::Left, VPos::Center);
    for (row, (line, colour)) in (0..).zip(&coloured) {
        let style = colour.stroke_width(2);
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        chart.draw_series(
            line.points
                .iter()
                .map(|point| Circle::new(*point, 3, colour.filled())),
        )?;
        let y = 30 + row * 24;
        right.draw(&PathElement::new(vec![(5, y), (27, y)], style))?;
        right.draw(&Circle::new((16, y), 3, colour.filled()))?;
        right.draw(&Text::new(line.label.as_str(), (35, y), ink(14).pos(anchor)))?;
    }
    root.present()?;
    Ok(())
}

fn end(line: &Line) -> f64 {
    line.points.last().map_or(0.0, |point| point.1)
}
