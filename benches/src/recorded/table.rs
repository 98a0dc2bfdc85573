//! The table of the README: Tiderace, a loop by hand and Kafka Streams, a row for each quantity of each workload.

use tiderace_benches::measure::Spread;

use super::lines::{Line, Results, Side, cell, column, titled};
use crate::Failure;
use crate::suite::Table;

/// Where the README has the table.
const MARKERS: [&str; 2] = ["<!-- table -->\n", "<!-- /table -->\n"];

const WORKLOADS: [(&str, &str); 5] = [
    ("p1", "Pass-through with a filter"),
    ("p2", "Windows of 10 s, 265 keys, final results"),
    ("p3", "Running count, 265 keys"),
    ("p3-wide", "Running count, a million keys, snapshots on"),
    ("p4", "Word count, exchanged between workers"),
];

/// What is shown of a workload: a table's title, what its columns' names begin with, and what is said behind them.
const SHOWN: [(&str, &str, &str); 4] = [
    ("one thread, one core", "thousand ", ", one core"),
    ("one thread, one core", "CPU ns", ""),
    ("one thread, one core", "peak memory", ""),
    (
        "all cores",
        "thousand ",
        ", two cores, two workers; loop: one thread",
    ),
];

const NO_LINE: &str = "not recorded yet";

/// A row: what it is of, the quantity, the sides' figures, where they are recorded.
struct Row {
    of: String,
    quantity: String,
    figures: [Option<String>; 3],
    recorded: String,
}

impl Row {
    fn missing(of: &str) -> Self {
        Row {
            of: of.to_owned(),
            quantity: NO_LINE.to_owned(),
            figures: [None, None, None],
            recorded: String::new(),
        }
    }
}

/// The table, of the newest lines.
pub(super) fn markdown(results: &Results) -> Result<String, Failure> {
    let mut rows = Vec::new();
    for (benchmark, of) in WORKLOADS {
        match results.newest(benchmark)? {
            Some(line) => rows.extend(workload(benchmark, of, &line)),
            None => rows.push(Row::missing(of)),
        }
    }
    match results.newest("latency")? {
        Some(line) => rows.extend(latency(&line)),
        None => rows.push(Row::missing("Latency at 20,000 records a second")),
    }
    rows.extend(restart(results)?);
    let mut text = String::from("| | | Tiderace | loop by hand | Kafka Streams | recorded |\n");
    text += "|---|---|---|---|---|---|\n";
    let mut before = String::new();
    for row in rows {
        let Row {
            of,
            quantity,
            figures,
            recorded,
        } = row;
        let [ours, by_hand, streams] = figures.map(|figure| figure.unwrap_or("-".to_owned()));
        // Once for the rows of a workload.
        let (shown, recorded) = match of == before {
            true => ("", ""),
            false => (of.as_str(), recorded.as_str()),
        };
        text +=
            &format!("| {shown} | {quantity} | {ours} | {by_hand} | {streams} | {recorded} |\n");
        before = of;
    }
    Ok(text)
}

fn workload(benchmark: &str, of: &str, line: &Line) -> Vec<Row> {
    let mut recorded = link(benchmark, line.day());
    if line.void.is_some() {
        recorded += "; the loop is above its floor: void";
    }
    let row = |(title, begins, behind): (&str, &str, &str)| {
        let table = titled(line, title)?;
        let at = column(table, begins)?;
        Some(Row {
            of: of.to_owned(),
            quantity: format!("{}{behind}", table.columns[at]),
            figures: sides(table, |table, side| cell(table, side, at).map(figure)),
            recorded: recorded.clone(),
        })
    };
    SHOWN.into_iter().filter_map(row).collect()
}

/// A row for each setting: the median and the 99th percentile.
fn latency(line: &Line) -> Vec<Row> {
    let of_setting = |table: &Table| {
        let (p50, p99) = (column(table, "p50")?, column(table, "p99")?);
        let both = |table: &Table, side| {
            let (p50, p99) = (cell(table, side, p50)?, cell(table, side, p99)?);
            Some(format!("{} / {}", figure(p50), figure(p99)))
        };
        let figures = sides(table, both);
        figures[0].is_some().then(|| Row {
            of: "Latency at 20,000 records a second".to_owned(),
            quantity: format!("p50 / p99 ms, {}", table.title),
            figures,
            recorded: link("latency", line.day()),
        })
    };
    line.tables.iter().filter_map(of_setting).collect()
}

/// From `kill -9` on: with Kafka Streams beside it where that has been recorded.
fn restart(results: &Results) -> Result<Vec<Row>, Failure> {
    const OF: &str = "Restart after kill -9, a million keys, on Kafka";
    const QUANTITY: &str = "ms to the first new output";
    if let Some(line) = results.newest("restart")? {
        let row = |table: &Table| Row {
            of: OF.to_owned(),
            quantity: format!("{QUANTITY}, {}", table.title),
            figures: sides(table, |table, side| cell(table, side, 0).map(figure)),
            recorded: link("restart", line.day()),
        };
        return Ok(line.tables.iter().map(row).collect());
    }
    let recoveries = results.recoveries()?.into_iter();
    let mut recoveries =
        recoveries.filter(|recovery| recovery.keys == 1_000_000 && recovery.is_on_kafka());
    let recovery = recoveries.next_back();
    Ok(vec![recovery.map_or(Row::missing(OF), |recovery| {
        let spread = Spread::of(recovery.first_output_ms());
        Row {
            of: OF.to_owned(),
            quantity: QUANTITY.to_owned(),
            figures: [Some(figure(spread)), None, None],
            recorded: link("recovery", recovery.day()),
        }
    })])
}

