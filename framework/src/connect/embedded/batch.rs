//! How records lie in a segment: batches with a head that can be checked and skipped by itself.
//! Works on bytes; it opens no file.

use crc32c::crc32c;

use super::format::{i64_at, u32_at};
use crate::connect::{Header, NO_TIMESTAMP, SinkRecord};

/// Length of a batch's head in bytes.
pub(super) const BATCH_HEAD: usize = 32;
/// Length of a record's head in bytes.
const RECORD_HEAD: usize = 20;
/// Length of a record header's head in bytes.
const HEADER_HEAD: usize = 8;
/// A batch is closed before it gets longer, unless it holds a single record.
pub(super) const BATCH_BYTES: usize = 128 << 10;
/// A batch is closed when it holds so many records.
pub(super) const BATCH_RECORDS: u32 = 1_000;
/// The length that stands for null.
const NULL: u32 = u32::MAX;

/// A batch's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHead {
    /// Bytes of records that follow the head.
    pub(super) length: u32,
    /// How many records follow, at least one.
    pub(super) count: u32,
    /// Offset of the first one.
    pub(super) base: i64,
    /// The largest timestamp; `i64::MIN` if none has one.
    pub(super) latest: i64,
    checksum: u32,
}

impl BatchHead {
    /// Reads a head; says what is wrong with one.
    pub(super) fn read(bytes: &[u8]) -> Result<BatchHead, &'static str> {
        if u32_at(bytes, 0) != crc32c(&bytes[4..BATCH_HEAD]) {
            return Err("the checksum of a batch's head does not match");
        }
        let head = BatchHead {
            checksum: u32_at(bytes, 4),
            length: u32_at(bytes, 8),
            count: u32_at(bytes, 12),
            base: i64_at(bytes, 16),
            latest: i64_at(bytes, 24),
        };
        if head.count == 0 {
            Err("a batch is empty")
        } else {
            Ok(head)
        }
    }

    /// Offset behind the last record.
    pub(super) fn end(&self) -> i64 {
        self.base.saturating_add(i64::from(self.count))
    }

    /// Length of the batch with its head, in bytes.
    pub(super) fn total(&self) -> u64 {
        BATCH_HEAD as u64 + u64::from(self.length)
    }

    /// Checks the batch's records, which begin at `at` of `bytes`, and adds where each of them begins,
    /// without the first `skip`.
    pub(super) fn index(
        &self,
        bytes: &[u8],
        at: usize,
        skip: i64,
        starts: &mut Vec<u32>,
    ) -> Result<(), &'static str> {
        let end = at + self.length as usize;
        if crc32c(&bytes[at..end]) != self.checksum {
            return Err("the checksum of a batch does not match");
        }
        let mut next = at;
        for record in 0..i64::from(self.count) {
            if record >= skip {
                starts.push(next as u32);
            }
            next = record_end(&bytes[..end], next).ok_or("a record reaches beyond its batch")?;
        }
        if next == end {
            Ok(())
        } else {
            Err("a batch is longer than its records")
        }
    }
}

/// Where the record that begins at `at` ends, if it does within `bytes`.
fn record_end(bytes: &[u8], at: usize) -> Option<usize> {
    let head = bytes.get(at..at + RECORD_HEAD)?;
    let length = |null: u32| if null == NULL { 0 } else { null as usize };
    let end = at
        + RECORD_HEAD
        + length(u32_at(head, 8))
        + length(u32_at(head, 12))
        + u32_at(head, 16) as usize;
    (end <= bytes.len()).then_some(end)
}

/// A record as it lies in a batch, without its offset.
pub(super) struct StoredRecord<'a> {
    pub(super) timestamp: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    headers: &'a [u8],
}

