//! Records that go on as they were read: bad ones to the dead-letter topic, late ones to the topic for late ones.

use tiderace_operators::batch::Mark;
use tiderace_operators::dataflow::{Epoch, Ports};
use tiderace_operators::record::{Position, Record};
use tiderace_operators::stage::Stage;

use super::epochs::Epochs;
use super::retained::Retained;
use crate::connect::{Header, RawRecord, RecordBatch, SinkRecord, TopicPartition, partition_for};
use crate::topology::{Collect, SinkRun};

/// Prefix of the headers that say what was wrong, as Kafka Streams (since 4.2) names them.
const PREFIX: &str = "__streams.errors.";

/// A record that becomes a dead letter: the one at `index` of `batch`.
pub(crate) struct Letter<'a> {
    pub(crate) batch: &'a dyn RecordBatch,
    pub(crate) index: usize,
    pub(crate) position: Position,
    pub(crate) partition: &'a TopicPartition,
}

/// The dead letters of one source on one worker.
pub(crate) struct DeadLetters {
    to: Option<(Collect, u32)>,
    run: SinkRun,
}

impl DeadLetters {
    /// Dead letters that `collect` takes, to a topic of so many partitions; `None` if the policy is another.
    pub(crate) fn new(to: Option<(Collect, u32)>) -> Self {
        DeadLetters {
            to,
            run: SinkRun::default(),
        }
    }

    /// Adds a record: its bytes and headers, and what is wrong with it, by kind and in words.
    pub(crate) fn add(&mut self, letter: &Letter<'_>, exception: &str, reason: &str) {
        let Letter {
            batch,
            index,
            position,
            partition,
        } = *letter;
        let Some((_, partitions)) = &self.to else {
            return;
        };
        let raw = batch.get(index);
        let mut headers = batch.headers(index);
        let mut add = |name: &str, value: String| {
            headers.push(Header {
                name: format!("{PREFIX}{name}"),
                value: Some(value.into_bytes()),
            });
        };
        add("exception", exception.to_owned());
        add("stacktrace", String::new());
        add("message", reason.to_owned());
        add("topic", partition.topic.to_string());
        add("partition", partition.partition.to_string());
        add("offset", raw.offset.to_string());
        push(&mut self.run, position, &raw, headers, *partitions);
    }

    /// Hands the dead letters of an epoch over.
    pub(crate) fn close(&mut self, epoch: Epoch) {
        if let Some((collect, _)) = &mut self.to
            && !self.run.is_empty()
        {
            let mut run = std::mem::take(&mut self.run);
            run.sort();
            collect.take(epoch, Ok(run));
        }
    }
}

fn push(
    run: &mut SinkRun,
    position: Position,
    raw: &RawRecord<'_>,
    headers: Vec<Header>,
    partitions: u32,
) {
    let partition = match raw.key {
        Some(key) => partition_for(key, partitions),
        None => position.partition() % partitions,
    };
    let RawRecord {
        timestamp,
        key,
        value,
        ..
    } = *raw;
    run.push_raw(
        position,
        &SinkRecord {
            topic: "",
            partition,
            timestamp,
            key,
            value,
            headers: &headers,
        },
    );
}

/// Looks late records up where they were read and sends them on.
pub(crate) struct LateStage {
    pub(crate) retained: Retained,
    /// Its number among the readers of `retained`.
    pub(crate) reader: usize,
    pub(crate) epochs: Epochs,
    pub(crate) collect: Collect,
    pub(crate) partitions: u32,
    pub(crate) late: Vec<Position>,
}

impl Stage<(), ()> for LateStage {
    fn record(&mut self, record: Record<(), ()>) {
        self.late.push(record.header.position);
    }

    fn mark(&mut self, _: Mark, _: &mut Ports) {}

    fn close(&mut self, epoch: Epoch, _: &mut Ports) {
        let mut run = SinkRun::default();
        for position in std::mem::take(&mut self.late) {
            let (source, partition) = (position.source(), position.partition());
            let offset = self
                .epochs
                .locate_in(epoch, source, partition, position.offset());
            let found =
                offset.and_then(|(_, offset)| self.retained.find(epoch, source, partition, offset));
            let Some((batch, index)) = found else {
                return self.collect.take(
                    epoch,
                    Err(format!("a late record at {position:?} is no longer held")),
                );
            };
            push(
                &mut run,
                position,
                &batch.get(index),
                batch.headers(index),
                self.partitions,
            );
        }
        if !run.is_empty() {
            run.sort();
            self.collect.take(epoch, Ok(run));
        }
        self.retained.done(self.reader, epoch);
    }
}
