//! The plots: throughput beside floor and peers, scaling with workers, recovery against state size, latency curves.

use std::fs;
use std::path::Path;

use tiderace_benches::machine::REFERENCE_CALIBRATION;
use tiderace_benches::measure::Spread;

use super::chart::{Chart, Marks, Panel};
use super::lines::{Results, Side, cell, column, titled};
use crate::Failure;
use crate::suite::{Table, Workload};

/// Draws each plot that there are lines for, and says which.
pub(super) fn draw(results: &Results, folder: &Path) -> Result<(), Failure> {
    type Draw = fn(&Results) -> Result<Option<Chart<'static>>, Failure>;
    const PLOTS: [(&str, Draw); 4] = [
        ("throughput", throughput),
        ("workers", workers),
        ("recovery", recovery),
        ("latency", latency),
    ];
    fs::create_dir_all(folder)?;
    for (name, chart) in PLOTS {
        let path = folder.join(format!("{name}.svg"));
        match chart(results)? {
            Some(chart) => {
                chart.draw(&path)?;
                println!("{}", path.display());
            }
            None => println!("{name}: not recorded yet"),
        }
    }
    Ok(())
}

fn of_sides() -> Vec<String> {
    Side::ALL.map(|side| side.name().to_owned()).into()
}

/// The chart, if it has anything to show.
fn chart(heading: &'static str, legend: Vec<String>, panels: Vec<Panel>) -> Option<Chart<'static>> {
    (!panels.is_empty()).then_some(Chart {
        heading,
        legend,
        panels,
    })
}

/// What one core does in a second, beside what the loop of the reference would do there: its CPU, scaled by the calibration.
fn throughput(results: &Results) -> Result<Option<Chart<'static>>, Failure> {
    const HEADING: &str = "Thousands a second of CPU time, exactly once, one thread";
    let mut legend = of_sides();
    let floor_at = legend.len();
    legend.push("the reference's loop, scaled to this machine".to_owned());
    let mut panels = Vec::new();
    for workload in Workload::ALL {
        let Some(line) = results.newest(workload.name())? else {
            continue;
        };
        let Some((table, at)) = titled(&line, "one thread, one core")
            .and_then(|table| Some((table, column(table, "CPU ns")?)))
        else {
            continue;
        };
        let mut bars: Vec<(usize, Spread)> = Vec::new();
        for (nth, side) in Side::ALL.into_iter().enumerate() {
            if let Some(cpu) = cell(table, side, at) {
                bars.push((nth, rate(cpu)));
            }
        }
        let floor = workload.floor_us() * line.calibration_ns / REFERENCE_CALIBRATION;
        bars.push((floor_at, Spread::of([1e3 / floor])));
        let unit = table.columns[at].replace("CPU ns a ", "thousand ") + "s/s";
        panels.push(Panel {
            title: workload.name().to_owned(),
            unit,
            marks: Marks::Bars(bars),
        });
    }
    Ok(chart(HEADING, legend, panels))
}

/// Thousands a second, of nanoseconds each.
fn rate(each: Spread) -> Spread {
    Spread {
        median: 1e6 / each.median,
        min: 1e6 / each.max,
        max: 1e6 / each.min,
    }
}

/// One worker on one core against two on two, in records a second of wall time.
fn workers(results: &Results) -> Result<Option<Chart<'static>>, Failure> {
    const HEADING: &str = "Thousands a second, one thread on one core, two on two (the loop: one)";
    let mut panels = Vec::new();
    for workload in Workload::ALL {
        let Some(line) = results.newest(workload.name())? else {
            continue;
        };
        let tables: Vec<&Table> = ["one thread, one core", "all cores"]
            .into_iter()
            .filter_map(|title| titled(&line, title))
            .collect();
        let rates = |side| {
            let rate = |(nth, table): (usize, &&Table)| {
                let rate = cell(table, side, column(table, "thousand ")?)?;
                Some((nth as f64, rate))
            };
            tables.iter().enumerate().filter_map(rate).collect()
        };
        let lines = Side::ALL.into_iter().enumerate();
        let lines: Vec<(usize, Vec<(f64, Spread)>)> =
            lines.map(|(at, side)| (at, rates(side))).collect();
        let unit = tables.first().and_then(|table| {
            let at = column(table, "thousand ")?;
            Some(table.columns[at].clone())
        });
        panels.extend(unit.map(|unit| Panel {
            title: workload.name().to_owned(),
            unit,
            marks: Marks::Lines {
                along: "cores".to_owned(),
                names: ["1", "2"].map(str::to_owned).into(),
                lines,
            },
        }));
    }
    Ok(chart(HEADING, of_sides(), panels))
}

