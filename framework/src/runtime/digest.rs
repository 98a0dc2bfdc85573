//! The digest of what an epoch writes to a topic: over all of it in canonical order, which a replay must come to
//! whatever the number of partitions, and by partition, which can be told from the topic as it lies.
//!
//! A digest is the hash of its records' hashes ([`RecordHash`]).

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

use super::entry::{Digest, PartitionDigest};
use crate::topology::RecordHash;

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

/// The digest of a topic's records, given in canonical order, each by its partition and hash.
pub(crate) fn digest(records: impl Iterator<Item = (u32, RecordHash)>) -> Digest {
    let mut all = Sequence::default();
    let mut partitions: BTreeMap<u32, Sequence> = BTreeMap::new();
    for (partition, hash) in records {
        all.add(hash);
        partitions.entry(partition).or_default().add(hash);
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
