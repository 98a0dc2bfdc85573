//! What the tests of the embedded log share: owned records, and reading to the end.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Fetched, Header, Log, NewTopic, SinkRecord, Source, TopicPartition};
use tiderace::error::LogError;

/// A record with everything owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
}

pub(crate) fn new_topic(name: &str, partitions: u32) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions,
        config: BTreeMap::new(),
    }
}

/// A log in a new directory, with these topics of so many partitions.
pub(crate) fn log_with(topics: &[(&str, u32)]) -> (tempfile::TempDir, EmbeddedLog) {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(directory.path()).unwrap();
    for (name, partitions) in topics {
        log.create_topic(&new_topic(name, *partitions)).unwrap();
    }
    (directory, log)
}

/// A record with a value and nothing else.
pub(crate) fn valued<'a>(topic: &'a str, partition: u32, value: &'a [u8]) -> SinkRecord<'a> {
    SinkRecord {
        topic,
        partition,
        timestamp: 0,
        key: None,
        value: Some(value),
        headers: &[],
    }
}

/// Everything from `offset` on, up to the first time that the end is reached.
pub(crate) fn read_from(
    log: &dyn Log,
    topic: &str,
    partition: u32,
    offset: i64,
) -> Result<Vec<Owned>, LogError> {
    let mut source = log.source(&[(TopicPartition::new(topic, partition), offset)], 1 << 20)?;
    let mut records = Vec::new();
    while let Some((_, some)) = next(source.as_mut())? {
        records.extend(some);
    }
    Ok(records)
}

pub(crate) fn read_all(log: &dyn Log, topic: &str, partition: u32) -> Result<Vec<Owned>, LogError> {
    read_from(log, topic, partition, 0)
}

/// The values of a partition, which must be readable.
pub(crate) fn values(log: &dyn Log, topic: &str, partition: u32) -> Vec<Vec<u8>> {
    read_all(log, topic, partition)
        .unwrap()
        .into_iter()
        .map(|record| record.value.unwrap())
        .collect()
}

/// The next batch with its slot, `None` when an end has been reached.
pub(crate) fn next(source: &mut dyn Source) -> Result<Option<(usize, Vec<Owned>)>, LogError> {
    match source.poll(Duration::from_secs(20))? {
        Fetched::CaughtUp { .. } => Ok(None),
        Fetched::Nothing => panic!("neither a record nor the end came"),
        Fetched::Batch(batch) => {
            let owned = |index| {
                let record = batch.get(index);
                Owned {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: batch.headers(index),
                }
            };
            assert!(!batch.is_empty());
            Ok(Some((batch.slot(), (0..batch.len()).map(owned).collect())))
        }
    }
}

/// Runs a test function of this program in a process of its own, with `variable` set to `value`.
pub(crate) fn child(test: &str, variable: &str, value: &std::path::Path) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(variable, value);
    command
}
