//! Charts as SVG: panels side by side, each with an axis of its own, under a heading with a legend.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use tiderace_benches::measure::Spread;

use crate::Failure;

/// Of those in a legend, in its order; the fourth is grey, for what is a bound beside three sides.
const COLOURS: [RGBColor; 5] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(150, 150, 150),
    RGBColor(148, 103, 189),
];
const FONT: &str = "sans-serif";
/// Sizes in pixels.
const PANEL: (u32, u32) = (270, 300);
const HEADING: u32 = 64;
/// Room above the largest value.
const HEADROOM: f64 = 1.1;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A file of panels.
pub(super) struct Chart<'a> {
    pub(super) heading: &'a str,
    /// What bars and lines are of; they name a place in it.
    pub(super) legend: Vec<String>,
    pub(super) panels: Vec<Panel>,
}

/// A part of a chart with an axis of its own, from 0.
pub(super) struct Panel {
    pub(super) title: String,
    /// What the axis upwards is, with its unit.
    pub(super) unit: String,
    pub(super) marks: Marks,
}

/// What is drawn, by place in the legend; medians, with a stroke from the least to the most.
pub(super) enum Marks {
    Bars(Vec<(usize, Spread)>),
    Lines {
        /// What the axis to the right is.
        along: String,
        /// Names of places on it that have one: other places have their number.
        names: Vec<String>,
        lines: Vec<(usize, Vec<(f64, Spread)>)>,
    },
}

impl Chart<'_> {
    /// Draws it into a file.
    pub(super) fn draw(&self, path: &Path) -> Result<(), Failure> {
        let width = PANEL.0 * self.panels.len().max(2) as u32;
        let area = SVGBackend::new(path, (width, HEADING + PANEL.1)).into_drawing_area();
        area.fill(&WHITE)?;
        let (heading, below) = area.split_vertically(HEADING);
        self.draw_heading(&heading)?;
        let panels = below.split_evenly((1, self.panels.len().max(1)));
        for (panel, area) in self.panels.iter().zip(&panels) {
            match &panel.marks {
                Marks::Bars(bars) => panel.draw_bars(area, bars)?,
                Marks::Lines {
                    along,
                    names,
                    lines,
                } => panel.draw_lines(area, (along, names), lines)?,
            }
        }
        area.present()?;
        Ok(())
    }

    fn draw_heading(&self, area: &Area<'_>) -> Result<(), Failure> {
        /// About how wide a letter of the legend is.
        const LETTER: i32 = 7;
        area.draw(&Text::new(self.heading, (10, 10), (FONT, 20)))?;
        let mut left = 10;
        for (at, name) in self.legend.iter().enumerate() {
            let square = [(left, 40), (left + 12, 52)];
            area.draw(&Rectangle::new(square, colour(at).filled()))?;
            area.draw(&Text::new(name.as_str(), (left + 18, 39), (FONT, 15)))?;
            left += 40 + name.len() as i32 * LETTER;
        }
        Ok(())
    }
}

impl Panel {
    fn draw_bars(&self, area: &Area<'_>, bars: &[(usize, Spread)]) -> Result<(), Failure> {
        let most = bars.iter().map(|(_, spread)| spread.max);
        let most = most.fold(0.0, f64::max) * HEADROOM;
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .caption(&self.title, (FONT, 16))
            .x_label_area_size(10)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..bars.len() as f64, 0.0..most)?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().disable_x_axis();
        mesh.y_labels(6)
            .max_light_lines(1)
            .y_label_formatter(&number);
        mesh.y_desc(&self.unit).label_style((FONT, 13)).draw()?;
        chart.draw_series(bars.iter().enumerate().map(|(nth, (at, spread))| {
            let left = nth as f64 + 0.15;
            let corners = [(left, 0.0), (left + 0.7, spread.median)];
            Rectangle::new(corners, colour(*at).filled())
        }))?;
        chart.draw_series(bars.iter().enumerate().map(|(nth, (_, spread))| {
            let middle = nth as f64 + 0.5;
            PathElement::new([(middle, spread.min), (middle, spread.max)], BLACK)
        }))?;
        Ok(())
    }

    fn draw_lines(
        &self,
        area: &Area<'_>,
        (along, names): (&str, &[String]),
        lines: &[(usize, Vec<(f64, Spread)>)],
    ) -> Result<(), Failure> {
        let points = || lines.iter().flat_map(|(_, points)| points);
        let most = points().map(|(_, spread)| spread.max).fold(0.0, f64::max) * HEADROOM;
        let right = points().map(|(along, _)| *along).fold(0.0, f64::max);
        let margin = right * 0.06 + 0.1;
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .caption(&self.title, (FONT, 16))
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(-margin..right + margin, 0.0..most)?;
        let name = |along: &f64| {
            let whole = along.round();
            match names.get(whole.max(0.0) as usize) {
                _ if (along - whole).abs() > 1e-6 || whole < 0.0 => String::new(),
                Some(name) => name.clone(),
                None if names.is_empty() => format!("{whole:.0}"),
                None => String::new(),
            }
        };
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh()
            .x_label_formatter(&name)
            .y_labels(6)
            .y_label_formatter(&number);
        let ticks = if names.is_empty() { 6 } else { names.len() };
        mesh.x_labels(ticks).x_desc(along);
        mesh.max_light_lines(1);
        mesh.y_desc(&self.unit).label_style((FONT, 13)).draw()?;
        for (at, points) in lines {
            let colour = colour(*at);
            let medians = points.iter().map(|(along, spread)| (*along, spread.median));
            chart.draw_series(LineSeries::new(medians.clone(), colour.stroke_width(2)))?;
            chart.draw_series(medians.map(|point| Circle::new(point, 3, colour.filled())))?;
            chart.draw_series(points.iter().map(|(along, spread)| {
                PathElement::new([(*along, spread.min), (*along, spread.max)], colour)
            }))?;
        }
        Ok(())
    }
}

/// As short as it can be written.
fn number(of: &f64) -> String {
    // A tick is a multiple of a power of ten, up to what is lost in adding them up.
    format!("{}", (of * 1e6).round() / 1e6)
}

fn colour(at: usize) -> RGBColor {
    COLOURS[at.min(COLOURS.len() - 1)]
}
