//! The pipeline `rides-per-zone` as a loop over a log, with the engine's own client calls and nothing of the
//! engine: what it would cost without a framework.
//!
//! It promises the same output bytes, exactly once, for a bounded input; it keeps no state for a restart.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use tiderace::codec::json;
use tiderace::connect::{
    Fetched, Log, RecordBatch, SinkRecord, Source, TopicDescription, TopicPartition,
    TransactionError, Transactions, partition_for,
};
use tiderace::error::LogError;
use tiderace::runtime::Counts;

use crate::zone_counts::{ZoneCount, ZoneCounts};

/// The longest a transaction stays open, and the records that it takes at most; both as the engine's epochs.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
const COMMIT_RECORDS: u64 = 100_000;
/// Bytes that the client may buffer.
const MEMORY: usize = 32 << 20;
const PATIENCE: Duration = Duration::from_millis(100);

/// Why the loop ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A transaction failed; this loop does not try again.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// A record that is not what its topic holds.
    #[error("{partition}, offset {offset}: {reason}")]
    Value {
        /// Topic and partition.
        partition: TopicPartition,
        /// The record's offset.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Where the loop reads and writes, and its windows in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Topic of the rides.
    pub rides: &'a str,
    /// Topic of the zones' names.
    pub zones: &'a str,
    /// Topic of the counts; must exist.
    pub output: &'a str,
    /// Length of a window.
    pub window: i64,
    /// How long a window waits for stragglers.
    pub grace: i64,
}

/// Counts what the topic of rides holds now, writes the counts, and says what became of the rides.
///
/// # Errors
/// See [`Error`].
pub fn rides_per_zone(log: &dyn Log, job: Job<'_>) -> Result<Counts, Error> {
    let zones = zone_names(log, job.zones)?;
    let input = Input::open(log, job.rides)?;
    let mut counts = ZoneCounts::new(job.window, job.grace, input.partitions.len());
    let mut output = Output::open(log, &job, zones)?;
    let (mut closed, mut opened, mut taken) = (Vec::new(), Instant::now(), 0);
    input.read(|slot, partition, batch, ends| {
        for index in 0..batch.len() {
            let record = batch.get(index);
            if record.offset >= ends {
                break;
            }
            let value = record.value.unwrap_or_default();
            counts.take(slot, value).map_err(|reason| Error::Value {
                partition: partition.clone(),
                offset: record.offset,
                reason,
            })?;
            taken += 1;
        }
        output.read_to(slot, partition, batch.get(batch.len() - 1).offset + 1);
        if taken >= COMMIT_RECORDS || opened.elapsed() >= COMMIT_INTERVAL {
            counts.close_passed(&mut closed);
            output.commit(&mut closed)?;
            (opened, taken) = (Instant::now(), 0);
        }
        Ok(())
    })?;
    counts.close_all(&mut closed);
    output.commit(&mut closed)?;
    output.finish()?;
    Ok(counts.counts())
}

/// What a topic held when it was opened, to be read once.
struct Input {
    source: Box<dyn Source>,
    partitions: Vec<TopicPartition>,
    /// Where each partition ended then.
    ends: Vec<i64>,
    finished: Vec<bool>,
}

impl Input {
    fn open(log: &dyn Log, topic: &str) -> Result<Self, LogError> {
        let description = describe(log, topic)?;
        let partition = |number: usize| TopicPartition::new(topic, number as u32);
        let partitions: Vec<_> = (0..description.partitions.len()).map(partition).collect();
        let firsts = description.partitions.iter().map(|offsets| offsets.first);
        let assignment: Vec<_> = partitions.iter().cloned().zip(firsts).collect();
        let ends = description
            .partitions
            .iter()
            .map(|offsets| offsets.end)
            .collect();
        let finished = description
            .partitions
            .iter()
            .map(|offsets| offsets.first >= offsets.end)
            .collect();
        Ok(Input {
            source: log.source(&assignment, MEMORY)?,
            partitions,
            ends,
            finished,
        })
    }

