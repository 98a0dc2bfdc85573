//! Whether sides wrote the same: what is compared of a topic does not depend on the order of its keys.

use std::hash::BuildHasher;
use std::ops::ControlFlow;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use tiderace::connect::TopicPartition;
use tiderace_pipelines::read::read_partition;

use super::place::Place;
use super::workload::Workload;
use crate::Failure;

/// What a topic comes to: how many records or keys, and the sum of their fingerprints. Which partition they lie in is
/// left out: Kafka Streams spreads windows over partitions, the others keep a zone's together.
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

#[cfg(test)]
mod tests {
    use tiderace::connect::SinkRecord;

    use super::*;

    type Sent<'a> = (u32, &'a [u8], u64);

    fn summary_of(workload: Workload, sent: &[Sent<'_>]) -> Result<Summary, Failure> {
        let folder = tempfile::tempdir()?;
        let place = Place {
            directory: folder.path().to_owned(),
            brokers: None,
        };
        place.create("out")?;
        let mut writer = place.open()?.writer("out")?;
        for (partition, key, value) in sent {
            writer.send(&SinkRecord {
                topic: "out",
                partition: *partition,
                timestamp: 1,
                key: Some(key),
                value: Some(&value.to_be_bytes()),
                headers: &[],
            })?;
        }
        writer.flush()?;
        summary(&place, workload, "out", 1_000)
    }

    #[test]
    fn other_records_are_seen_and_their_order_is_not() {
        let of = |sent: &[Sent<'_>]| summary_of(Workload::Filter, sent).unwrap();
        let one = of(&[(0, b"a", 1), (1, b"b", 2), (1, b"b", 2)]);
        assert_eq!(one, of(&[(1, b"b", 2), (2, b"a", 1), (3, b"b", 2)]));
        assert_eq!(one.records, 3);
        for other in [
            &[(0, &b"a"[..], 1), (1, b"b", 2)][..],
            &[(0, b"a", 1), (1, b"b", 2), (1, b"b", 3)],
            &[(0, b"a", 1), (1, b"b", 2), (1, b"c", 2)],
        ] {
            assert_ne!(one, of(other));
        }
        assert!(summary_of(Workload::Filter, &[]).is_err());
    }

    #[test]
    fn of_updates_the_last_of_each_key_counts() {
        let of = |sent: &[Sent<'_>]| summary_of(Workload::Counts, sent).unwrap();
        let one = of(&[(0, b"a", 1), (0, b"a", 2), (1, b"b", 1)]);
        assert_eq!(one, of(&[(0, b"a", 2), (1, b"b", 1)]));
        assert_ne!(one, of(&[(0, b"a", 2), (0, b"a", 1), (1, b"b", 1)]));
    }

    #[test]
    fn windows_of_closing_records_are_left_out() {
        let key = |start: i64| [&[0, 0, 0, 9], &start.to_be_bytes()[..]].concat();
        let (open, closed) = (key(1_000), key(999));
        let of = |sent: &[Sent<'_>]| summary_of(Workload::Windows, sent).unwrap();
        assert_eq!(
            of(&[(0, &closed, 5), (0, &open, 1)]),
            of(&[(0, &closed, 5)])
        );
    }
}
