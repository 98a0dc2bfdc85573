//! Input offsets on their way to Kafka's tools: they show an application's lag and decide nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::connect::TopicPartition;

/// At most this often they are added to a transaction.
pub(crate) const OFFSETS_EVERY: Duration = Duration::from_millis(100);

/// Offsets of committed epochs that no transaction has taken along yet.
pub(crate) struct DueOffsets {
    every: Duration,
    /// When some were handed out last.
    handed_out: Option<Instant>,
    due: BTreeMap<TopicPartition, i64>,
}

impl DueOffsets {
    /// None yet; they are due this long after some were handed out.
    pub(crate) fn every(every: Duration) -> Self {
        DueOffsets {
            every,
            handed_out: None,
            due: BTreeMap::new(),
        }
    }

    /// Adds the offsets, next to be read, of an epoch that is committed; a partition's later offset replaces the earlier.
    pub(crate) fn add(&mut self, offsets: Vec<(TopicPartition, i64)>) {
        self.due.extend(offsets);
    }

    /// What a transaction is to take along if it is time or `now`: what is due, and what it commits itself, in the order
    /// of its epochs.
    pub(crate) fn due<'a>(
        &mut self,
        now: bool,
        with_it: impl Iterator<Item = &'a (TopicPartition, i64)>,
    ) -> Vec<(TopicPartition, i64)> {
        let quiet = self.handed_out.is_none_or(|at| at.elapsed() >= self.every);
        if !(now || quiet) {
            return Vec::new();
        }
        let mut offsets = self.due.clone();
        offsets.extend(with_it.cloned());
        if !offsets.is_empty() {
            self.handed_out = Some(crate::clock::instant());
        }
        offsets.into_iter().collect()
    }

    /// Notes that a transaction that took these along is committed, and its epochs' own are added.
    pub(crate) fn taken_along(&mut self, offsets: &[(TopicPartition, i64)]) {
        for (partition, offset) in offsets {
            if self.due.get(partition) == Some(offset) {
                self.due.remove(partition);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: u32, offset: i64) -> (TopicPartition, i64) {
        (TopicPartition::new("in", partition), offset)
    }

    #[test]
    fn a_transaction_takes_along_what_is_due_and_what_it_commits_itself() {
        let mut offsets = DueOffsets::every(Duration::ZERO);
        offsets.add(vec![at(0, 10), at(1, 5)]);
        let taken = offsets.due(false, [at(0, 20), at(0, 30)].iter());
        assert_eq!(taken, [at(0, 30), at(1, 5)]);
        // It was in doubt, and is not there: nothing of its own is due, all else still is.
        assert_eq!(
            offsets.due(false, std::iter::empty()),
            [at(0, 10), at(1, 5)]
        );
        offsets.add(vec![at(0, 30), at(2, 7)]);
        offsets.taken_along(&taken);
        assert_eq!(offsets.due(false, std::iter::empty()), [at(2, 7)]);
        // A later one than was taken along stays.
        offsets.add(vec![at(2, 8)]);
        offsets.taken_along(&[at(2, 7)]);
        assert_eq!(offsets.due(false, std::iter::empty()), [at(2, 8)]);
    }

    #[test]
    fn offsets_wait_until_it_is_time_or_the_run_ends() {
        let mut offsets = DueOffsets::every(Duration::from_secs(3600));
        assert_eq!(offsets.due(false, std::iter::empty()), []);
        assert_eq!(offsets.due(false, [at(0, 1)].iter()), [at(0, 1)]);
        offsets.add(vec![at(0, 1)]);
        assert_eq!(offsets.due(false, std::iter::empty()), []);
        assert_eq!(offsets.due(true, std::iter::empty()), [at(0, 1)]);
    }
}
