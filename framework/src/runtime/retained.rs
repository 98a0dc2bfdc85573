//! Raw batches of the epochs that are not complete, so that a record can be looked up by its position.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tiderace_operators::dataflow::Epoch;

use crate::connect::RecordBatch;

/// What one worker keeps; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Retained(Rc<RefCell<Kept>>);

#[derive(Default)]
struct Kept {
    batches: BTreeMap<(Epoch, usize, u32), Vec<Arc<dyn RecordBatch>>>,
    /// The last epoch that each reader is done with.
    done: Vec<Epoch>,
}

impl Retained {
    /// Keeps a batch of a source's partition for an epoch; batches come in the order of their offsets.
    pub(crate) fn keep(
        &self,
        epoch: Epoch,
        source: usize,
        partition: u32,
        batch: Arc<dyn RecordBatch>,
    ) {
        self.0
            .borrow_mut()
            .batches
            .entry((epoch, source, partition))
            .or_default()
            .push(batch);
    }

    /// Adds a reader and returns its number.
    pub(crate) fn add_reader(&self) -> usize {
        let done = &mut self.0.borrow_mut().done;
        done.push(0);
        done.len() - 1
    }

    /// The batch that holds a record, and the record's index in it.
    pub(crate) fn find(
        &self,
        epoch: Epoch,
        source: usize,
        partition: u32,
        offset: i64,
    ) -> Option<(Arc<dyn RecordBatch>, usize)> {
        let kept = self.0.borrow();
        let batches = kept.batches.get(&(epoch, source, partition))?;
        let at = batches.partition_point(|batch| batch.get(batch.len() - 1).offset < offset);
        let batch = batches.get(at)?;
        let (mut from, mut until) = (0, batch.len());
        while from < until {
            let middle = (from + until) / 2;
            if batch.get(middle).offset < offset {
                from = middle + 1
            } else {
                until = middle
            }
        }
        (from < batch.len() && batch.get(from).offset == offset).then(|| (Arc::clone(batch), from))
    }

    /// A reader is done with an epoch: what no reader asks for any more is given up.
    pub(crate) fn done(&self, reader: usize, epoch: Epoch) {
        let kept = &mut *self.0.borrow_mut();
        kept.done[reader] = epoch;
        let passed = kept.done.iter().copied().min().unwrap_or(0);
        kept.batches = kept.batches.split_off(&(passed + 1, 0, 0));
    }
}
