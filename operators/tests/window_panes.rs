//! Windows that overlap, put together from panes: each holds what a look at every record for every window finds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use support::windows::{Come, IN_GROUPS, aggregated_by, shards, watermark};
use support::{Partition, Play, at, play};
use tiderace_operators::batch::Advance;
use tiderace_operators::dataflow::Epoch;
use tiderace_operators::fold::{Aggregation, Count, Fold, Order};
use tiderace_operators::record::EventTime;
use tiderace_operators::tally::Verdict;
use tiderace_operators::window::TimeWindows;

/// Size, advance and grace in milliseconds.
type Shape = (i64, i64, i64);

fn windows((size, advance, grace): Shape) -> TimeWindows {
    let millis = |number: i64| Duration::from_millis(u64::try_from(number).unwrap());
    TimeWindows::of_size(millis(size))
        .advance_by(millis(advance))
        .grace(millis(grace))
}

fn shapes() -> impl Strategy<Value = Shape> {
    let sizes = [(10, 5), (10, 4), (12, 1), (30, 3), (41, 4), (9, 8), (60, 1)];
    let sizes = prop::sample::select(sizes.to_vec());
    let grace = prop::sample::select(vec![0, 3, 25]);
    (sizes, grace).prop_map(|((size, advance), grace)| (size, advance, grace))
}

/// An epoch of a partition: by how much time goes on, and records by key and how far they lie behind.
type Share = (i64, Vec<(u8, i64)>);

fn shares() -> impl Strategy<Value = Vec<Vec<Share>>> {
    let behind = prop_oneof![4 => 0i64..4, 2 => 0i64..20, 1 => 0i64..90];
    let records = prop::collection::vec((0u8..4, behind), 0..5);
    let goes_on = prop_oneof![8 => 0i64..6, 1 => 0i64..200];
    let partition = prop::collection::vec((goes_on, records), 1..30);
    prop::collection::vec(partition, 1..3)
}

/// Each worker reads the partition of its number; the value of a record is a number of its own.
fn plays(shares: &[Vec<Share>]) -> Vec<Vec<Play<u8, u32>>> {
    let (mut largest, mut next) = (EventTime::MIN, 0);
    let mut plays = Vec::new();
    for (number, shares) in (0..).zip(shares) {
        let (mut partition, mut time) = (Partition::new(number), -70);
        let mut own = Vec::new();
        for (epoch, (goes_on, records)) in (1..).zip(shares) {
            time += goes_on;
            let mut record = |(key, behind): &(u8, i64)| {
                next += 1;
                partition.record(*key, time - behind, next)
            };
            let records: Vec<_> = records.iter().map(&mut record).collect();
            let advance = Advance::Active(partition.stream_time);
            own.push(play(epoch, records, [(number, advance)]));
        }
        largest = largest.max(partition.stream_time);
        plays.push(own);
    }
    let last = 1 + plays.iter().map(Vec::len).max().unwrap() as Epoch;
    for (number, plays) in (0..).zip(&mut plays) {
        plays.push(play(last, [], [(number, Advance::End(largest))]));
    }
    plays
}

/// A result: its epoch, its window's start, its key, the numbers of its records, the largest timestamp and the smallest
/// stream time of these.
type Found = (Epoch, i64, u8, Vec<u32>, EventTime, EventTime);

/// Looks at every record for every window there can be. Returns what leaves, in its order, and how many are late.
fn found(plays: &[Vec<Play<u8, u32>>], (size, advance, grace): Shape) -> (Vec<Found>, u64) {
    let last = plays[0].last().unwrap().epoch;
    let (mut said, mut now, mut late) = (vec![None; plays.len()], EventTime::MIN, 0);
    let mut open = BTreeMap::<(i64, u8), (Vec<u32>, EventTime, EventTime)>::new();
    let mut left = Vec::new();
    for epoch in 1..=last {
        for Play { records, marks, .. } in plays.iter().flatten().filter(|it| it.epoch == epoch) {
            for record in records {
                let timestamp = record.header.timestamp.as_millis();
                let time = record.header.stream_time.max(now);
                let starts = (-400..9_000).filter(|start| {
                    start % advance == 0
                        && (*start..start + size).contains(&timestamp)
                        && (timestamp < 0 || *start >= 0)
                        && at(start + size + grace) > time
                });
                let starts: Vec<i64> = starts.collect();
                late += u64::from(starts.is_empty());
                for start in starts {
                    let none = (Vec::new(), EventTime::MIN, EventTime::MAX);
                    let key = (start, record.key.unwrap());
                    let (numbers, largest, smallest) = open.entry(key).or_insert(none);
                    numbers.push(record.value);
                    *largest = record.header.timestamp.max(*largest);
                    *smallest = record.header.stream_time.min(*smallest);
                }
            }
            for (from, advance) in marks {
                said[*from as usize] = Some(*advance);
            }
        }
        now = now.max(watermark(&said, size + grace));
        while let Some(first) = open.first_entry()
            && at(first.key().0 + size + grace) <= now
        {
            let ((start, key), (mut numbers, largest, smallest)) = first.remove_entry();
            numbers.sort_unstable();
            left.push((epoch, start, key, numbers, largest, smallest));
        }
    }
    assert!(open.is_empty(), "the end closes every window");
    (left, late)
}

