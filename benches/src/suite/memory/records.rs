//! Records that are made once and handed out as they lie: no run copies them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use tiderace::connect::{Header, RawRecord, RecordBatch};

/// The records of a partition.
pub(super) trait Records: Send + Sync + 'static {
    /// How many there are.
    fn count(&self) -> usize;
    /// The one at `index < count()`, which is its offset.
    fn get(&self, index: usize) -> RawRecord<'_>;
    /// Bytes of those in a range, for the engine's memory budget.
    fn bytes(&self, range: &Range<usize>) -> usize;
}

/// A partition of a topic, whatever its records are.
pub(super) trait Partition: Send + Sync {
    fn count(&self) -> usize;
    /// When there will be more than there are now; `None` if these are all there will be.
    fn more_at(&self) -> Option<Instant> {
        None
    }
    /// The records of a range as a batch of the partition at `slot` of an assignment.
    fn batch(&self, slot: usize, range: Range<usize>) -> Arc<dyn RecordBatch>;
}

/// Records that hold them together, so that the source's thread and the worker, which are some way apart in them, do not
/// both count in one line of the cache with each batch: that is no cost of either engine or client.
const TOGETHER: usize = 8_192;

/// These records as a partition.
pub(super) fn partition<R: Records>(records: &Arc<R>) -> Arc<dyn Partition> {
    let parts = records.count() / TOGETHER + 1;
    let holder = || Arc::new(Holder(Arc::clone(records)));
    Arc::new(Shared {
        records: Arc::clone(records),
        holders: std::iter::repeat_with(holder).take(parts).collect(),
    })
}

/// Of records that are held together.
struct Holder<R>(Arc<R>);

struct Shared<R> {
    records: Arc<R>,
    /// Of each [`TOGETHER`] records.
    holders: Vec<Arc<Holder<R>>>,
}

impl<R: Records> Partition for Shared<R> {
    fn count(&self) -> usize {
        self.records.count()
    }

    fn batch(&self, slot: usize, range: Range<usize>) -> Arc<dyn RecordBatch> {
        Arc::new(Slice {
            of: Arc::clone(&self.holders[range.start / TOGETHER]),
            slot,
            range,
        })
    }
}

struct Slice<R> {
    of: Arc<Holder<R>>,
    slot: usize,
    range: Range<usize>,
}

impl<R: Records> RecordBatch for Slice<R> {
    fn slot(&self) -> usize {
        self.slot
    }

    fn len(&self) -> usize {
        self.range.len()
    }

    fn get(&self, index: usize) -> RawRecord<'_> {
        self.of.0.get(self.range.start + index)
    }

    fn headers(&self, _: usize) -> Vec<Header> {
        Vec::new()
    }

    fn memory(&self) -> usize {
        self.of.0.bytes(&self.range)
    }
}

/// A `u64` key, and a moment that is both value and timestamp; both as the `bytes` format has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    key: [u8; 8],
    time: [u8; 8],
}

impl Pair {
    pub(super) fn new(key: u64, time: i64) -> Self {
        Pair {
            key: key.to_be_bytes(),
            time: time.to_be_bytes(),
        }
    }

    #[inline]
    pub(super) fn key(&self) -> u64 {
        u64::from_be_bytes(self.key)
    }

    #[inline]
    pub(super) fn time(&self) -> i64 {
        i64::from_be_bytes(self.time)
    }
}

impl Records for Vec<Pair> {
    fn count(&self) -> usize {
        self.len()
    }

    #[inline]
    fn get(&self, index: usize) -> RawRecord<'_> {
        let pair = &self[index];
        RawRecord {
            offset: index as i64,
            timestamp: pair.time(),
            key: Some(&pair.key),
            value: Some(&pair.time),
        }
    }

    fn bytes(&self, range: &Range<usize>) -> usize {
        range.len() * size_of::<Pair>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_range_of_the_records_with_their_offsets() {
        let pairs = Arc::new(vec![Pair::new(1, 2), Pair::new(7, 9)]);
        let batch = partition(&pairs).batch(3, 1..2);
        assert_eq!((batch.slot(), batch.len(), batch.memory()), (3, 1, 16));
        let pair = batch.get(0);
        assert_eq!((pair.offset, pair.timestamp), (1, 9));
        assert_eq!(pair.key, Some(&7_u64.to_be_bytes()[..]));
        assert_eq!(pair.value, Some(&9_u64.to_be_bytes()[..]));
    }
}
