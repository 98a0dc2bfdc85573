//! The input of operator costs: pairs of a `u64` key, drawn evenly, and a moment, a millisecond behind the last one's.

use std::sync::Arc;

use tiderace::{Config, Topic};
use tiderace_testing::kills::Random;

use super::log::Input;
use super::records::{Pair, partition};
use crate::suite::Effort;

/// The topic.
pub(super) const PAIRS: Topic<u64, u64> = Topic::bytes("pairs");

/// Records of an epoch, and of a poll.
pub(super) const EPOCH: usize = 10_000;

/// When the first pair is: 2020-07-01, in milliseconds since 1970.
pub(super) const BEGIN: i64 = 1_593_561_600_000;

/// Records, if `usual` are many enough for ratios.
pub(super) fn many(effort: Effort, usual: usize) -> usize {
    match effort {
        Effort::Quick => usual / 20,
        Effort::Usual | Effort::Full => usual,
    }
}

/// Pairs with keys below `keys`.
pub(super) fn make(records: usize, keys: u64) -> Arc<Vec<Pair>> {
    let mut random = Random::new(4);
    let pair = |nth| Pair::new(random.number() % keys, BEGIN + nth as i64);
    Arc::new((0..records).map(pair).collect())
}

/// As [`make`], each pair at a moment up to `disorder` milliseconds, and so many records, before its turn.
pub(super) fn disordered(records: usize, keys: u64, disorder: u64) -> Arc<Vec<Pair>> {
    let mut random = Random::new(5);
    let pair = |nth| {
        let early = (random.number() % disorder) as i64;
        Pair::new(random.number() % keys, BEGIN + nth as i64 - early)
    };
    Arc::new((0..records).map(pair).collect())
}

/// The topic with one partition.
pub(super) fn input(pairs: &Arc<Vec<Pair>>) -> Input {
    Input {
        topic: PAIRS.name(),
        partitions: vec![partition(pairs)],
        poll: EPOCH,
    }
}

/// One worker, epochs of [`EPOCH`] records.
pub(super) fn config() -> Config {
    Config {
        epoch_records: EPOCH as u64,
        ..Config::default()
    }
}
