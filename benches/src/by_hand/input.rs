//! The topic that a loop reads, from its beginning to where it ended when it was opened.

use std::time::Duration;

use tiderace::connect::{Fetched, Log, RecordBatch, Source, TopicDescription, TopicPartition};
use tiderace::error::LogError;

use super::Error;

/// Bytes that the client may buffer: as many as the engine's client and queues have together.
const MEMORY: usize = 16 << 20;
const PATIENCE: Duration = Duration::from_millis(100);

/// What a topic held when it was opened, to be read once.
pub(super) struct Input {
    source: Box<dyn Source>,
    pub(super) partitions: Vec<TopicPartition>,
    /// Where each partition ended then.
    ends: Vec<i64>,
    finished: Vec<bool>,
}

impl Input {
    pub(super) fn open(log: &dyn Log, topic: &str) -> Result<Self, LogError> {
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
    pub(super) fn read(
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

pub(super) fn describe(log: &dyn Log, topic: &str) -> Result<TopicDescription, LogError> {
    let missing = || LogError::NoTopic {
        topic: topic.to_owned(),
        location: log.location(),
    };
    log.topic(topic)?.ok_or_else(missing)
}
