//! Buffers that records are read into, and that come back when the last reader of a batch is done: a fresh
//! one for every fetch would cost more in page faults than the reading itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::StoredRecord;
use crate::connect::{Header, RawRecord, RecordBatch};

/// What a fetch reads at once, unless a single batch is longer.
pub(super) const FETCH_BYTES: usize = 256 << 10;
/// Buffers shorter than this are not kept: a trickle of small batches must not fill the memory budget.
const SMALL: usize = FETCH_BYTES / 2;
/// Buffers that are kept at most.
const KEPT: usize = 256;

type Parts = (Vec<u8>, Vec<u32>);

/// Buffers not in use, shared with the batches that have one.
#[derive(Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Parts>>>);

impl Buffers {
    /// Room for `length` bytes; what is in it is left over from before.
    pub(super) fn take(&self, length: usize) -> Records {
        let kept = if length < SMALL {
            None
        } else {
            self.kept().pop()
        };
        let (mut bytes, mut starts) = kept.unwrap_or_default();
        starts.clear();
        if bytes.len() < length {
            bytes.resize(
                if length < SMALL {
                    length
                } else {
                    length.max(FETCH_BYTES)
                },
                0,
            );
        }
        Records {
            slot: 0,
            first: 0,
            bytes,
            starts,
            home: self.clone(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Parts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records of one partition, borrowed from one buffer.
pub(super) struct Records {
    /// Index of the partition in the source's assignment.
    pub(super) slot: usize,
    /// Offset of the first record.
    pub(super) first: i64,
    /// Batches as they lie in the segment, and perhaps more behind them.
    pub(super) bytes: Vec<u8>,
    /// Where each record begins in `bytes`.
    pub(super) starts: Vec<u32>,
    home: Buffers,
}

impl Records {
    fn stored(&self, index: usize) -> StoredRecord<'_> {
        StoredRecord::read(&self.bytes, self.starts[index] as usize)
    }
}

impl RecordBatch for Records {
    fn slot(&self) -> usize {
        self.slot
    }

    fn len(&self) -> usize {
        self.starts.len()
    }

    fn get(&self, index: usize) -> RawRecord<'_> {
        let StoredRecord {
            timestamp,
            key,
            value,
            ..
        } = self.stored(index);
        RawRecord {
            offset: self.first + index as i64,
            timestamp,
            key,
            value,
        }
    }

    fn headers(&self, index: usize) -> Vec<Header> {
        self.stored(index).headers()
    }

    fn memory(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * size_of::<u32>() + size_of::<Records>()
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        if self.bytes.len() == FETCH_BYTES {
            let mut kept = self.home.kept();
            if kept.len() < KEPT {
                kept.push((
                    std::mem::take(&mut self.bytes),
                    std::mem::take(&mut self.starts),
                ));
            }
        }
    }
}
