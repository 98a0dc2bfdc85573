//! The hash of a record that was written: over key, value, timestamp and headers without error texts.
//!
//! What is hashed is one row of bytes: key and value behind their lengths, the timestamp, then the headers' names and
//! values behind theirs. A sink writes its records in this form, so that hashing them copies nothing.

use xxhash_rust::xxh3::xxh3_128;

use crate::connect::Header;

/// The hash of one record (XXH3-128).
pub(crate) type RecordHash = [u8; 16];

/// Names of the headers that hold error texts, which a replay need not reproduce to the letter.
const TEXTS: [&str; 3] = [
    "__streams.errors.exception",
    "__streams.errors.message",
    "__streams.errors.stacktrace",
];

/// Bytes that a length takes.
pub(crate) const LENGTH: usize = 8;

/// A length before a key or a value, or that there is none.
pub(crate) fn length(of: Option<usize>) -> [u8; LENGTH] {
    of.map_or(u64::MAX, |bytes| bytes as u64).to_le_bytes()
}

/// The hash of a record without headers, from its key, value and timestamp in one row.
#[inline]
pub(crate) fn of_row(row: &[u8]) -> RecordHash {
    xxh3_128(row).to_le_bytes()
}

/// Hashes records, one after another.
#[derive(Default)]
pub(crate) struct RecordHasher {
    /// A record's row; the memory is used again.
    row: Vec<u8>,
}

impl RecordHasher {
    /// The hash of a record with these parts.
    pub(crate) fn hash(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: i64,
        headers: &[Header],
    ) -> RecordHash {
        self.row.clear();
        self.field(key);
        self.field(value);
        self.row.extend(timestamp.to_le_bytes());
        for header in headers {
            if !TEXTS.contains(&header.name.as_str()) {
                self.field(Some(header.name.as_bytes()));
                self.field(header.value.as_deref());
            }
        }
        of_row(&self.row)
    }

    fn field(&mut self, bytes: Option<&[u8]>) {
        self.row.extend(length(bytes.map(<[u8]>::len)));
        self.row.extend_from_slice(bytes.unwrap_or_default());
    }
}
