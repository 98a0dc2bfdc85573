//! A log whose readers miss records of a partition: because they are compacted away, or because a client skips them.

use std::sync::Arc;
use std::time::Duration;

use tiderace::connect::{Fetched, Header, Log, RawRecord, RecordBatch, Source, TopicPartition};
use tiderace::error::LogError;

use crate::wrapped::Wrapped;

/// The log without the records at these offsets of a partition.
pub(crate) fn without<L: Log>(log: L, partition: &TopicPartition, offsets: &[i64]) -> Wrapped<L> {
    let (partition, offsets) = (partition.clone(), offsets.to_owned());
    let mut log = Wrapped::new(log);
    log.source = Box::new(move |assignment, inner| {
        let slot = assignment.iter().position(|(of, _)| *of == partition);
        let gone = offsets.clone();
        Box::new(Lacking { inner, slot, gone })
    });
    log
}

struct Lacking {
    inner: Box<dyn Source>,
    slot: Option<usize>,
    gone: Vec<i64>,
}

impl Source for Lacking {
    fn poll(&mut self, timeout: Duration) -> Result<Fetched, LogError> {
        let batch = match self.inner.poll(timeout)? {
            Fetched::Batch(batch) if Some(batch.slot()) == self.slot => batch,
            other => return Ok(other),
        };
        let is_left = |index: &usize| !self.gone.contains(&batch.get(*index).offset);
        let left: Vec<_> = (0..batch.len()).filter(is_left).collect();
        Ok(match left.is_empty() {
            true => Fetched::Nothing,
            false => Fetched::Batch(Arc::new(Left { batch, left })),
        })
    }

    fn pause(&mut self, slot: usize) -> Result<(), LogError> {
        self.inner.pause(slot)
    }

    fn resume(&mut self, slot: usize) -> Result<(), LogError> {
        self.inner.resume(slot)
    }
}

/// What is left of a batch.
struct Left {
    batch: Arc<dyn RecordBatch>,
    left: Vec<usize>,
}

impl RecordBatch for Left {
    fn slot(&self) -> usize {
        self.batch.slot()
    }

    fn len(&self) -> usize {
        self.left.len()
    }

    fn get(&self, index: usize) -> RawRecord<'_> {
        self.batch.get(self.left[index])
    }

    fn headers(&self, index: usize) -> Vec<Header> {
        self.batch.headers(self.left[index])
    }

    fn memory(&self) -> usize {
        self.batch.memory()
    }
}