    /// Hands every batch to `each` with the partition and the offset at which it ends.
    fn read(
        mut self,
        mut each: impl FnMut(usize, &TopicPartition, &dyn RecordBatch, i64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while self.finished.contains(&false) {
            let (slot, position) = match self.source.poll(PATIENCE)? {
                Fetched::Batch(batch) => {
                    let slot = batch.slot();
                    each(slot, &self.partitions[slot], &*batch, self.ends[slot])?;
                    (slot, batch.get(batch.len() - 1).offset + 1)
                }
                Fetched::CaughtUp { slot, position } => (slot, position),
                Fetched::Nothing => continue,
            };
            self.finished[slot] |= position >= self.ends[slot];
        }
        Ok(())
    }
}

fn describe(log: &dyn Log, topic: &str) -> Result<TopicDescription, LogError> {
    let missing = || LogError::NoTopic {
        topic: topic.to_owned(),
        location: log.location(),
    };
    log.topic(topic)?.ok_or_else(missing)
}

/// What is read of a row of the zones.
#[derive(Deserialize)]
struct Zone {
    zone: String,
    borough: String,
}

fn zone_names(log: &dyn Log, topic: &str) -> Result<BTreeMap<u32, Zone>, Error> {
    let mut zones = BTreeMap::new();
    Input::open(log, topic)?.read(|_, partition, batch, _| {
        for index in 0..batch.len() {
            let record = batch.get(index);
            let bad = |reason| Error::Value {
                partition: partition.clone(),
                offset: record.offset,
                reason,
            };
            if let Some(id) = record.key.and_then(|key| key.try_into().ok()) {
                let zone = json::decode(record.value.unwrap_or_default()).map_err(bad)?;
                zones.insert(u32::from_be_bytes(id), zone);
            }
        }
        Ok(())
    })?;
    Ok(zones)
}

/// The value of a record of counts.
#[derive(Serialize)]
struct ZoneRides<'a> {
    zone_id: u32,
    zone: Option<&'a str>,
    borough: Option<&'a str>,
    window_start: String,
    window_end: String,
    rides: u64,
}

/// Transactions that take turns: one commits while the next is filled.
struct Output<'a> {
    transactions: Box<dyn Transactions>,
    job: Job<'a>,
    zones: BTreeMap<u32, Zone>,
    partitions: u32,
    /// Where each partition of the input has been read to.
    offsets: BTreeMap<usize, (TopicPartition, i64)>,
    turn: usize,
    committing: Option<usize>,
    value: Vec<u8>,
}

impl<'a> Output<'a> {
    fn open(log: &dyn Log, job: &Job<'a>, zones: BTreeMap<u32, Zone>) -> Result<Self, Error> {
        Ok(Output {
            transactions: log.transactions("rides-per-zone-by-hand", &[job.output.to_owned()])?,
            partitions: describe(log, job.output)?.partitions.len() as u32,
            job: *job,
            zones,
            offsets: BTreeMap::new(),
            turn: 0,
            committing: None,
            value: Vec::new(),
        })
    }

    fn read_to(&mut self, slot: usize, partition: &TopicPartition, offset: i64) {
        let place = self
            .offsets
            .entry(slot)
            .or_insert_with(|| (partition.clone(), offset));
        place.1 = offset;
    }

    /// Writes the counts and the offsets, and sends the commit off.
    fn commit(&mut self, closed: &mut Vec<ZoneCount>) -> Result<(), TransactionError> {
        if self.transactions.turns() == 1 {
            self.confirm()?;
        }
        self.transactions.begin(self.turn)?;
        for count in closed.drain(..) {
            self.send(&count)?;
        }
        self.transactions.flush(self.turn)?;
        let offsets: Vec<_> = self.offsets.values().cloned().collect();
        self.transactions.send_offsets(self.turn, &offsets)?;
        self.confirm()?;
        self.transactions.commit(self.turn)?;
        self.committing = Some(self.turn);
        self.turn = (self.turn + 1) % self.transactions.turns();
        Ok(())
    }

    fn send(&mut self, count: &ZoneCount) -> Result<(), TransactionError> {
        let zone_id = count.zone.to_be_bytes();
        let mut key = [0; 12];
        key[..4].copy_from_slice(&zone_id);
        key[4..].copy_from_slice(&count.start.to_be_bytes());
        let zone = self.zones.get(&count.zone);
        let rides = ZoneRides {
            zone_id: count.zone,
            zone: zone.map(|zone| zone.zone.as_str()),
            borough: zone.map(|zone| zone.borough.as_str()),
            window_start: utc(count.start),
            window_end: utc(count.start + self.job.window),
            rides: count.rides,
        };
        self.value.clear();
        serde_json::to_writer(&mut self.value, &rides).expect("a count is plain data");
        let record = SinkRecord {
            topic: self.job.output,
            partition: partition_for(&zone_id, self.partitions),
            timestamp: count.latest,
            key: Some(&key),
            value: Some(&self.value),
            headers: &[],
        };
        self.transactions.send(self.turn, &record)
    }

    fn confirm(&mut self) -> Result<(), TransactionError> {
        self.committing
            .take()
            .map_or(Ok(()), |turn| self.transactions.confirm(turn))
    }

    fn finish(mut self) -> Result<(), TransactionError> {
        self.confirm()
    }
}

fn utc(millis: i64) -> String {
    let at = DateTime::from_timestamp_millis(millis)
        .expect("windows of rides lie in years of four digits");
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests;
