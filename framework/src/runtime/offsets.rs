//! Input offsets on their way to Kafka's tools: they show an application's lag and decide nothing.

use std::time::{Duration, Instant};

use crate::connect::TopicPartition;

/// At most this often they are added to a transaction.
pub(crate) const OFFSETS_EVERY: Duration = Duration::from_millis(100);

/// Offsets of committed epochs that no transaction has taken along yet.
pub(crate) struct DueOffsets {
    every: Duration,
    taken: Option<Instant>,
    due: Vec<(TopicPartition, i64)>,
}

impl DueOffsets {
    /// None yet; they are due this long after some were taken.
    pub(crate) fn every(every: Duration) -> Self {
        DueOffsets {
            every,
            taken: None,
            due: Vec::new(),
        }
    }

    /// Adds an epoch's offsets, next to be read; a partition's later offset replaces the earlier.
    pub(crate) fn add(&mut self, offsets: Vec<(TopicPartition, i64)>) {
        for (partition, offset) in offsets {
            self.due.retain(|(of, _)| *of != partition);
            self.due.push((partition, offset));
        }
    }

    /// Takes them for a transaction, if it is time or `now`.
    pub(crate) fn take(&mut self, now: bool) -> Vec<(TopicPartition, i64)> {
        let quiet = self.taken.is_none_or(|at| at.elapsed() >= self.every);
        if self.due.is_empty() || !(now || quiet) {
            return Vec::new();
        }
        self.taken = Some(crate::clock::instant());
        std::mem::take(&mut self.due)
    }
}
