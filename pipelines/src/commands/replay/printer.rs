//! Prints replayed epochs as they come, and what they came to at the end.

use std::collections::BTreeMap;
use std::io::{BufWriter, Stdout, Write};

use serde_json::{Value, json};
use tiderace::runtime::ReplayedEpoch;

use super::{Summary, flush, is_object};
use crate::cli::Replay;
use crate::failure::Failure;
use crate::formats::declared;
use crate::json_lines::{self, Formats};

/// Prints records until all epochs are shown or nobody reads any more.
pub(super) struct Printer {
    out: BufWriter<Stdout>,
    line: Vec<u8>,
    /// Whether all goes into one JSON object.
    object: bool,
    /// How that begins, until it has.
    head: String,
    /// Records printed so far.
    records: u64,
    /// When epochs were committed.
    committed: BTreeMap<u64, i64>,
    epochs: Vec<Summary>,
    failed: Option<std::io::Error>,
}

impl Printer {
    pub(super) fn begin(
        options: &Replay,
        snapshot: Option<u64>,
        committed: Vec<(u64, i64)>,
    ) -> Self {
        let object = is_object(options.format).then(|| {
            let application = Value::from(options.application.as_str());
            let snapshot = json!(snapshot);
            format!(r#"{{"application_id":{application},"snapshot":{snapshot},"records":["#)
        });
        Printer {
            out: BufWriter::with_capacity(1 << 16, std::io::stdout()),
            line: Vec::new(),
            object: object.is_some(),
            head: object.unwrap_or_default(),
            records: 0,
            committed: committed.into_iter().collect(),
            epochs: Vec::new(),
            failed: None,
        }
    }

    /// How the object begins, the first time: before the first epoch is there, nothing is printed.
    fn begin_object(&mut self) -> std::io::Result<()> {
        self.out
            .write_all(std::mem::take(&mut self.head).as_bytes())
    }

    /// Prints what an epoch wrote; false once nobody reads any more.
    pub(super) fn print(&mut self, of: &ReplayedEpoch<'_>) -> bool {
        let mut outputs: BTreeMap<String, u64> = BTreeMap::new();
        self.failed = self.begin_object().err();
        if self.failed.is_some() {
            return false;
        }
        for record in of.records() {
            let (key, value) = declared(record.topic);
            self.line.clear();
            if self.object && self.records > 0 {
                self.line.push(b',');
            }
            json_lines::write_replayed(&record, of.epoch, Formats { key, value }, &mut self.line);
            if self.object {
                // The lines of an array end with it.
                self.line.pop();
            }
            self.failed = self.out.write_all(&self.line).err();
            if self.failed.is_some() {
                return false;
            }
            self.records += 1;
            *outputs.entry(record.topic.to_owned()).or_default() += 1;
        }
        self.epochs.push(Summary {
            epoch: of.epoch,
            committed_at: self.committed.get(&of.epoch).copied(),
            counts: of.counts,
            rows: of.rows,
            windows_closed: of.windows_closed,
            outputs,
        });
        true
    }

    /// The last epoch that was printed.
    pub(super) fn last(&self) -> Option<u64> {
        self.epochs.last().map(|of| of.epoch)
    }

    /// Says what the epochs came to. Of a replay that failed or was broken off (`whole` is false) an object stays open, so
    /// that no script takes it for all there is.
    pub(super) fn finish(&mut self, whole: bool) -> Result<(), Failure> {
        if let Some(error) = self.failed.take() {
            return Err(Failure::Output(error));
        }
        if self.object && whole {
            let epochs = Value::from_iter(self.epochs.iter().map(Summary::json));
            writeln!(self.out, r#"],"epochs":{epochs}}}"#).map_err(Failure::Output)?;
        }
        flush(&mut self.out)?;
        if !self.object {
            for of in &self.epochs {
                eprintln!("{}", of.text());
            }
        }
        Ok(())
    }
}
