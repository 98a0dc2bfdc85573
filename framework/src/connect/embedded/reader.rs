//! Reads one partition: finds an offset, walks over heads, and takes whole batches into one buffer.
//! Never looks behind what is committed.

use super::batch::{BATCH_BYTES, BATCH_HEAD, BATCH_RECORDS, BatchHead, StoredRecord};
use super::buffers::{Buffers, FETCH_BYTES, Records};
use super::catalog::Extent;
use super::segment::{Place, SEGMENT_HEAD, Segment};
use crate::connect::NO_TIMESTAMP;
use crate::error::LogError;

/// What a walk over heads reads at once: a page or two, so that small batches share a read.
const WINDOW: usize = 8 << 10;

/// A position in a partition.
pub(super) struct Reader {
    place: Place,
    /// The next offset to deliver.
    offset: i64,
    /// Base offset of the segment that `position` is in.
    base: i64,
    segment: Option<Segment>,
    /// Where in the segment the next batch begins; 0 before the segment's head has been checked.
    position: u64,
    /// Offset that the next batch begins with, at most `offset`.
    batch: i64,
}

impl Reader {
    /// A reader at `offset`, which lies between the extent's first offset and its end.
    pub(super) fn open(place: Place, extent: &Extent, offset: i64) -> Result<Reader, LogError> {
        let mut reader = Reader {
            place,
            offset,
            base: extent.segment,
            segment: None,
            position: extent.bytes,
            batch: extent.end,
        };
        if offset < extent.end {
            let bases = reader.place.bases()?;
            // If the one that holds the offset is missing, this finds one before it or the first of all, and
            // the walk ends in an error that names what is missing.
            let found = bases
                .into_iter()
                .filter(|base| *base <= offset.min(extent.segment))
                .max();
            reader.enter(found.unwrap_or(extent.first));
            reader.walk(extent, |head| head.end() <= offset)?;
        }
        Ok(reader)
    }

    /// The offset of the next record.
    pub(super) fn offset(&self) -> i64 {
        self.offset
    }

    /// The file that is being read and the position in it, for errors about the records there.
    pub(super) fn whereabouts(&self) -> (std::path::PathBuf, u64) {
        (self.place.segment(self.base), self.position)
    }

    /// The next records up to the extent's end, `None` if there are none.
    pub(super) fn next(
        &mut self,
        extent: &Extent,
        buffers: &Buffers,
    ) -> Result<Option<Records>, LogError> {
        if self.offset >= extent.end {
            return Ok(None);
        }
        let (segment, limit) = self.settle(extent)?;
        let mut wanted = (limit - self.position).min(FETCH_BYTES as u64) as usize;
        loop {
            let mut records = buffers.take(wanted);
            segment.read(&mut records.bytes[..wanted], self.position)?;
            let missing = self.take_batches(&segment, limit, wanted, &mut records)?;
            if missing == 0 {
                return Ok(Some(records));
            }
            wanted = missing;
        }
    }

    /// The first offset with at least this timestamp; `None` if there is none.
    pub(super) fn find_time(
        &mut self,
        extent: &Extent,
        timestamp: i64,
    ) -> Result<Option<i64>, LogError> {
        loop {
            self.walk(extent, |head| head.latest < timestamp)?;
            if self.batch >= extent.end {
                return Ok(None);
            }
            let (segment, limit) = self.settle(extent)?;
            let (head, records) = self.read_whole(&segment, limit)?;
            let mut starts = Vec::new();
            head.index(&records, 0, 0, &mut starts)
                .map_err(|reason| segment.damaged(self.position, reason))?;
            for (at, offset) in starts.into_iter().zip(head.base..) {
                let found = StoredRecord::read(&records, at as usize).timestamp;
                // The first batch may begin with records that are deleted.
                if offset >= self.offset && found != NO_TIMESTAMP && found >= timestamp {
                    return Ok(Some(offset));
                }
            }
            self.pass(&head);
        }
    }

    /// Goes to the beginning of the segment at `base`.
    fn enter(&mut self, base: i64) {
        self.base = base;
        self.segment = None;
        self.position = 0;
        self.batch = base;
    }

    fn pass(&mut self, head: &BatchHead) {
        self.position += head.total();
        self.batch = head.end();
    }

    /// The segment that the next batch is in, which must exist, and how far it is committed.
    fn settle(&mut self, extent: &Extent) -> Result<(Segment, u64), LogError> {
        loop {
            let segment = match &self.segment {
                Some(segment) => segment.clone(),
                None => self
                    .segment
                    .insert(Segment::open(&self.place, self.base)?)
                    .clone(),
            };
            self.position = self.position.max(SEGMENT_HEAD);
            let limit = if self.base == extent.segment {
                extent.bytes
            } else {
                segment.length()?
            };
            if self.position < limit {
                return Ok((segment, limit));
            }
            if self.base >= extent.segment || self.position > limit || self.batch == self.base {
                let reason = format!(
                    "the file ends before offset {}, which is committed",
                    self.batch
                );
                return Err(segment.damaged(limit, reason));
            }
            self.enter(self.batch);
        }
    }

