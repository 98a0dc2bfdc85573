//! One partition of a source: where it stands and what it holds while it is paused.

use std::collections::VecDeque;

use rdkafka::TopicPartitionList;

use crate::connect::kafka::ffi::{Batch, RecordHandle};
use crate::connect::{RecordBatch, TopicPartition};

/// A partition that is read.
pub(super) struct Slot {
    pub(super) partition: TopicPartition,
    /// The offset behind the last record fetched, or of an end behind that: nothing lies between.
    pub(super) position: i64,
    /// The end last reported.
    pub(super) caught_up: i64,
    pub(super) paused: bool,
    /// Whether the client has stopped fetching it.
    pub(super) stopped: bool,
    pub(super) held: VecDeque<Arrival>,
    pub(super) held_bytes: usize,
    /// What the fetch under way has brought.
    pub(super) records: Vec<RecordHandle>,
    pub(super) end: Option<i64>,
}

/// What a slot has to deliver.
pub(super) enum Arrival {
    Batch(Batch),
    CaughtUp(i64),
}

impl Slot {
    pub(super) fn new(partition: &TopicPartition, offset: i64) -> Slot {
        Slot {
            partition: partition.clone(),
            position: offset,
            caught_up: -1,
            paused: false,
            stopped: false,
            held: VecDeque::new(),
            held_bytes: 0,
            records: Vec::new(),
            end: None,
        }
    }

    pub(super) fn list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.partition.topic, self.partition.partition as i32);
        list
    }
}

impl Arrival {
    pub(super) fn memory(&self) -> usize {
        match self {
            Arrival::Batch(batch) => batch.memory(),
            Arrival::CaughtUp(_) => 0,
        }
    }
}
