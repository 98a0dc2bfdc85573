//! The segments of a partition: files of batches, each named by the offset of its first record.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32c::crc32c;

use super::disk::{self, cannot_read, damaged};
use super::format::{Format, PREAMBLE, i64_at, u32_at, u64_at};
use crate::error::LogError;

const FORMAT: Format = Format {
    magic: *b"TIDEsegm",
    version: 1,
};
/// Length of a segment's own head in bytes.
pub(super) const SEGMENT_HEAD: u64 = 40;
/// A segment that is so long gets a successor with the next batch, where the topic has no `segment.bytes`.
pub(super) const SEGMENT_BYTES: u64 = if cfg!(test) { 512 << 10 } else { 64 << 20 };

/// Where a partition's segments lie, and whose they are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The partition's directory.
    pub(super) directory: PathBuf,
    /// The topic's id.
    pub(super) topic: u64,
    /// The partition's number.
    pub(super) partition: u32,
}

impl Place {
    /// The place of a partition of the topic in `directory`.
    pub(super) fn new(directory: &Path, topic: u64, partition: u32) -> Place {
        Place {
            directory: directory.join(partition.to_string()),
            topic,
            partition,
        }
    }

    /// The path of the segment that begins at offset `base`.
    pub(super) fn segment(&self, base: i64) -> PathBuf {
        self.directory.join(format!("{base:020}.segment"))
    }

    /// Base offsets of the segments in the directory, sorted.
    pub(super) fn bases(&self) -> Result<Vec<i64>, LogError> {
        let mut bases = Vec::new();
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged(
                    &self.directory,
                    0,
                    "the partition's directory is missing",
                ));
            }
            entries => entries.map_err(cannot_read(&self.directory))?,
        };
        for entry in entries {
            let name = entry.map_err(cannot_read(&self.directory))?.file_name();
            let base: Option<i64> = name
                .to_str()
                .and_then(|name| name.strip_suffix(".segment"))
                .and_then(|base| base.parse().ok());
            bases.extend(base);
        }
        bases.sort_unstable();
        Ok(bases)
    }

    fn head(&self, base: i64) -> [u8; SEGMENT_HEAD as usize] {
        let mut head = [0; SEGMENT_HEAD as usize];
        head[..PREAMBLE].copy_from_slice(&FORMAT.preamble());
        head[16..24].copy_from_slice(&self.topic.to_le_bytes());
        head[24..28].copy_from_slice(&self.partition.to_le_bytes());
        head[28..36].copy_from_slice(&base.to_le_bytes());
        let checksum = crc32c(&head[16..36]);
        head[36..].copy_from_slice(&checksum.to_le_bytes());
        head
    }
}

/// An open segment.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) file: Arc<File>,
    pub(super) path: Arc<Path>,
}

impl Segment {
    /// Creates the segment that begins at `base`, with nothing but its head.
    pub(super) fn create(place: &Place, base: i64) -> Result<Segment, LogError> {
        let path = place.segment(base);
        let file = disk::open_for_writing(&path)?;
        disk::truncate(&file, &path, 0)?;
        disk::write_at(&file, &path, &place.head(base), 0)?;
        Ok(Segment {
            file: Arc::new(file),
            path: path.into(),
        })
    }

    /// Opens a segment to append to it.
    pub(super) fn open_to_append(place: &Place, base: i64) -> Result<Segment, LogError> {
        let path = place.segment(base);
        let file = Arc::new(disk::open_for_writing(&path)?);
        let segment = Segment {
            file,
            path: path.into(),
        };
        segment.check(place, base)?;
        Ok(segment)
    }

    /// Opens a segment that must be there to read from it.
    pub(super) fn open(place: &Place, base: i64) -> Result<Segment, LogError> {
        let path = place.segment(base);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged(
                    &path,
                    0,
                    "the file is missing, but records in it are committed",
                ));
            }
            file => file.map_err(cannot_read(&path))?,
        };
        let segment = Segment {
            file: Arc::new(file),
            path: path.into(),
        };
        segment.check(place, base)?;
        Ok(segment)
    }

    fn check(&self, place: &Place, base: i64) -> Result<(), LogError> {
        let mut head = [0; SEGMENT_HEAD as usize];
        disk::read_at(&self.file, &self.path, &mut head, 0)?;
        FORMAT.check(&head, &self.path)?;
        if u32_at(&head, 36) != crc32c(&head[16..36]) {
            return Err(damaged(
                &self.path,
                PREAMBLE as u64,
                "the checksum of the segment's head does not match",
            ));
        }
        let found = (u64_at(&head, 16), u32_at(&head, 24), i64_at(&head, 28));
        if found != (place.topic, place.partition, base) {
            let reason = format!(
                "it is the segment of topic number {}, partition {}, offset {}, and lies where that of {}, {}, {base} belongs",
                found.0, found.1, found.2, place.topic, place.partition
            );
            return Err(damaged(&self.path, PREAMBLE as u64, reason));
        }
        Ok(())
    }

    /// Reads exactly `buffer.len()` committed bytes.
    pub(super) fn read(&self, buffer: &mut [u8], position: u64) -> Result<(), LogError> {
        disk::read_at(&self.file, &self.path, buffer, position)
    }

    /// The segment's length in bytes.
    pub(super) fn length(&self) -> Result<u64, LogError> {
        disk::length(&self.file, &self.path)
    }

    /// An error about a byte of this segment.
    pub(super) fn damaged(&self, position: u64, reason: impl Into<String>) -> LogError {
        damaged(&self.path, position, reason)
    }
}