/// From the start of the process to the first new output, by the number of keys.
fn recovery(results: &Results) -> Result<Option<Chart<'static>>, Failure> {
    const HEADING: &str = "Back after kill -9: from process start to the first new output";
    let mut legend: Vec<String> = Vec::new();
    let mut lines: Vec<(usize, Vec<(f64, Spread)>)> = Vec::new();
    // By log, then by keys.
    for line in results.recoveries()? {
        if legend.last() != Some(&line.log) {
            lines.push((legend.len(), Vec::new()));
            legend.push(line.log.clone());
        }
        let point = (line.keys as f64 / 1e6, Spread::of(line.first_output_ms()));
        lines
            .last_mut()
            .expect("a log has a line of its own")
            .1
            .push(point);
    }
    let panel = Panel {
        title: String::new(),
        unit: "ms".to_owned(),
        marks: Marks::Lines {
            along: "million keys".to_owned(),
            names: Vec::new(),
            lines,
        },
    };
    let panels = if legend.is_empty() {
        vec![]
    } else {
        vec![panel]
    };
    Ok(chart(HEADING, legend, panels))
}

/// Percentiles of each setting's table, whichever it has.
fn latency(results: &Results) -> Result<Option<Chart<'static>>, Failure> {
    const HEADING: &str = "Latency at 20,000 records a second, every update out, ms by percentile";
    let mut panels = Vec::new();
    if let Some(line) = results.newest("latency")? {
        panels = line.tables.iter().filter_map(curves).collect();
    }
    Ok(chart(HEADING, of_sides(), panels))
}

fn curves(table: &Table) -> Option<Panel> {
    let columns = percentiles(&table.columns);
    let line = |side| -> Vec<(f64, Spread)> {
        let point =
            |(nth, (at, _)): (usize, &(usize, String))| Some((nth as f64, cell(table, side, *at)?));
        columns.iter().enumerate().filter_map(point).collect()
    };
    let lines = Side::ALL.into_iter().enumerate();
    let lines: Vec<_> = lines
        .map(|(at, side)| (at, line(side)))
        .filter(|(_, points)| !points.is_empty())
        .collect();
    (!lines.is_empty()).then(|| Panel {
        title: table.title.clone(),
        unit: "ms".to_owned(),
        marks: Marks::Lines {
            along: "percentile".to_owned(),
            names: columns.into_iter().map(|(_, name)| name).collect(),
            lines,
        },
    })
}

/// Where columns of percentiles are, with their names: `p50`, `p99.9`. Of several kinds, as `p50 over all` and `p50 by
/// the second` are, those of the kind that has most of them.
fn percentiles(columns: &[String]) -> Vec<(usize, String)> {
    let mut kinds: Vec<(&str, Vec<(usize, String)>)> = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let Some(rest) = column.strip_prefix('p') else {
            continue;
        };
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let (number, kind) = rest.split_at(end.unwrap_or(rest.len()));
        if number.parse::<f64>().is_err() {
            continue;
        }
        let percentile = (at, format!("p{number}"));
        match kinds.iter_mut().find(|(of, _)| *of == kind) {
            Some((_, percentiles)) => percentiles.push(percentile),
            None => kinds.push((kind, vec![percentile])),
        }
    }
    let most = kinds.into_iter().max_by_key(|(_, of)| of.len());
    most.map(|(_, of)| of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_kinds_of_percentiles_the_one_with_most_is_drawn() {
        let columns = [
            "p50, by second",
            "p99, by second",
            "p50 over all",
            "p99 over all",
            "p99.9 over all",
            "most",
            "peak memory MiB",
        ];
        let of = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
            percentiles(&columns)
        };
        let expected = [(2, "p50"), (3, "p99"), (4, "p99.9")];
        assert_eq!(
            of(&columns),
            expected.map(|(at, name)| (at, name.to_owned()))
        );
        assert_eq!(of(&["most", "p"]), []);
    }

    #[test]
    fn a_plot_has_what_was_recorded_and_those_without_lines_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let table = |title: &str, cpu: u32, wall: u32| {
            format!(
                r#"{{"title":"{title}","columns":["CPU ns a word","thousand words/s"],"rows":[["engine",[[{cpu}],[{wall}]]],["loop",[[50],[{wall}]]]]}}"#
            )
        };
        let tables = [
            table("one thread, one core", 100, 8),
            table("all cores", 120, 9),
        ];
        let line = format!(
            r#"{{"at":"2026-01-01T00:00:00Z","calibration_ns":76,"void":null,"tables":[{}]}}"#,
            tables.join(",")
        );
        fs::write(folder.path().join("p4.jsonl"), line).unwrap();
        let plots = folder.path().join("plots");
        draw(&Results::in_folder(folder.path().to_owned()), &plots).unwrap();

        let drawn = fs::read_to_string(plots.join("throughput.svg")).unwrap();
        for text in [
            "p4",
            "Tiderace",
            "Kafka Streams",
            "thousand words/s",
            "10000",
        ] {
            assert!(drawn.contains(text), "no `{text}` in\n{drawn}");
        }
        // Two sides and the floor, beside the squares of the legend and the ground.
        let bars = |drawn: &str| drawn.matches("<rect").count();
        assert_eq!(bars(&drawn), 3 + 4 + 1);
        let drawn = fs::read_to_string(plots.join("workers.svg")).unwrap();
        assert_eq!(drawn.matches("<circle").count(), 4);
        assert!(!plots.join("recovery.svg").exists() && !plots.join("latency.svg").exists());
    }
}
