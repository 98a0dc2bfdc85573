//! Between a fetch thread and its worker: a bounded queue per partition.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connect::RecordBatch;

/// The queues of one worker's partitions, by the index that its [`Source`](crate::connect::Source) knows them by.
#[derive(Clone)]
pub(crate) struct Queues(Arc<Inner>);

struct Inner {
    queues: Mutex<Vec<Queue>>,
    /// Bytes that a partition's queue may hold before the partition is paused.
    limit: usize,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<Arc<dyn RecordBatch>>,
    memory: usize,
    /// The high watermark that was reached behind the last batch.
    caught_up: Option<i64>,
}

impl Queues {
    /// Queues of `partitions` partitions that hold about `limit` bytes each.
    pub(crate) fn new(partitions: usize, limit: usize) -> Self {
        let queues = Mutex::new((0..partitions).map(|_| Queue::default()).collect());
        Queues(Arc::new(Inner { queues, limit }))
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Queue>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch; true if the partition should pause.
    pub(crate) fn push(&self, slot: usize, batch: Arc<dyn RecordBatch>) -> bool {
        let queue = &mut self.queues()[slot];
        queue.memory += batch.memory();
        queue.batches.push_back(batch);
        queue.caught_up = None;
        queue.memory >= self.0.limit
    }

    /// Notes that the partition was read up to `position` and held nothing behind it.
    pub(crate) fn caught_up(&self, slot: usize, position: i64) {
        self.queues()[slot].caught_up = Some(position);
    }

    /// Whether a paused partition may go on.
    pub(crate) fn has_room(&self, slot: usize) -> bool {
        self.queues()[slot].memory <= self.0.limit / 2
    }

    /// Takes the first batch of a partition.
    pub(crate) fn pop(&self, slot: usize) -> Option<Arc<dyn RecordBatch>> {
        let queue = &mut self.queues()[slot];
        let batch = queue.batches.pop_front()?;
        queue.memory -= batch.memory();
        Some(batch)
    }

    /// The high watermark, if the partition was caught up and its queue is empty.
    pub(crate) fn position(&self, slot: usize) -> Option<i64> {
        let queue = &self.queues()[slot];
        queue.caught_up.filter(|_| queue.batches.is_empty())
    }
}
