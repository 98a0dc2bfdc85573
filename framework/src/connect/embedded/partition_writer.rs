//! Appends to one partition: batches, segments, and the way back to what is committed.
//! What it has written is nobody's to see before a commit record says so.

use std::path::Path;

use tiderace_operators::failpoint;
#[cfg(feature = "failpoints")]
use tiderace_operators::failpoint::Point;

use super::batch::{OpenBatch, record_length};
use super::catalog::Extent;
use super::disk::{self, damaged};
use super::retention::remove_below;
use super::segment::{Place, SEGMENT_HEAD, Segment};
use crate::connect::SinkRecord;
use crate::error::LogError;

/// What was sent to a partition is in its file, and what was sent to others may not be.
#[cfg(feature = "failpoints")]
pub static P06_PARTLY_WRITTEN: Point = Point::new("P06-partly-written");

/// The one writer of a partition.
pub(super) struct PartitionWriter {
    place: Place,
    /// A segment that is so long gets a successor with the next batch.
    segment_bytes: u64,
    /// How far the partition is committed.
    committed: Extent,
    /// How far it is written.
    written: Extent,
    /// The segment that `written` ends in, once it has been opened.
    segment: Option<Segment>,
    batch: OpenBatch,
    /// Segments with bytes that may not be on the disk.
    unsynced: Vec<Segment>,
    /// Whether a segment's name may not be on the disk.
    unsynced_name: bool,
}

impl PartitionWriter {
    /// The writer of the partition at `place`, whose writer lock the caller holds. Cuts a torn tail off, and
    /// removes what an interrupted deletion has left.
    pub(super) fn open(
        place: Place,
        committed: Extent,
        segment_bytes: u64,
    ) -> Result<PartitionWriter, LogError> {
        cut_back(&place, &committed, |path, from, to| {
            tracing::warn!(file = %path.display(), from, to, "cut off a torn tail");
        })?;
        remove_below(&place, committed.first, committed.segment)?;
        Ok(PartitionWriter {
            place,
            segment_bytes,
            committed,
            written: committed,
            segment: None,
            batch: OpenBatch::default(),
            unsynced: Vec::new(),
            unsynced_name: false,
        })
    }

    /// Adds a record, and writes the open batch if it is full. Returns the offset that the record has once it is
    /// committed.
    pub(super) fn add(&mut self, record: &SinkRecord<'_>) -> Result<i64, LogError> {
        if !self.batch.takes(record_length(record)) {
            self.write_batch()?;
        }
        let offset = self.written.end + i64::from(self.batch.count());
        self.batch.push(record);
        Ok(offset)
    }

    /// Writes the open batch, if it holds a record.
    pub(super) fn write_batch(&mut self) -> Result<(), LogError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let segment = self.segment()?;
        let bytes = self.batch.seal(self.written.end);
        disk::write_at(&segment.file, &segment.path, bytes, self.written.bytes)?;
        self.written.bytes += bytes.len() as u64;
        self.written.end += i64::from(self.batch.count());
        self.batch.clear();
        if self
            .unsynced
            .last()
            .is_none_or(|last| last.path != segment.path)
        {
            self.unsynced.push(segment);
        }
        failpoint!(P06_PARTLY_WRITTEN, |_| Err(LogError::Refused(
            "made to fail".to_owned()
        )));
        Ok(())
    }

    /// Whether there are bytes that may not be on the disk.
    pub(super) fn is_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Waits until everything written is on the disk.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        for segment in &self.unsynced {
            disk::sync(&segment.file, &segment.path)?;
        }
        if self.unsynced_name {
            disk::sync_directory(&self.place.directory)
        } else {
            Ok(())
        }
    }

    /// Notes that [`sync`](Self::sync) has succeeded.
    pub(super) fn synced(&mut self) {
        self.unsynced.clear();
        self.unsynced_name = false;
    }

    /// What a commit record has to say of this partition, if anything.
    pub(super) fn uncommitted(&self) -> Option<(u64, u32, Extent)> {
        (self.written != self.committed).then_some((
            self.place.topic,
            self.place.partition,
            self.written,
        ))
    }

    /// Notes that everything written is committed.
    pub(super) fn committed(&mut self) {
        self.committed = self.written;
    }

    /// Whether the partition is as the last commit record says.
    pub(super) fn is_clean(&self) -> bool {
        self.written == self.committed && self.batch.is_empty() && self.unsynced.is_empty()
    }

    /// Goes back to what is committed, whatever has been written or has failed since.
    pub(super) fn roll_back(&mut self, committed: Extent) -> Result<(), LogError> {
        self.segment = None;
        self.batch.clear();
        self.synced();
        cut_back(&self.place, &committed, |_, _, _| ())?;
        self.committed = committed;
        self.written = committed;
        Ok(())
    }

    /// The segment for the next batch.
    fn segment(&mut self) -> Result<Segment, LogError> {
        if self.written.bytes == 0 || self.written.bytes >= self.segment_bytes {
            let segment = Segment::create(&self.place, self.written.end)?;
            self.written.segment = self.written.end;
            self.written.bytes = SEGMENT_HEAD;
            self.unsynced_name = true;
            self.segment = Some(segment);
        }
        match &self.segment {
            Some(segment) => Ok(segment.clone()),
            None => Ok(self
                .segment
                .insert(Segment::open_to_append(&self.place, self.written.segment)?)
                .clone()),
        }
    }
}

/// Removes what lies behind `committed`, telling `cut` of each file with the bytes that it loses; what is
/// missing before it is damage.
fn cut_back(
    place: &Place,
    committed: &Extent,
    cut: impl Fn(&Path, u64, u64),
) -> Result<(), LogError> {
    let mut held = committed.bytes == 0;
    for base in place.bases()? {
        let path = place.segment(base);
        if base > committed.segment || committed.bytes == 0 {
            let length = std::fs::metadata(&path)
                .map_err(disk::cannot_read(&path))?
                .len();
            cut(&path, 0, length);
            disk::remove(&path)?;
        } else if base == committed.segment {
            held = true;
            let segment = Segment::open_to_append(place, base)?;
            let length = segment.length()?;
            if length < committed.bytes {
                let reason = format!(
                    "the file ends here, {} bytes are committed",
                    committed.bytes
                );
                return Err(damaged(&path, length, reason));
            }
            if length > committed.bytes {
                cut(&path, committed.bytes, length);
                disk::truncate(&segment.file, &path, committed.bytes)?;
            }
        }
    }
    if held {
        Ok(())
    } else {
        Err(damaged(
            &place.segment(committed.segment),
            0,
            "the file is missing, but records in it are committed",
        ))
    }
}
