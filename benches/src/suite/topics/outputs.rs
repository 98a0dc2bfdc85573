//! Whether sides wrote the same: what is compared of a topic does not depend on the order of its keys.

use std::hash::BuildHasher;
use std::ops::ControlFlow;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use tiderace::connect::TopicPartition;
use tiderace_pipelines::read::read_partition;

use super::place::Place;
use super::workload::Workload;
use crate::Failure;

/// What a topic comes to: how many records or keys, and the sum of their fingerprints. Which partition they lie in is
/// left out: Kafka Streams spreads windows over partitions, the others keep a zone's together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) records: u64,
    sum: u64,
}

impl Summary {
    fn add(&mut self, print: u64) {
        self.records += 1;
        self.sum = self.sum.wrapping_add(print);
    }
}

/// What of a workload's output is the same on all sides: all records, but of windows those that begin before
/// `closing`, and of updates the last of each key.
pub(super) fn summary(
    place: &Place,
    workload: Workload,
    topic: &str,
    closing: i64,
) -> Result<Summary, Failure> {
    let log = place.open()?;
    let description = log.topic(topic)?.ok_or("an output topic is gone")?;
    let hasher = FixedState::with_seed(7);
    let print = |key: &[u8], value: &[u8]| hasher.hash_one((key, value));
    let mut summary = Summary::default();
    for (partition, offsets) in (0..).zip(&description.partitions) {
        let mut last: HashMap<Vec<u8>, u64> = HashMap::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            if workload.updates() {
                last.insert(key.to_vec(), print(key, value));
            } else if workload != Workload::Windows || window_start(key) < closing {
                summary.add(print(key, value));
            }
        };
        let partition_of = TopicPartition::new(topic, partition);
        let read = read_partition(
            &*log,
            &partition_of,
            offsets.first,
            offsets.end,
            &|| true,
            &mut |batch, index| {
                let record = batch.get(index);
                visit(
                    record.key.unwrap_or_default(),
                    record.value.unwrap_or_default(),
                );
                ControlFlow::Continue(())
            },
        )?;
        debug_assert!(read.is_continue());
        for print in last.values() {
            summary.add(*print);
        }
    }
    if summary.records == 0 {
        return Err(format!("nothing was written to `{topic}`").into());
    }
    Ok(summary)
}

/// When the window of a key begins: the 8 bytes behind the zone's 4.
fn window_start(key: &[u8]) -> i64 {
    let start = key.get(4..12).and_then(|start| start.try_into().ok());
    start.map_or(i64::MIN, i64::from_be_bytes)
}
