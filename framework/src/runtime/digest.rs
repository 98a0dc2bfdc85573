//! The digest of what an epoch writes to a topic: over all of it in canonical order, which a replay must come to
//! whatever the number of partitions, and by partition, which can be told from the topic as it lies.
//!
//! A record's own hash covers key, value, timestamp and headers without error texts; a digest is the hash of its
//! records' hashes.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::dead_letter::TEXTS;
use super::entry::{Digest, PartitionDigest};
use crate::connect::{Header, SinkRecord};

/// The hash of one record.
pub(crate) type RecordHash = [u8; 16];

/// Hashes records, one after another.
#[derive(Default)]
pub(crate) struct RecordHasher {
    /// The record's fields behind their lengths; the memory is used again.
    fields: Vec<u8>,
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
        self.fields.clear();
        self.field(key);
        self.field(value);
        self.fields.extend(timestamp.to_le_bytes());
        for header in headers {
            if !TEXTS.contains(&header.name.as_str()) {
                self.field(Some(header.name.as_bytes()));
                self.field(header.value.as_deref());
            }
        }
        xxh3_128(&self.fields).to_le_bytes()
    }

    fn field(&mut self, bytes: Option<&[u8]>) {
        let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
        self.fields.extend(length.to_le_bytes());
        self.fields.extend_from_slice(bytes.unwrap_or_default());
    }
}

/// The hash of a sequence of records.
#[derive(Default)]
struct Sequence {
    records: u64,
    hasher: Box<Xxh3>,
}

impl Sequence {
    fn add(&mut self, record: RecordHash) {
        self.records += 1;
        self.hasher.update(&record);
    }

    fn hash(&self) -> String {
        format!("{:032x}", self.hasher.digest128())
    }
}

/// The hash of these records, in this order.
pub(crate) fn hash_of(records: &[RecordHash]) -> String {
    let mut sequence = Sequence::default();
    records.iter().for_each(|record| sequence.add(*record));
    sequence.hash()
}

/// The digest of a topic's records, given in canonical order.
pub(crate) fn digest<'a>(records: impl Iterator<Item = SinkRecord<'a>>) -> Digest {
    let mut hasher = RecordHasher::default();
    let mut all = Sequence::default();
    let mut partitions: BTreeMap<u32, Sequence> = BTreeMap::new();
    for record in records {
        let hash = hasher.hash(record.key, record.value, record.timestamp, record.headers);
        all.add(hash);
        partitions.entry(record.partition).or_default().add(hash);
    }
    let of = |(partition, sequence): (u32, Sequence)| PartitionDigest {
        partition,
        records: sequence.records,
        hash: sequence.hash(),
    };
    Digest {
        records: all.records,
        hash: all.hash(),
        partitions: partitions.into_iter().map(of).collect(),
    }
}
