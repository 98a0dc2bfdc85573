//! Who looks on from outside: the epoch log as it is committed, and with it the outputs, which become visible together.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tiderace::connect::{Fetched, RecordBatch, Source, TopicPartition};

use super::job::{APPLICATION, COUNTS, now};
use super::place::Place;
use crate::Failure;

/// Follows the epoch log.
pub(super) struct Watch {
    source: Box<dyn Source>,
    /// Records that the epochs seen so far have read.
    pub(super) read: u64,
    /// Starts of the application seen so far.
    starts: u64,
}

/// An epoch as it was seen.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    /// When, in seconds since 1970.
    pub(super) at: f64,
    /// Records that this epoch and all before it have read.
    pub(super) read: u64,
    /// Records that it wrote.
    pub(super) written: u64,
    /// Behind which start it was committed, counted from 1.
    pub(super) start: u64,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Entry {
    Epoch {
        counts: Counts,
        outputs: BTreeMap<String, Digest>,
    },
    Start,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Counts {
    read: u64,
}

#[derive(Deserialize)]
struct Digest {
    records: u64,
}

impl Watch {
    /// From the beginning of the log.
    pub(super) fn open(place: &Place) -> Result<Self, Failure> {
        let epochs = TopicPartition::new(format!("{APPLICATION}-epochs"), 0);
        // Nobody trims it: its entries are younger than the retention.
        let source = place.open()?.source(&[(epochs, 0)], 1 << 20)?;
        Ok(Watch {
            source,
            read: 0,
            starts: 0,
        })
    }

    /// Starts of the application that have been seen.
    pub(super) fn starts(&self) -> u64 {
        self.starts
    }

    /// The epochs that have been committed since the last call, waiting at most so long for one.
    pub(super) fn take(&mut self, wait: Duration) -> Result<Vec<Epoch>, Failure> {
        let mut epochs = Vec::new();
        let mut wait = wait;
        loop {
            match self.source.poll(wait)? {
                Fetched::Nothing => return Ok(epochs),
                Fetched::CaughtUp { .. } => {}
                Fetched::Batch(batch) => {
                    wait = Duration::ZERO;
                    self.take_batch(&*batch, &mut epochs)?;
                }
            }
        }
    }

    fn take_batch(
        &mut self,
        batch: &dyn RecordBatch,
        epochs: &mut Vec<Epoch>,
    ) -> Result<(), Failure> {
        for index in 0..batch.len() {
            let entry = serde_json::from_slice(batch.get(index).value.unwrap_or_default())?;
            let (counts, outputs) = match entry {
                Entry::Epoch { counts, outputs } => (counts, outputs),
                Entry::Start => {
                    self.starts += 1;
                    continue;
                }
                Entry::Other => continue,
            };
            self.read += counts.read;
            epochs.push(Epoch {
                at: now(),
                read: self.read,
                written: outputs.get(COUNTS).map_or(0, |it| it.records),
                start: self.starts,
            });
        }
        Ok(())
    }
}
