//! Windows whose records do not commute: the result is a function of the input alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use support::windows::{SIZE, aggregated, shards, starts, windows};
use support::{Partition, Play, at, play};
use tiderace_operators::batch::Advance;
use tiderace_operators::dataflow::Epoch;
use tiderace_operators::fold::{Aggregation, Order};
use tiderace_operators::record::EventTime;

/// What arrives at one worker, by partition, key and timestamp, and whether an epoch ends behind it.
type Arrival = (usize, u8, i64, bool);

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let arrival = (0usize..3, 0u8..3, 0i64..60, prop::bool::weighted(0.3));
    prop::collection::vec(arrival, 0..40)
}

/// The same arrivals, those of each partition in their order, with the partitions mixed as `picks` says
/// and epochs cut as `cuts` says.
fn mixed(arrivals: &[Arrival], picks: &[usize], cuts: &[bool]) -> Vec<Arrival> {
    let mut left: Vec<Vec<_>> = (0..3)
        .map(|number| {
            let own = arrivals.iter().rev().filter(|arrival| arrival.0 == number);
            own.copied().collect()
        })
        .collect();
    let mut mixed = Vec::new();
    for (pick, cut) in picks.iter().cycle().zip(cuts.iter().cycle()) {
        left.retain(|partition| !partition.is_empty());
        if left.is_empty() {
            return mixed;
        }
        let partitions = left.len();
        let (number, key, timestamp, _) = left[pick % partitions].pop().unwrap();
        mixed.push((number, key, timestamp, *cut));
    }
    unreachable!("cycles have no end")
}

/// Plays arrivals on `workers` workers, each partition on the worker of its number. The value of a record
/// says where it comes from.
fn named_plays(arrivals: &[Arrival], workers: usize) -> Vec<Vec<Play<u8, String>>> {
    let mut partitions = [0, 1, 2].map(Partition::new);
    let mut plays = vec![Vec::new(); workers];
    let mut epoch = 1;
    for (number, key, timestamp, cut) in arrivals {
        let worker = number % workers;
        let mut record = partitions[*number].record(*key, *timestamp, String::new());
        record.value = format!("{number}.{} ", record.header.position.offset());
        let own = partitions.iter().skip(worker).step_by(workers);
        let time = own.map(|partition| partition.stream_time).min().unwrap();
        let mark = (u32::try_from(worker).unwrap(), Advance::Active(time));
        plays[worker].push(play(epoch, [record], [mark]));
        epoch += Epoch::from(*cut);
    }
    let largest = partitions.iter().map(|partition| partition.stream_time);
    let end = Advance::End(largest.max().unwrap());
    for (from, plays) in (0..).zip(&mut plays) {
        plays.push(play(epoch + 1, [], [(from, end)]));
    }
    plays
}

/// The records of each window and key in the canonical order: by partition, then offset.
fn kept(arrivals: &[Arrival], advance: i64) -> BTreeMap<(i64, u8), Vec<String>> {
    let mut kept = BTreeMap::<_, Vec<_>>::new();
    for partition in 0..3 {
        let (mut time, mut offset) = (EventTime::MIN, 0);
        let own = arrivals.iter().filter(|arrival| arrival.0 == partition);
        for (_, key, timestamp, _) in own {
            time = time.max(at(*timestamp));
            for start in starts(*timestamp, advance).filter(|start| at(start + SIZE) > time) {
                let name = format!("{partition}.{offset} ");
                kept.entry((start, *key)).or_default().push(name);
            }
            offset += 1;
        }
    }
    kept
}

fn concatenation() -> Aggregation<String, String> {
    let step = |so_far: Option<String>, next: String| so_far.unwrap_or_default() + &next;
    Aggregation::new(step, Order::Combine(Arc::new(|one, next| one + &next)))
}

/// Nests, so that it is not even associative.
fn nesting() -> Aggregation<String, String> {
    Aggregation::new(nest, Order::Keep)
}

fn nest(so_far: Option<String>, next: String) -> String {
    format!("({}{next})", so_far.unwrap_or_default())
}

/// Asserts that windows leave in order, each with what `fold` makes of its records in canonical order.
fn assert_folds_in_canonical_order(
    arrivals: &[Arrival],
    advance: i64,
    aggregation: Aggregation<String, String>,
    fold: impl Fn(Vec<String>) -> String,
) {
    let expected: Vec<_> = kept(arrivals, advance)
        .into_iter()
        .map(|((start, key), names)| (start, key, fold(names)))
        .collect();
    for workers in [1, 2] {
        let plays = named_plays(arrivals, workers);
        let outcome = aggregated(plays, workers, windows(advance, 0), aggregation.clone());
        let mut owner = shards(workers).router::<u8>();
        for worker in 0..workers {
            let own = expected.iter().filter(|(_, key, _)| owner(key) == worker);
            let rows = outcome.rows_on(worker).into_iter();
            let rows: Vec<_> = rows
                .map(|(_, start, key, value)| (start, key, value))
                .collect();
            assert_eq!(
                rows,
                own.cloned().collect::<Vec<_>>(),
                "of {workers} workers"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn partitions_are_combined_in_their_order_however_they_are_mixed_and_cut_into_epochs(
        arrivals in arrivals(),
        picks in prop::collection::vec(0usize..3, 1..40),
        cuts in prop::collection::vec(any::<bool>(), 1..40),
        advance in prop::sample::select(vec![SIZE, 4]),
    ) {
        for arrivals in [mixed(&arrivals, &picks, &cuts), arrivals] {
            assert_folds_in_canonical_order(&arrivals, advance, concatenation(), |names| names.concat());
        }
    }

    #[test]
    fn records_that_are_kept_are_folded_in_their_order_however_they_are_mixed_and_cut_into_epochs(
        arrivals in arrivals(),
        picks in prop::collection::vec(0usize..3, 1..40),
        cuts in prop::collection::vec(any::<bool>(), 1..40),
        advance in prop::sample::select(vec![SIZE, 4]),
    ) {
        let fold = |names: Vec<String>| {
            let nested = names.into_iter().fold(None, |so_far, name| Some(nest(so_far, name)));
            nested.expect("a window has records")
        };
        for arrivals in [mixed(&arrivals, &picks, &cuts), arrivals] {
            assert_folds_in_canonical_order(&arrivals, advance, nesting(), fold);
        }
    }
}