/// The numbers of all records: in order, so that their order makes no difference.
fn numbers() -> Aggregation<u32, Vec<u32>> {
    let put_together = |mut one: Vec<u32>, next: Vec<u32>| {
        one.extend(next);
        one.sort_unstable();
        one
    };
    Aggregation::new(
        move |so_far: Option<Vec<u32>>, number| {
            put_together(so_far.unwrap_or_default(), vec![number])
        },
        Order::Groups(Arc::new(put_together)),
    )
}

fn assert_finds<F: Fold>(
    plays: Vec<Vec<Play<u8, F::Taken>>>,
    shape: Shape,
    aggregation: F,
    expected: (&[Found], u64),
    value: impl Fn(&[u32]) -> F::Value,
) where
    F::Value: PartialEq + Debug,
{
    for come in [Come::OneByOne].into_iter().chain(IN_GROUPS) {
        let (plays, aggregation) = (plays.clone(), aggregation.clone());
        assert_finds_by(come, plays, shape, aggregation, expected, &value);
    }
}

fn assert_finds_by<F: Fold>(
    come: Come,
    plays: Vec<Vec<Play<u8, F::Taken>>>,
    shape: Shape,
    aggregation: F,
    (expected, late): (&[Found], u64),
    value: impl Fn(&[u32]) -> F::Value,
) where
    F::Value: PartialEq + Debug,
{
    let (workers, last) = (plays.len(), plays[0].last().unwrap().epoch);
    let records = plays.iter().flatten().map(|play| play.records.len() as u64);
    let records: u64 = records.sum();
    let outcome = aggregated_by(come, plays, workers, windows(shape), aggregation);
    let mut owner = shards(workers).router::<u8>();
    for worker in 0..workers {
        let own = expected
            .iter()
            .filter(|(_, _, key, ..)| owner(key) == worker);
        let own = own.map(|(epoch, start, key, numbers, largest, smallest)| {
            (*epoch, *start, *key, value(numbers), *largest, *smallest)
        });
        let results = outcome.results.records_on(worker).into_iter();
        let results = results.map(|(epoch, record)| {
            let of = record.key.unwrap();
            let start = of.window.start.as_millis();
            assert_eq!(of.window.end, at(start + shape.0));
            let header = record.header;
            (
                epoch,
                start,
                of.key,
                record.value,
                header.timestamp,
                header.stream_time,
            )
        });
        assert_eq!(
            results.collect::<Vec<_>>(),
            own.collect::<Vec<_>>(),
            "{shape:?} {come:?}"
        );
    }
    if matches!(come, Come::OneByOne | Come::InGroups(_, true)) {
        let late_on = |worker| outcome.late.records_on(worker).len() as u64;
        assert_eq!((0..workers).map(late_on).sum::<u64>(), late, "{come:?}");
    }
    let mut counts = [0; 3];
    for epoch in 1..=last {
        let tally = outcome.ledger.take(epoch);
        let closed = expected.iter().filter(|(of, ..)| *of == epoch).count();
        assert_eq!(tally.windows_closed, closed as u64, "epoch {epoch}");
        counts[0] += tally.count(Verdict::Processed);
        counts[1] += tally.count(Verdict::Late);
        counts[2] += tally.nodes.values().map(|node| node.results).sum::<u64>();
    }
    assert_eq!(counts, [records - late, late, expected.len() as u64]);
}

fn valueless(plays: &[Vec<Play<u8, u32>>]) -> Vec<Vec<Play<u8, ()>>> {
    let of = |it: &Play<u8, u32>| {
        let records = it
            .records
            .iter()
            .map(|record| tiderace_operators::record::Record {
                header: record.header,
                extra: None,
                key: record.key,
                value: (),
            });
        play(it.epoch, records, it.marks.clone())
    };
    let of_worker = |plays: &Vec<Play<u8, u32>>| plays.iter().map(of).collect();
    plays.iter().map(of_worker).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_window_holds_the_records_that_are_in_time_for_it(shares in shares(), shape in shapes()) {
        let plays = plays(&shares);
        let (expected, late) = found(&plays, shape);
        let expected = (&expected[..], late);
        assert_finds(valueless(&plays), shape, Count, expected, |numbers| numbers.len() as u64);
        assert_finds(plays, shape, numbers(), expected, <[u32]>::to_vec);
    }
}
