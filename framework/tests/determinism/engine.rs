//! A case on the engine itself, over an embedded log of its own.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Fetched, Log, NewTopic, SinkRecord, TopicPartition};
use tiderace::testing::RawRecord;
use tiderace::{Config, Engine};

use crate::driver::{Case, topology};

/// Runs a case on the engine over an embedded log of its own; returns the output and the late topic.
pub(crate) fn run(case: &Case, workers: usize, epoch: u64) -> (Vec<RawRecord>, Vec<RawRecord>) {
    let dir = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(dir.path()).unwrap());
    let partitions = u32::try_from(case.partitions.len()).unwrap();
    for topic in ["visits", "counts", "late"] {
        let name = topic.to_owned();
        log.create_topic(&NewTopic {
            name,
            partitions,
            config: BTreeMap::new(),
        })
        .unwrap();
    }
    let mut writer = log.writer("visits").unwrap();
    for (partition, visits) in case.partitions.iter().enumerate() {
        for visit in visits {
            let value = serde_json::to_vec(visit).unwrap();
            let record = SinkRecord {
                topic: "visits",
                partition: u32::try_from(partition).unwrap(),
                timestamp: 0,
                key: Some(&visit.page.to_be_bytes()),
                value: Some(&value),
                headers: &[],
            };
            writer.send(&record).unwrap();
        }
    }
    writer.flush().unwrap();
    drop(writer);
    let config = Config {
        workers,
        epoch_records: epoch,
        commit_interval: Duration::from_millis(5),
        data_dir: dir.path().into(),
        ..Config::default()
    };
    let report = Engine::start(topology(case.windows), Arc::clone(&log), &config)
        .unwrap()
        .join()
        .unwrap();
    assert!(report.counts.conserved());
    (read(&*log, "counts"), read(&*log, "late"))
}

fn read(log: &dyn Log, topic: &str) -> Vec<RawRecord> {
    let ends = log.topic(topic).unwrap().unwrap().partitions;
    let assignment: Vec<_> = (0..ends.len())
        .map(|of| (TopicPartition::new(topic, of as u32), 0))
        .collect();
    let mut source = log.source(&assignment, 1 << 20).unwrap();
    let mut records: Vec<Vec<RawRecord>> = vec![Vec::new(); ends.len()];
    let full = |records: &[Vec<RawRecord>]| {
        let full = records
            .iter()
            .zip(&ends)
            .all(|(of, end)| of.len() as i64 == end.end);
        if full {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    while full(&records).is_continue() {
        let Fetched::Batch(batch) = source.poll(Duration::from_secs(1)).unwrap() else {
            continue;
        };
        for index in 0..batch.len() {
            let raw = batch.get(index);
            records[batch.slot()].push(RawRecord {
                topic: topic.to_owned(),
                partition: batch.slot() as u32,
                key: raw.key.map(<[u8]>::to_vec),
                value: raw.value.map(<[u8]>::to_vec),
                timestamp: raw.timestamp,
                headers: batch.headers(index),
            });
        }
    }
    records.into_iter().flatten().collect()
}

/// The records of each partition, in their order.
pub(crate) fn in_partitions(records: &[RawRecord]) -> BTreeMap<u32, Vec<RawRecord>> {
    let mut partitions: BTreeMap<u32, Vec<RawRecord>> = BTreeMap::new();
    for record in records {
        partitions
            .entry(record.partition)
            .or_default()
            .push(record.clone());
    }
    partitions
}