fn sides(table: &Table, figure: impl Fn(&Table, Side) -> Option<String>) -> [Option<String>; 3] {
    Side::ALL.map(|side| figure(table, side))
}

fn link(benchmark: &str, day: &str) -> String {
    format!("[{benchmark}](benches/results/{benchmark}.jsonl), {day}")
}

/// The median with the digits that mean something.
fn figure(spread: Spread) -> String {
    let median = spread.median;
    match median.abs() {
        size if size >= 1_000.0 => {
            let whole = median.round() as i64;
            format!("{},{:03}", whole / 1_000, whole.abs() % 1_000)
        }
        size if size >= 100.0 => format!("{median:.0}"),
        size if size >= 10.0 => format!("{median:.1}"),
        _ => format!("{median:.2}"),
    }
}

/// The README with this table between its markers.
pub(super) fn put_into(readme: &str, table: &str) -> Result<String, Failure> {
    let missing = || "the README has no markers for the table";
    let (before, rest) = readme.split_once(MARKERS[0]).ok_or_else(missing)?;
    let (_, behind) = rest.split_once(MARKERS[1]).ok_or_else(missing)?;
    Ok([before, MARKERS[0], table, MARKERS[1], behind].concat())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn markdown_of(files: &[(&str, &str)]) -> Result<String, Failure> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(format!("{name}.jsonl")), text).unwrap();
        }
        markdown(&Results::in_folder(folder.path().to_owned()))
    }

    fn rows_of<'a>(table: &'a str, what: &str) -> Vec<&'a str> {
        table.lines().filter(|line| line.contains(what)).collect()
    }

    #[test]
    fn the_newest_line_counts_and_what_has_none_says_so() {
        let line = |day: &str, cpu: f64| {
            let tables = format!(
                r#"[{{"title":"one thread, one core","columns":["CPU ns a record","peak memory MiB"],"rows":[["engine",[[{cpu},9,900],[20.5]]],["loop",[[1234.4],[]]]]}}]"#
            );
            format!(
                r#"{{"at":"{day}T01:02:03Z","calibration_ns":76,"tables":{tables},"void":null}}"#
            )
        };
        let lines = [line("2026-01-01", 1.0), line("2026-02-02", 50.0)].join("\n");
        let table = markdown_of(&[("p2", &lines)]).unwrap();
        assert_eq!(
            rows_of(&table, "(benches/results/p2.jsonl)"),
            [
                "| Windows of 10 s, 265 keys, final results | CPU ns a record | 50.0 | 1,234 | - | [p2](benches/results/p2.jsonl), 2026-02-02 |",
            ]
        );
        assert_eq!(
            rows_of(&table, "peak memory"),
            ["|  | peak memory MiB | 20.5 | - | - |  |"]
        );
        assert_eq!(rows_of(&table, NO_LINE).len(), 6, "{table}");
    }

    #[test]
    fn latencies_and_restarts_have_a_row_a_setting() {
        let latency = r#"{"at":"2026-03-03T00:00:00Z","calibration_ns":76,"void":null,"tables":[
            {"title":"no engine","columns":["p50","p99"],"rows":[["",[[1],[2]]]]},
            {"title":"20 ms","columns":["p50","p99","p99.9"],"rows":[["loop",[[3],[4],[9]]],["engine",[[1],[2],[9]]],["Kafka Streams, warm",[[5],[6],[9]]]]}]}"#
            .replace('\n', "");
        let recovery = |keys: u64, log: &str, ms: u64| {
            format!(
                r#"{{"at":"2026-04-04T00:00:00Z","log":"{log}","keys":{keys},"kills":[{{"first_output_ms":{ms}}}]}}"#
            )
        };
        let recoveries = [
            recovery(1_000_000, "Kafka", 300),
            recovery(10_000_000, "Kafka", 2_000),
            recovery(1_000_000, "embedded log", 200),
        ];
        let table = markdown_of(&[("latency", &latency), ("recovery", &recoveries.join("\n"))]);
        let table = table.unwrap();
        let latencies = rows_of(&table, "results/latency");
        assert_eq!(latencies.len(), 1);
        assert!(
            latencies[0]
                .contains("| p50 / p99 ms, 20 ms | 1.00 / 2.00 | 3.00 / 4.00 | 5.00 / 6.00 |")
        );
        let restarts = rows_of(&table, "results/recovery");
        assert_eq!(restarts.len(), 1);
        assert!(restarts[0].contains("| ms to the first new output | 300 | - | - |"));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let failure = markdown_of(&[("p1", "{}\n")]).unwrap_err().to_string();
        assert!(failure.contains("p1.jsonl, line 1: "), "{failure}");
    }

    #[test]
    fn the_table_goes_between_the_markers_and_nowhere_else() {
        let readme = "a\n<!-- table -->\nold\n<!-- /table -->\nb\n";
        let put = put_into(readme, "new\n").unwrap();
        assert_eq!(put, "a\n<!-- table -->\nnew\n<!-- /table -->\nb\n");
        assert!(put_into("no markers", "new\n").is_err());
    }
}
