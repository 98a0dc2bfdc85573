//! A batch of records on its way from a fetch thread to its worker.

use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::connect::RecordBatch;

/// Records of one partition that have arrived, with what they count for in the budget.
pub(crate) struct Arrived {
    records: Arc<dyn RecordBatch>,
    memory: usize,
}

impl Arrived {
    pub(crate) fn new(records: Arc<dyn RecordBatch>) -> Self {
        Arrived {
            memory: records.memory(),
            records,
        }
    }

    /// Bytes of memory that it keeps alive.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// What those at `range` count for of it.
    pub(super) fn share(&self, range: &Range<usize>) -> usize {
        match self.records.len() {
            all if range.len() == all => self.memory,
            all => range.len() * self.memory / all,
        }
    }

    /// The records, to be kept.
    pub(super) fn records(&self) -> Arc<dyn RecordBatch> {
        Arc::clone(&self.records)
    }
}

impl Deref for Arrived {
    type Target = dyn RecordBatch;

    fn deref(&self) -> &Self::Target {
        &*self.records
    }
}
