//! Who reads the counts from outside, whoever writes them: committed ones only.

use std::time::Duration;

use tiderace::connect::{Fetched, RecordBatch, Source, TopicPartition};

use super::place::{PARTITIONS, Place};
use crate::Failure;

/// Follows a topic of counts.
pub(super) struct Follow {
    source: Box<dyn Source>,
    /// Whether a count may come again, or a lower one, as after a crash at least once.
    repeats: bool,
    /// The last count of each key.
    counts: Vec<u64>,
    counted: u64,
}

impl Follow {
    /// From the beginning of the topic.
    pub(super) fn open(
        place: &Place,
        topic: &str,
        keys: u64,
        exactly_once: bool,
    ) -> Result<Self, Failure> {
        let partitions: Vec<_> = (0..PARTITIONS)
            .map(|partition| (TopicPartition::new(topic, partition), 0))
            .collect();
        Ok(Follow {
            source: place.open()?.source(&partitions, 8 << 20)?,
            repeats: !exactly_once,
            counts: vec![0; usize::try_from(keys)?],
            counted: 0,
        })
    }

    /// Events that are counted in what has been read: the sum of the last counts of all keys.
    pub(super) fn counted(&self) -> u64 {
        self.counted
    }

    /// Reads what has been committed since the last call, waiting so long for more, and says how many counts that were.
    ///
    /// # Errors
    /// The log fails, or a count is wrong.
    pub(super) fn take(&mut self, wait: Duration) -> Result<u64, Failure> {
        let mut taken = 0;
        loop {
            match self.source.poll(wait)? {
                Fetched::Nothing => return Ok(taken),
                Fetched::CaughtUp { .. } => {}
                Fetched::Batch(batch) => taken += self.take_batch(&*batch)?,
            }
        }
    }

    fn take_batch(&mut self, batch: &dyn RecordBatch) -> Result<u64, Failure> {
        for index in 0..batch.len() {
            let record = batch.get(index);
            let number = |bytes: Option<&[u8]>| -> Option<u64> {
                Some(u64::from_be_bytes(bytes?.try_into().ok()?))
            };
            let (key, count) = number(record.key)
                .zip(number(record.value))
                .ok_or("a count that is none")?;
            let last = self.counts.get_mut(usize::try_from(key)?);
            let last = last.ok_or("a key that was never sent")?;
            if count <= *last && !self.repeats {
                return Err(format!("key {key} is counted {count} behind {last}").into());
            }
            self.counted = self.counted - *last + count;
            *last = count;
        }
        Ok(batch.len() as u64)
    }

    /// Whether every key has been counted as often as it was sent, at least.
    pub(super) fn has_all(&self, sent: &[u32]) -> bool {
        let mut keys = self.counts.iter().zip(sent);
        keys.all(|(count, sent)| *count >= u64::from(*sent))
    }

    /// Compares the last counts with how often each key was sent.
    ///
    /// # Errors
    /// One is another; of counts at least once, one is lower.
    pub(super) fn verify(&self, sent: &[u32]) -> Result<(), Failure> {
        for (key, (count, sent)) in self.counts.iter().zip(sent).enumerate() {
            let sent = u64::from(*sent);
            if *count < sent || (*count > sent && !self.repeats) {
                return Err(
                    format!("key {key} was sent {sent} times and counted {count} times").into(),
                );
            }
        }
        Ok(())
    }
}