impl<'a> StoredRecord<'a> {
    /// The record that begins at `at` of bytes which [`BatchHead::index`] has checked.
    pub(super) fn read(bytes: &'a [u8], at: usize) -> StoredRecord<'a> {
        let head = &bytes[at..at + RECORD_HEAD];
        let mut next = at + RECORD_HEAD;
        let mut take = |length: u32| {
            let start = next;
            (length != NULL).then(|| {
                next += length as usize;
                &bytes[start..start + length as usize]
            })
        };
        StoredRecord {
            timestamp: i64_at(head, 0),
            key: take(u32_at(head, 8)),
            value: take(u32_at(head, 12)),
            headers: take(u32_at(head, 16)).unwrap_or_default(),
        }
    }

    /// The record's headers. Bytes that make no sense end them: the checksum has been right.
    pub(super) fn headers(&self) -> Vec<Header> {
        let mut headers = Vec::new();
        let mut rest = self.headers;
        while let Some((head, tail)) = rest.split_at_checked(HEADER_HEAD) {
            let (name, value) = (u32_at(head, 0) as usize, u32_at(head, 4));
            let Some((name, tail)) = tail.split_at_checked(name) else {
                break;
            };
            let length = if value == NULL { 0 } else { value as usize };
            let Some((bytes, tail)) = tail.split_at_checked(length) else {
                break;
            };
            let value = (value != NULL).then(|| bytes.to_vec());
            headers.push(Header {
                name: String::from_utf8_lossy(name).into_owned(),
                value,
            });
            rest = tail;
        }
        headers
    }
}

/// Bytes that a record takes in a batch.
pub(super) fn record_length(record: &SinkRecord<'_>) -> usize {
    RECORD_HEAD
        + record.key.map_or(0, <[u8]>::len)
        + record.value.map_or(0, <[u8]>::len)
        + headers_length(record.headers)
}

fn headers_length(headers: &[Header]) -> usize {
    headers
        .iter()
        .map(|header| HEADER_HEAD + header.name.len() + header.value.as_ref().map_or(0, Vec::len))
        .sum()
}

/// A batch that is being filled.
#[derive(Default)]
pub(super) struct OpenBatch {
    bytes: Vec<u8>,
    count: u32,
    latest: Option<i64>,
}

impl OpenBatch {
    /// Whether it holds no record.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many records it holds.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Whether it can take a record of this length without growing too long.
    pub(super) fn takes(&self, length: usize) -> bool {
        self.count == 0 || (self.count < BATCH_RECORDS && self.bytes.len() + length <= BATCH_BYTES)
    }

    /// Adds a record, whose length the caller has limited.
    pub(super) fn push(&mut self, record: &SinkRecord<'_>) {
        let bytes = &mut self.bytes;
        if bytes.is_empty() {
            bytes.resize(BATCH_HEAD, 0);
        }
        let length = |part: Option<&[u8]>| part.map_or(NULL, |part| part.len() as u32);
        let mut head = [0; RECORD_HEAD];
        head[..8].copy_from_slice(&record.timestamp.to_le_bytes());
        head[8..12].copy_from_slice(&length(record.key).to_le_bytes());
        head[12..16].copy_from_slice(&length(record.value).to_le_bytes());
        head[16..].copy_from_slice(&(headers_length(record.headers) as u32).to_le_bytes());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(record.key.unwrap_or_default());
        bytes.extend_from_slice(record.value.unwrap_or_default());
        for header in record.headers {
            bytes.extend((header.name.len() as u32).to_le_bytes());
            bytes.extend(length(header.value.as_deref()).to_le_bytes());
            bytes.extend_from_slice(header.name.as_bytes());
            bytes.extend_from_slice(header.value.as_deref().unwrap_or_default());
        }
        self.count += 1;
        if record.timestamp != NO_TIMESTAMP {
            self.latest = self.latest.max(Some(record.timestamp));
        }
    }

    /// The batch's bytes, with its records at `base` and behind.
    pub(super) fn seal(&mut self, base: i64) -> &[u8] {
        let checksum = crc32c(&self.bytes[BATCH_HEAD..]);
        let length = (self.bytes.len() - BATCH_HEAD) as u32;
        let head = &mut self.bytes[..BATCH_HEAD];
        head[4..8].copy_from_slice(&checksum.to_le_bytes());
        head[8..12].copy_from_slice(&length.to_le_bytes());
        head[12..16].copy_from_slice(&self.count.to_le_bytes());
        head[16..24].copy_from_slice(&base.to_le_bytes());
        head[24..].copy_from_slice(&self.latest.unwrap_or(i64::MIN).to_le_bytes());
        let checksum = crc32c(&head[4..]);
        head[..4].copy_from_slice(&checksum.to_le_bytes());
        &self.bytes
    }

    /// Forgets the records and keeps the memory, unless a giant has made it large.
    pub(super) fn clear(&mut self) {
        if self.bytes.capacity() > 4 * BATCH_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.count = 0;
        self.latest = None;
    }
}
