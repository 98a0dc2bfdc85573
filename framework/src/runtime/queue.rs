//! Between a fetch thread and its worker: a bounded queue per partition, and a bound on all of them together.
//!
//! Near the bound of all, only a partition that the worker waits for is fetched: the one that is behind in stream
//! time, or a table's. Those that are ahead pause.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::in_flight::{InFlight, Part};
use crate::connect::{RecordBatch, TopicPartition};

/// The queues of one worker's partitions, by the index that its [`Source`](crate::connect::Source) knows them by.
#[derive(Clone)]
pub(crate) struct Queues(Arc<Inner>);

struct Inner {
    held: Mutex<Held>,
    /// Bytes that all queues together may hold, what is being read included.
    limit: usize,
    in_flight: InFlight,
}

struct Held {
    queues: Vec<Queue>,
    /// Partitions of the last of them that the fetch thread does not know of yet, and where they begin.
    added: Vec<(TopicPartition, i64)>,
    /// Of all queues, and of the batches that are being read.
    memory: usize,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<Arc<dyn RecordBatch>>,
    memory: usize,
    /// The high watermark that was reached behind the last batch.
    caught_up: Option<i64>,
    /// Whether the worker waits for this partition.
    wanted: bool,
}

impl Queues {
    /// Queues of `partitions` partitions that hold about `limit` bytes together, counted as fetched.
    pub(crate) fn new(partitions: usize, limit: usize, in_flight: InFlight) -> Self {
        let held = Held {
            queues: (0..partitions).map(|_| Queue::default()).collect(),
            added: Vec::new(),
            memory: 0,
        };
        Queues(Arc::new(Inner {
            held: Mutex::new(held),
            limit,
            in_flight,
        }))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.held().queues.len()
    }

    /// Has another partition fetched from `start` on, and returns its number.
    pub(crate) fn add(&self, partition: TopicPartition, start: i64) -> usize {
        let held = &mut *self.held();
        held.queues.push(Queue::default());
        held.added.push((partition, start));
        held.queues.len() - 1
    }

    /// Takes the partitions that were added, in the order of their numbers.
    pub(crate) fn take_added(&self) -> Vec<(TopicPartition, i64)> {
        std::mem::take(&mut self.held().added)
    }

    /// Appends a batch.
    pub(crate) fn push(&self, slot: usize, batch: Arc<dyn RecordBatch>) {
        let held = &mut *self.held();
        let queue = &mut held.queues[slot];
        let memory = batch.memory();
        queue.memory += memory;
        held.memory += memory;
        queue.batches.push_back(batch);
        queue.caught_up = None;
        queue.wanted = false;
        self.0.in_flight.add(Part::Fetched, memory);
    }

    /// Notes that the partition was read up to `position` and held nothing behind it.
    pub(crate) fn caught_up(&self, slot: usize, position: i64) {
        self.held().queues[slot].caught_up = Some(position);
    }

    /// The partitions that are to be paused, or are `paused` and to go on.
    pub(crate) fn to_switch(&self, paused: &[bool]) -> Vec<usize> {
        let held = &*self.held();
        let each = self.0.limit / held.queues.len().max(1);
        let fetched = |slot: usize| {
            let queue = &held.queues[slot];
            let room = if paused[slot] {
                queue.memory <= each / 2
            } else {
                queue.memory == 0 || queue.memory < each
            };
            let awaited = queue.wanted && queue.batches.is_empty();
            awaited || room && held.memory < self.0.limit
        };
        (0..paused.len())
            .filter(|slot| paused[*slot] == fetched(*slot))
            .collect()
    }

    /// Says that the worker waits for a partition of which nothing is here.
    pub(crate) fn want(&self, slot: usize) {
        let queue = &mut self.held().queues[slot];
        queue.wanted = queue.batches.is_empty();
    }

    /// Takes the first batch of a partition; it counts until it is [`done`](Self::done).
    pub(crate) fn pop(&self, slot: usize) -> Option<Arc<dyn RecordBatch>> {
        let queue = &mut self.held().queues[slot];
        let batch = queue.batches.pop_front()?;
        queue.memory -= batch.memory();
        Some(batch)
    }

    /// Notes that every record of a batch was taken.
    pub(crate) fn done(&self, batch: &dyn RecordBatch) {
        let memory = batch.memory();
        self.held().memory -= memory;
        self.0.in_flight.release(Part::Fetched, memory);
    }

    /// The high watermark, if the partition was caught up and its queue is empty.
    pub(crate) fn position(&self, slot: usize) -> Option<i64> {
        let queue = &self.held().queues[slot];
        queue.caught_up.filter(|_| queue.batches.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::{Header, RawRecord};

    struct Bytes(usize);

    impl RecordBatch for Bytes {
        fn slot(&self) -> usize {
            0
        }
        fn len(&self) -> usize {
            1
        }
        fn get(&self, _: usize) -> RawRecord<'_> {
            unreachable!("nobody reads it")
        }
        fn headers(&self, _: usize) -> Vec<Header> {
            Vec::new()
        }
        fn memory(&self) -> usize {
            self.0
        }
    }

    fn queues(partitions: usize, limit: usize) -> (Queues, InFlight) {
        let in_flight = InFlight::default();
        (Queues::new(partitions, limit, in_flight.clone()), in_flight)
    }

    #[test]
    fn a_full_queue_pauses_and_goes_on_when_half_of_it_is_gone() {
        let (queues, _) = queues(2, 80);
        queues.push(0, Arc::new(Bytes(20)));
        assert_eq!(queues.to_switch(&[false, false]), Vec::<usize>::new());
        queues.push(0, Arc::new(Bytes(20)));
        assert_eq!(queues.to_switch(&[false, false]), [0]);
        assert_eq!(queues.to_switch(&[true, false]), Vec::<usize>::new());
        assert!(queues.pop(0).is_some());
        assert_eq!(queues.to_switch(&[true, false]), [0]);
    }

    #[test]
    fn at_the_bound_of_all_only_an_empty_partition_that_is_waited_for_is_fetched() {
        let (queues, in_flight) = queues(3, 90);
        queues.push(0, Arc::new(Bytes(100)));
        assert_eq!(queues.to_switch(&[false; 3]), [0, 1, 2]);
        queues.want(1);
        assert_eq!(queues.to_switch(&[true; 3]), [1]);
        queues.push(1, Arc::new(Bytes(10)));
        assert_eq!(queues.to_switch(&[true, false, true]), [1]);
        // What is being read is held as well.
        let batch = queues.pop(0).expect("it was pushed");
        assert_eq!(queues.to_switch(&[true; 3]), Vec::<usize>::new());
        queues.done(&*batch);
        assert_eq!(queues.to_switch(&[true; 3]), [0, 1, 2]);
        assert_eq!(in_flight.of(Part::Fetched), 10);
    }

    #[test]
    fn who_has_something_is_not_waited_for() {
        let (queues, _) = queues(1, 10);
        queues.push(0, Arc::new(Bytes(10)));
        queues.want(0);
        assert_eq!(queues.to_switch(&[true]), Vec::<usize>::new());
    }
}
