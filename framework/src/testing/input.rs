//! What the driver's topics are and how records get into them.

use tiderace_operators::key::{self, Data, Key};
use tiderace_operators::record::EventTime;

use super::{RawRecord, TestRecord};
use crate::config::Config;
use crate::connect::{Topic, TopicPartition, partition_for};
use crate::runtime::driving::{Slot, Status};
use crate::topology::{SourceTopic, Topology};

/// The partitions of every topic that is read.
pub(super) fn slots(topology: &Topology, partitions: u32, config: &Config) -> Vec<Slot> {
    let slot = |(source, of): (usize, SourceTopic)| {
        (0..partitions).map(move |partition| Slot {
            source,
            partition: TopicPartition::new(of.topic.as_str(), partition),
            after: 0,
            table: of.table,
            start: 0,
            largest: EventTime::MIN,
            status: Status::Active,
            table_end: 0,
            end: None,
            windows: of.windows.clone(),
            idle_timeout: of.idle_timeout.unwrap_or(config.idle_timeout),
        })
    };
    topology
        .sources()
        .into_iter()
        .enumerate()
        .flat_map(slot)
        .collect()
}

/// A typed record as the bytes of its topic; it goes where its key belongs unless it says otherwise.
pub(super) fn encode<K: Key, V: Data>(
    topic: Topic<K, V>,
    record: TestRecord<K, V>,
    partitions: u32,
) -> RawRecord {
    let mut partition = 0;
    let key = record.key.and_then(|key| {
        let mut bytes = Vec::new();
        let layout = key::encode(&key, &mut bytes).expect("the key has bytes");
        partition = partition_for(&bytes[..layout.inner], partitions);
        (!layout.null).then_some(bytes)
    });
    let mut value = Vec::new();
    (topic.encode)(&record.value, &mut value).expect("the value has bytes");
    RawRecord {
        topic: topic.name().to_owned(),
        partition: record.partition.unwrap_or(partition),
        key,
        value: Some(value),
        timestamp: record.timestamp.as_millis(),
        headers: Vec::new(),
    }
}
