//! The partitions that a source is to read: whether they are there, and as the client takes them.

use rdkafka::{Offset, TopicPartitionList};

use crate::connect::TopicPartition;
use crate::connect::kafka::log::Cluster;
use crate::error::LogError;

/// Partitions with the offsets from which they are read, as the client takes them.
pub(super) fn list_of(
    assignment: &[(TopicPartition, i64)],
) -> Result<TopicPartitionList, LogError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in assignment {
        let number = partition.partition as i32;
        let added = list.add_partition_offset(&partition.topic, number, Offset::Offset(*offset));
        added.map_err(|_| LogError::Refused(format!("{partition}: {offset} is not an offset")))?;
    }
    Ok(list)
}

/// Whether the topic exists and has every partition assigned of it.
pub(super) fn require_partitions(
    cluster: &Cluster,
    assignment: &[(TopicPartition, i64)],
    topic: &str,
) -> Result<(), LogError> {
    let count = cluster.require(topic)?;
    let mut wanted = assignment
        .iter()
        .map(|(partition, _)| partition)
        .filter(|partition| *partition.topic == *topic);
    match wanted.find(|partition| partition.partition >= count) {
        Some(partition) => Err(LogError::Refused(format!(
            "{partition} does not exist, the topic has {count}"
        ))),
        None => Ok(()),
    }
}