    /// Passes batches without reading their records, as long as `skip` says so and there are any.
    fn walk(&mut self, extent: &Extent, skip: impl Fn(&BatchHead) -> bool) -> Result<(), LogError> {
        let mut window = Vec::new();
        let mut window_at = u64::MAX;
        let mut window_base = i64::MIN;
        while self.batch < extent.end {
            let (segment, limit) = self.settle(extent)?;
            let within = self.position.wrapping_sub(window_at);
            let mut at = within as usize;
            if window_base != self.base
                || within > (window.len() as u64).saturating_sub(BATCH_HEAD as u64)
            {
                window.resize((limit - self.position).min(WINDOW as u64) as usize, 0);
                segment.read(&mut window, self.position)?;
                (window_at, window_base, at) = (self.position, self.base, 0);
            }
            let head = self.head(&segment, limit, &window[at..])?;
            if !skip(&head) {
                break;
            }
            self.pass(&head);
        }
        Ok(())
    }

    /// The head of the batch at `position`, checked against what must stand there.
    fn head(&self, segment: &Segment, limit: u64, bytes: &[u8]) -> Result<BatchHead, LogError> {
        let damaged = |reason: &str| segment.damaged(self.position, reason);
        let bytes = bytes
            .get(..BATCH_HEAD)
            .ok_or_else(|| damaged("the committed bytes end within a batch's head"))?;
        let head = BatchHead::read(bytes).map_err(damaged)?;
        if head.base != self.batch {
            let reason = format!(
                "a batch begins at offset {} where offset {} belongs",
                head.base, self.batch
            );
            return Err(damaged(&reason));
        }
        if head.total() > limit - self.position {
            return Err(damaged("a batch reaches beyond the committed bytes"));
        }
        Ok(head)
    }

    fn read_whole(&self, segment: &Segment, limit: u64) -> Result<(BatchHead, Vec<u8>), LogError> {
        let mut bytes = vec![0; (limit - self.position).min(BATCH_HEAD as u64) as usize];
        segment.read(&mut bytes, self.position)?;
        let head = self.head(segment, limit, &bytes)?;
        let mut records = vec![0; head.length as usize];
        segment.read(&mut records, self.position + BATCH_HEAD as u64)?;
        Ok((head, records))
    }

    /// Takes the whole batches among the first `filled` bytes of `records`, and passes them. If the first one
    /// does not fit in, takes nothing and returns how many bytes it has, otherwise 0. What is wrong with a
    /// later one is for the next fetch to say.
    fn take_batches(
        &mut self,
        segment: &Segment,
        limit: u64,
        filled: usize,
        records: &mut Records,
    ) -> Result<usize, LogError> {
        records.first = self.offset;
        let mut at = 0;
        loop {
            let taken = records.starts.len();
            match self.take_batch(
                segment,
                limit,
                &records.bytes[..filled],
                at,
                &mut records.starts,
            ) {
                Ok(Take::Taken(end)) => at = end,
                Ok(Take::Full) => return Ok(0),
                Ok(Take::Needs(length)) if taken == 0 => return Ok(length),
                Err(error) if taken == 0 => return Err(error),
                Ok(Take::Needs(_)) => return Ok(0),
                Err(_) => {
                    records.starts.truncate(taken);
                    return Ok(0);
                }
            }
            if at == filled {
                return Ok(0);
            }
        }
    }

    fn take_batch(
        &mut self,
        segment: &Segment,
        limit: u64,
        bytes: &[u8],
        at: usize,
        starts: &mut Vec<u32>,
    ) -> Result<Take, LogError> {
        let head = self.head(segment, limit, &bytes[at..])?;
        let end = at + head.total() as usize;
        if end > bytes.len() {
            return Ok(Take::Needs(head.total() as usize));
        }
        if !starts.is_empty() && starts.len() + head.count as usize > BATCH_RECORDS as usize {
            return Ok(Take::Full);
        }
        head.index(bytes, at + BATCH_HEAD, self.offset - head.base, starts)
            .map_err(|reason| segment.damaged(self.position, reason))?;
        self.pass(&head);
        self.offset = head.end();
        Ok(Take::Taken(end))
    }
}

/// What became of a batch.
enum Take {
    /// It was taken; the next one begins there.
    Taken(usize),
    /// There are enough records without it.
    Full,
    /// It has so many bytes, which are not all there.
    Needs(usize),
}

const _: () = assert!(
    FETCH_BYTES.is_multiple_of(BATCH_BYTES),
    "a fetch takes whole batches"
);
