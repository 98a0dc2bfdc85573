//! The input: records made as they are read, so that nothing but state takes memory.
//!
//! Every key comes once, in no order, and then keys by chance.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tiderace::connect::{Header, RawRecord, RecordBatch};

use crate::suite::memory::records::Partition;

/// Coprime with every number of keys, which are of twos and fives: its multiples visit each key once.
const STRIDE: u64 = 982_451_653;

/// When the first record is: 2020-07-01, in milliseconds since 1970.
const BEGIN: i64 = 1_593_561_600_000;

/// What keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::suite) enum Kind {
    /// `u64`, eight bytes big-endian.
    Number,
    /// 21 bytes of text that end with the number.
    Text,
}

impl Kind {
    fn width(self) -> usize {
        match self {
            Kind::Number => 8,
            Kind::Text => 21,
        }
    }

    fn write(self, number: u64, to: &mut Vec<u8>) {
        match self {
            Kind::Number => to.extend_from_slice(&number.to_be_bytes()),
            Kind::Text => {
                let mut text = *b"customer-000000000000";
                let mut rest = number;
                for digit in text[9..].iter_mut().rev() {
                    *digit = b'0' + (rest % 10) as u8;
                    rest /= 10;
                }
                to.extend_from_slice(&text);
            }
        }
    }
}

/// A partition of records that are made when they are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) kind: Kind,
    pub(super) keys: u64,
    pub(super) records: usize,
}

impl Made {
    fn key(&self, nth: u64) -> u64 {
        if nth < self.keys {
            return nth * STRIDE % self.keys;
        }
        // SplitMix64.
        let mut mixed = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % self.keys
    }
}

impl Partition for Made {
    fn count(&self) -> usize {
        self.records
    }

    fn batch(&self, slot: usize, range: Range<usize>) -> Arc<dyn RecordBatch> {
        let mut bytes = Vec::with_capacity(range.len() * self.kind.width());
        for nth in range.clone() {
            self.kind.write(self.key(nth as u64), &mut bytes);
        }
        Arc::new(MadeBatch {
            slot,
            first: range.start,
            width: self.kind.width(),
            bytes,
        })
    }
}

struct MadeBatch {
    slot: usize,
    first: usize,
    width: usize,
    bytes: Vec<u8>,
}

impl RecordBatch for MadeBatch {
    fn slot(&self) -> usize {
        self.slot
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    #[inline]
    fn get(&self, index: usize) -> RawRecord<'_> {
        let offset = (self.first + index) as i64;
        RawRecord {
            offset,
            timestamp: BEGIN + offset,
            key: Some(&self.bytes[index * self.width..][..self.width]),
            value: Some(&[0; 8]),
        }
    }

    fn headers(&self, _: usize) -> Vec<Header> {
        Vec::new()
    }

    fn memory(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_comes_once_and_then_all_come_by_chance() {
        for (kind, keys) in [
            (Kind::Number, 10_000),
            (Kind::Text, 10_000),
            (Kind::Number, 20_000),
        ] {
            let made = Made {
                kind,
                keys,
                records: 60_000,
            };
            let of = |range: Range<usize>| -> Vec<Vec<u8>> {
                let batch = made.batch(0, range);
                (0..batch.len())
                    .map(|at| batch.get(at).key.unwrap().to_vec())
                    .collect()
            };
            let first: BTreeSet<_> = of(0..keys as usize).into_iter().collect();
            let rest: BTreeSet<_> = of(keys as usize..60_000).into_iter().collect();
            assert_eq!(first.len() as u64, keys);
            assert!(rest.is_subset(&first) && rest.len() as u64 > keys / 2);
            assert_eq!(of(7..9), [of(0..9)[7].clone(), of(0..9)[8].clone()]);
        }
    }

    #[test]
    fn text_ends_with_the_number() {
        let mut text = Vec::new();
        Kind::Text.write(4_321, &mut text);
        assert_eq!(text, b"customer-000000004321");
    }
}
