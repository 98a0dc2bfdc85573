//! Reads partitions in memory, in turns, as many records a poll as it was told.

#![expect(
    clippy::disallowed_methods,
    reason = "records of a partition that grows are there by the clock"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tiderace::connect::{Fetched, Source};
use tiderace::error::LogError;

use super::records::Partition;

pub(super) struct MemorySource {
    pub(super) slots: Vec<Slot>,
    /// The slot whose turn it is.
    turn: usize,
}

/// A partition that is read.
pub(super) struct Slot {
    pub(super) partition: Arc<dyn Partition>,
    /// The offset that is read next.
    pub(super) next: usize,
    /// Records that a poll brings at most.
    pub(super) poll: usize,
    paused: bool,
    /// Whether it has been said that the end is reached.
    told: bool,
}

impl Slot {
    pub(super) fn new(partition: Arc<dyn Partition>, next: usize, poll: usize) -> Self {
        Slot {
            partition,
            next,
            poll,
            paused: false,
            told: false,
        }
    }

    fn fetch(&mut self, slot: usize) -> Option<Fetched> {
        let from = self.next;
        let until = self.partition.count().min(from + self.poll);
        if from < until {
            (self.next, self.told) = (until, false);
            return Some(Fetched::Batch(self.partition.batch(slot, from..until)));
        }
        let position = from as i64;
        let is_new = !std::mem::replace(&mut self.told, true);
        is_new.then_some(Fetched::CaughtUp { slot, position })
    }
}

impl MemorySource {
    pub(super) fn new(slots: Vec<Slot>) -> Self {
        MemorySource { slots, turn: 0 }
    }

    /// Gives each partition that is not paused a turn, until one has something to say.
    fn take_turns(&mut self) -> Option<Fetched> {
        for _ in 0..self.slots.len() {
            let index = self.turn;
            self.turn = (index + 1) % self.slots.len();
            let slot = &mut self.slots[index];
            if let Some(fetched) = (!slot.paused).then(|| slot.fetch(index)).flatten() {
                return Some(fetched);
            }
        }
        None
    }

    fn slot(&mut self, slot: usize) -> Result<&mut Slot, LogError> {
        let missing = || LogError::Refused(format!("the source has no slot {slot}"));
        self.slots.get_mut(slot).ok_or_else(missing)
    }
}

impl Source for MemorySource {
    fn poll(&mut self, timeout: Duration) -> Result<Fetched, LogError> {
        let mut until = None;
        loop {
            if let Some(fetched) = self.take_turns() {
                return Ok(fetched);
            }
            let now = Instant::now();
            let until = *until.get_or_insert(now + timeout);
            if now >= until {
                return Ok(Fetched::Nothing);
            }
            let grow = self.slots.iter().filter(|slot| !slot.paused);
            let more = grow.filter_map(|slot| slot.partition.more_at()).min();
            std::thread::sleep(
                more.unwrap_or(until)
                    .min(until)
                    .saturating_duration_since(now),
            );
        }
    }

    fn pause(&mut self, slot: usize) -> Result<(), LogError> {
        self.slot(slot)?.paused = true;
        Ok(())
    }

    fn resume(&mut self, slot: usize) -> Result<(), LogError> {
        self.slot(slot)?.paused = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::memory::records::{Pair, partition};

    #[test]
    fn partitions_take_turns_and_each_says_once_that_it_is_at_its_end() {
        let pairs = |count: u64| {
            let pairs: Vec<Pair> = (0..count).map(|it| Pair::new(it, 0)).collect();
            partition(&Arc::new(pairs))
        };
        let slots = vec![Slot::new(pairs(3), 0, 2), Slot::new(pairs(2), 1, 2)];
        let mut source = MemorySource::new(slots);
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(match source.poll(Duration::ZERO).unwrap() {
                Fetched::Batch(batch) => (batch.slot(), batch.get(0).offset, batch.len()),
                Fetched::CaughtUp { slot, position } => (slot, position, 0),
                Fetched::Nothing => (usize::MAX, 0, 0),
            });
        }
        let nothing = (usize::MAX, 0, 0);
        assert_eq!(
            seen,
            [
                (0, 0, 2),
                (1, 1, 1),
                (0, 2, 1),
                (1, 2, 0),
                (0, 3, 0),
                nothing
            ]
        );
    }

    #[test]
    fn a_paused_partition_goes_on_where_it_was() {
        let pairs = Arc::new(vec![Pair::new(1, 0), Pair::new(2, 0)]);
        let mut source = MemorySource::new(vec![Slot::new(partition(&pairs), 0, 1)]);
        let mut offset = || match source.poll(Duration::ZERO).unwrap() {
            Fetched::Batch(batch) => Some(batch.get(0).offset),
            _ => None,
        };
        assert_eq!(offset(), Some(0));
        source.pause(0).unwrap();
        assert!(matches!(source.poll(Duration::ZERO), Ok(Fetched::Nothing)));
        source.resume(0).unwrap();
        assert!(matches!(source.poll(Duration::ZERO), Ok(Fetched::Batch(_))));
        assert!(source.pause(1).is_err());
    }
}
