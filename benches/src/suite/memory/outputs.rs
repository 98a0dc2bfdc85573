//! What was written to a topic in memory, and whether two sides wrote the same.

use std::hash::BuildHasher;
use std::time::Instant;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use tiderace::connect::SinkRecord;

/// The length that stands for null.
const NULL: u32 = u32::MAX;

/// Records one behind the other, as a log holds them: lengths of key and value, the timestamp, key, value.
#[derive(Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    records: u64,
    /// When it became visible.
    pub(super) at: Option<Instant>,
}

impl Chunk {
    /// One that has room for as much as another took.
    pub(super) fn like(other: &Chunk) -> Self {
        Chunk {
            bytes: Vec::with_capacity(other.bytes.len()),
            records: 0,
            at: None,
        }
    }

    /// The largest timestamp of its records.
    pub(super) fn latest(&self) -> Option<i64> {
        let mut latest = None;
        self.visit(|_, _, timestamp| latest = latest.max(Some(timestamp)));
        latest
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    #[inline]
    pub(super) fn push(&mut self, record: &SinkRecord<'_>) {
        let length = |part: Option<&[u8]>| part.map_or(NULL, |part| part.len() as u32);
        let mut head = [0; 16];
        head[..4].copy_from_slice(&length(record.key).to_le_bytes());
        head[4..8].copy_from_slice(&length(record.value).to_le_bytes());
        head[8..].copy_from_slice(&record.timestamp.to_le_bytes());
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(record.key.unwrap_or_default());
        self.bytes
            .extend_from_slice(record.value.unwrap_or_default());
        self.records += 1;
    }

    /// Shows every record: key, value, timestamp.
    fn visit(&self, mut each: impl FnMut(Option<&[u8]>, Option<&[u8]>, i64)) {
        let mut rest = &self.bytes[..];
        while let Some((head, tail)) = rest.split_first_chunk::<16>() {
            let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|of| head[at + of]));
            let time = i64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|of| head[8 + of]));
            let (key, behind) = part(word(0), tail);
            let (value, behind) = part(word(4), behind);
            each(key, value, time);
            rest = behind;
        }
    }
}

/// A key or value of this length, and what is behind it.
fn part(length: u32, from: &[u8]) -> (Option<&[u8]>, &[u8]) {
    if length == NULL {
        return (None, from);
    }
    let (part, behind) = from.split_at(length as usize);
    (Some(part), behind)
}

/// What of an output is the same on all sides.
#[derive(Clone, Copy, Debug)]
pub(super) enum Same {
    /// Every record, in any order.
    All,
    /// The last value of every key: how many go out before it depends on when epochs end.
    LastOfKey,
    /// The same with its timestamp.
    LastOfKeyInTime,
}

/// What an output comes to: how many records, or keys, and the sum of their fingerprints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) records: u64,
    sum: u64,
}

impl Summary {
    fn add(&mut self, print: u64) {
        self.records += 1;
        self.sum = self.sum.wrapping_add(print);
    }

    pub(super) fn of(chunks: &[Chunk], same: Same) -> Self {
        let hasher = FixedState::with_seed(7);
        let mut summary = Summary::default();
        let mut last: HashMap<Vec<u8>, u64> = HashMap::new();
        for chunk in chunks {
            chunk.visit(|key, value, timestamp| match same {
                Same::All => summary.add(hasher.hash_one((key, value, timestamp))),
                Same::LastOfKey | Same::LastOfKeyInTime => {
                    let time = matches!(same, Same::LastOfKeyInTime).then_some(timestamp);
                    let print = hasher.hash_one((key, value, time));
                    last.insert(key.unwrap_or_default().to_vec(), print);
                }
            });
        }
        last.values().for_each(|print| summary.add(*print));
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key, value and timestamp.
    type Sent<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, i64);

    fn chunk(records: &[Sent<'_>]) -> Chunk {
        let mut chunk = Chunk::default();
        for (key, value, timestamp) in records {
            chunk.push(&SinkRecord {
                topic: "any",
                partition: 0,
                timestamp: *timestamp,
                key: *key,
                value: *value,
                headers: &[],
            });
        }
        chunk
    }

    #[test]
    fn a_chunk_gives_back_what_it_was_given() {
        let records = [
            (Some(&b"key"[..]), Some(&b"value"[..]), 7),
            (None, Some(&b""[..]), -1),
            (Some(&b""[..]), None, i64::MAX),
        ];
        let chunk = chunk(&records);
        let mut seen = Vec::new();
        chunk.visit(|key, value, timestamp| {
            seen.push((
                key.map(<[u8]>::to_vec),
                value.map(<[u8]>::to_vec),
                timestamp,
            ));
        });
        let expected = records.map(|(key, value, timestamp)| {
            (
                key.map(<[u8]>::to_vec),
                value.map(<[u8]>::to_vec),
                timestamp,
            )
        });
        assert_eq!(seen, expected);
        assert_eq!(chunk.records(), 3);
    }

    #[test]
    fn a_summary_takes_records_in_any_order_and_misses_none() {
        let (a, b) = (
            (Some(&b"a"[..]), Some(&b"1"[..]), 1),
            (Some(&b"b"[..]), Some(&b"1"[..]), 1),
        );
        let of = |records: &[_], same| Summary::of(&[chunk(records)], same);
        assert_eq!(of(&[a, b], Same::All), of(&[b, a], Same::All));
        assert_ne!(of(&[a, b], Same::All), of(&[a, a], Same::All));
        assert_ne!(of(&[a], Same::All), of(&[(a.0, a.1, 2)], Same::All));
        let later = (a.0, Some(&b"2"[..]), 2);
        assert_eq!(
            of(&[a, b, later], Same::LastOfKey),
            of(&[later, b], Same::LastOfKey)
        );
        assert_ne!(
            of(&[a, b], Same::LastOfKey),
            of(&[later, b], Same::LastOfKey)
        );
        let same_later = (a.0, a.1, 2);
        assert_eq!(
            of(&[a], Same::LastOfKey),
            of(&[same_later], Same::LastOfKey)
        );
        assert_ne!(
            of(&[a], Same::LastOfKeyInTime),
            of(&[same_later], Same::LastOfKeyInTime)
        );
    }
}
