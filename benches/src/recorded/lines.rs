//! The recorded lines.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tiderace_benches::measure::Spread;

use crate::Failure;
use crate::suite::Table;

/// A folder of recorded runs, a file a benchmark.
pub(super) struct Results(PathBuf);

/// What a benchmark of the suite recorded of a run.
#[derive(Deserialize)]
pub(super) struct Line {
    /// When the run ended, RFC 3339.
    at: String,
    /// CPU nanoseconds per record of the calibration loop.
    pub(super) calibration_ns: f64,
    pub(super) tables: Vec<Table>,
    /// Why ratios to the loop say nothing, if they do not.
    pub(super) void: Option<String>,
}

impl Line {
    /// The day of the run.
    pub(super) fn day(&self) -> &str {
        day(&self.at)
    }
}

/// What `recovery` recorded of a run.
#[derive(Deserialize)]
pub(super) struct Recovery {
    at: String,
    pub(super) log: String,
    pub(super) keys: u64,
    kills: Vec<Kill>,
}

#[derive(Deserialize)]
struct Kill {
    first_output_ms: f64,
}

impl Recovery {
    pub(super) fn day(&self) -> &str {
        day(&self.at)
    }

    /// Milliseconds from the start of the process to the first new output.
    pub(super) fn first_output_ms(&self) -> Vec<f64> {
        self.kills.iter().map(|kill| kill.first_output_ms).collect()
    }

    pub(super) fn is_on_kafka(&self) -> bool {
        self.log.contains("Kafka")
    }
}

fn day(at: &str) -> &str {
    at.split('T').next().unwrap_or(at)
}

impl Results {
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Results(folder)
    }

    /// The newest line of a benchmark of the suite, if it has one.
    pub(super) fn newest(&self, benchmark: &str) -> Result<Option<Line>, Failure> {
        Ok(self.all(benchmark)?.pop())
    }

    /// The newest lines of `recovery`, one for each log and number of keys.
    pub(super) fn recoveries(&self) -> Result<Vec<Recovery>, Failure> {
        let mut newest: Vec<Recovery> = Vec::new();
        for line in self.all::<Recovery>("recovery")? {
            newest.retain(|before| (&before.log, before.keys) != (&line.log, line.keys));
            newest.push(line);
        }
        newest.sort_by(|one, other| (&one.log, one.keys).cmp(&(&other.log, other.keys)));
        Ok(newest)
    }

    fn all<T: DeserializeOwned>(&self, benchmark: &str) -> Result<Vec<T>, Failure> {
        let path = self.0.join(format!("{benchmark}.jsonl"));
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        let line = |(nth, line)| {
            serde_json::from_str(line)
                .map_err(|error| format!("{}, line {}: {error}", path.display(), nth + 1).into())
        };
        text.lines().enumerate().map(line).collect()
    }
}

/// Who a row of a table is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Tiderace,
    Loop,
    KafkaStreams,
}

impl Side {
    pub(super) const ALL: [Side; 3] = [Side::Tiderace, Side::Loop, Side::KafkaStreams];

    pub(super) fn name(self) -> &'static str {
        match self {
            Side::Tiderace => "Tiderace",
            Side::Loop => "loop by hand",
            Side::KafkaStreams => "Kafka Streams",
        }
    }

    fn is_of(self, row: &str) -> bool {
        row.starts_with(match self {
            Side::Tiderace => "engine",
            Side::Loop => "loop",
            Side::KafkaStreams => "Kafka Streams",
        })
    }
}

/// The table that is called so.
pub(super) fn titled<'a>(line: &'a Line, title: &str) -> Option<&'a Table> {
    line.tables.iter().find(|table| table.title == title)
}

/// The column whose name begins so.
pub(super) fn column(table: &Table, begins: &str) -> Option<usize> {
    let mut columns = table.columns.iter();
    columns.position(|column| column.starts_with(begins))
}

/// What a side's row has in a column, if there is such a row and it has samples.
pub(super) fn cell(table: &Table, side: Side, column: usize) -> Option<Spread> {
    let (_, cells) = table.rows.iter().find(|(row, _)| side.is_of(row))?;
    let samples = cells.get(column)?;
    (!samples.is_empty()).then(|| Spread::of(samples.iter().copied()))
}
