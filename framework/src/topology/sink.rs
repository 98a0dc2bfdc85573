//! Writing: from typed records to the bytes of a topic's records, in canonical order, an epoch at a time.

use std::cmp::Ordering;
use std::ops::Range;

use tiderace_operators::batch::Mark;
use tiderace_operators::current;
use tiderace_operators::dataflow::{Epoch, Ports};
use tiderace_operators::key::{self, Data, Key};
use tiderace_operators::record::{Position, Record};
use tiderace_operators::stage::Stage;
use tiderace_operators::tally::{Tally, Verdict};

use crate::connect::{Header, SinkRecord, Topic, partition_for};

/// Records of one sink, one worker and one epoch, encoded.
#[derive(Debug, Default)]
pub(crate) struct SinkRun {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    position: Position,
    partition: u32,
    timestamp: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    order: Order,
    headers: Vec<Header>,
}

/// What decides among equal positions.
#[derive(Debug)]
enum Order {
    /// The key's bytes.
    Key,
    /// The window's start, the last 8 bytes of the key, then the rest of them.
    Window,
    /// Bytes of their own: the key before a step changed it.
    Bytes(Vec<u8>),
}

impl SinkRun {
    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many records it holds.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory that it holds, for the budget.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    /// The record at `index`, to be written to `topic`.
    pub(crate) fn get<'a>(&'a self, index: usize, topic: &'a str) -> SinkRecord<'a> {
        let entry = &self.entries[index];
        SinkRecord {
            topic,
            partition: entry.partition,
            timestamp: entry.timestamp,
            key: self.slice(&entry.key),
            value: self.slice(&entry.value),
            headers: &entry.headers,
        }
    }

    /// Appends a record that is written as it was read: a dead letter or a late one.
    pub(crate) fn push_raw(&mut self, position: Position, record: &SinkRecord<'_>) {
        let key = record.key.map(|key| self.append(key));
        let value = record.value.map(|value| self.append(value));
        self.entries.push(Entry {
            position,
            partition: record.partition,
            timestamp: record.timestamp,
            key,
            value,
            order: Order::Key,
            headers: record.headers.to_vec(),
        });
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn slice(&self, range: &Option<Range<usize>>) -> Option<&[u8]> {
        range.clone().map(|range| &self.bytes[range])
    }

    /// Puts the records into canonical order: by position, then by what decides among equals, then as they came.
    pub(crate) fn sort(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_by(|one, other| self.compare_entries(one, self, other));
        self.entries = entries;
    }

    fn compare_entries(&self, one: &Entry, run: &SinkRun, other: &Entry) -> Ordering {
        one.position
            .cmp(&other.position)
            .then_with(|| self.order_of(one).cmp(&run.order_of(other)))
    }

    /// Compares record `one` of this run with record `other` of `run` in canonical order.
    pub(crate) fn compare(&self, one: usize, run: &SinkRun, other: usize) -> Ordering {
        self.compare_entries(&self.entries[one], run, &run.entries[other])
    }

    fn order_of<'a>(&'a self, entry: &'a Entry) -> (i64, &'a [u8]) {
        let key = self.slice(&entry.key).unwrap_or_default();
        match &entry.order {
            Order::Key => (0, key),
            Order::Window => window_order(key),
            Order::Bytes(bytes) => window_order(bytes),
        }
    }
}

/// Start and inner key of a windowed key's bytes.
fn window_order(key: &[u8]) -> (i64, &[u8]) {
    match key.split_last_chunk::<8>() {
        Some((inner, start)) => (i64::from_be_bytes(*start), inner),
        None => (0, key),
    }
}

/// Writes one kind of record as a topic's.
pub(crate) struct Encoder<K, V> {
    pub(crate) topic: Topic<K, V>,
    pub(crate) partitions: u32,
    /// Whether the log takes timestamps at or before the epoch.
    pub(crate) any_timestamp: bool,
}

impl<K: Key, V: Data> Encoder<K, V> {
    fn encode(&self, record: Record<K, V>, run: &mut SinkRun) -> Result<(), String> {
        let Record {
            header,
            extra,
            key,
            value,
        } = record;
        let mut order = Order::Key;
        let mut partition = header.position.partition() % self.partitions;
        let start = run.bytes.len();
        let key = match key {
            None => None,
            Some(key) => {
                let layout = key::encode(&key, &mut run.bytes).map_err(|e| e.to_string())?;
                if layout.windowed {
                    order = Order::Window;
                }
                if !layout.null {
                    partition =
                        partition_for(&run.bytes[start..start + layout.inner], self.partitions);
                }
                (!layout.null).then_some(start..run.bytes.len())
            }
        };
        if let Some(extra) = extra
            && !extra.order.is_empty()
        {
            order = Order::Bytes(extra.order);
        }
        let start = run.bytes.len();
        (self.topic.encode)(&value, &mut run.bytes)?;
        let value = Some(start..run.bytes.len());
        let timestamp = header.timestamp.as_millis();
        if timestamp <= 0 && !self.any_timestamp {
            return Err(format!(
                "its timestamp {} is not after 1970-01-01, and Kafka would re-date it: map it to a later time",
                header.timestamp
            ));
        }
        let position = header.position;
        run.entries.push(Entry {
            position,
            partition,
            timestamp,
            key,
            value,
            order,
            headers: Vec::new(),
        });
        Ok(())
    }
}

/// Takes the runs of a sink over, an epoch at a time.
pub(crate) trait Collector {
    /// Says how many bytes the run of the open epoch holds by now, for the budget.
    fn grew(&mut self, memory: usize);
    /// Takes an epoch's run over; an error stops the engine.
    fn take(&mut self, epoch: Epoch, outcome: Result<SinkRun, String>);
}

/// A sink's way to the committer.
pub(crate) type Collect = Box<dyn Collector>;

/// Bytes by which a run grows before it is said.
const GROWTH: usize = 64 << 10;

pub(crate) struct SinkStage<K, V> {
    pub(crate) node: u32,
    pub(crate) encoder: Encoder<K, V>,
    pub(crate) collect: Collect,
    pub(crate) tally: Tally,
    pub(crate) run: SinkRun,
    /// Bytes of the run that were told of.
    pub(crate) told: usize,
    pub(crate) failure: Option<String>,
}

impl<K: Key, V: Data> Stage<K, V> for SinkStage<K, V> {
    fn record(&mut self, record: Record<K, V>) {
        let position = record.header.position;
        current::enter(self.node);
        current::at(position);
        self.tally.verdict(position, Verdict::Processed);
        if self.failure.is_none()
            && let Err(reason) = self.encoder.encode(record, &mut self.run)
        {
            self.failure = Some(reason);
        }
        let memory = self.run.memory();
        if memory >= self.told + GROWTH {
            self.told = memory;
            self.collect.grew(memory);
        }
    }

    fn mark(&mut self, _: Mark, _: &mut Ports) {}

    fn close(&mut self, epoch: Epoch, _: &mut Ports) {
        self.tally.close(epoch);
        let mut run = std::mem::take(&mut self.run);
        self.told = 0;
        match self.failure.take() {
            Some(reason) => self.collect.take(epoch, Err(reason)),
            None if run.is_empty() => {}
            None => {
                run.sort();
                self.collect.take(epoch, Ok(run));
            }
        }
    }
}
