//! Windows that are emitted once, when they are final.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use support::{Captured, Partition, Play, active, at, capture, play, run, script, tally};
use tiderace_operators::batch::{Advance, Mark};
use tiderace_operators::dataflow::{Epoch, Head, Routing};
use tiderace_operators::fold::{Aggregation, Order};
use tiderace_operators::key::Windowed;
use tiderace_operators::record::{EventTime, Record};
use tiderace_operators::shard::Shards;
use tiderace_operators::tally::{Counting, EpochTally, Ledger, Verdict};
use tiderace_operators::window::TimeWindows;
use tiderace_operators::window_aggregate::{WindowStep, aggregate_windows};

const SIZE: i64 = 10;

fn windows(advance: i64, grace: i64) -> TimeWindows {
    let millis = |number: i64| Duration::from_millis(u64::try_from(number).unwrap());
    TimeWindows::of_size(millis(SIZE))
        .advance_by(millis(advance))
        .grace(millis(grace))
}

fn shards(workers: usize) -> Shards {
    Shards::new(16, workers)
}

/// What a windowed aggregation made of its input.
struct Outcome<A> {
    results: Captured<Windowed<u8>, A>,
    late: Captured<(), ()>,
    ledger: Ledger,
}

/// Has each worker play its script into an aggregation over all of them with `senders` senders.
fn aggregated<V, A>(
    plays: Vec<Vec<Play<u8, V>>>,
    senders: usize,
    windows: TimeWindows,
    aggregation: Aggregation<V, A>,
) -> Outcome<A>
where
    V: Clone + Send + Sync + 'static,
    A: Clone + Send + Sync + 'static,
{
    let outcome = Outcome {
        results: Captured::default(),
        late: Captured::default(),
        ledger: Ledger::default(),
    };
    let (results, late, ledger) = (
        outcome.results.clone(),
        outcome.late.clone(),
        outcome.ledger.clone(),
    );
    let workers = plays.len();
    run(workers, move |index, scope| {
        let stream = script(scope, Routing::ByKey, plays[index].clone());
        let mut head = Head::new("windows", scope);
        let (emit, out) = head.port(Routing::Stay);
        let (emit_late, out_late) = head.port(Routing::Stay);
        let step = WindowStep {
            windows,
            aggregation: aggregation.clone(),
            senders,
            results: emit,
            late: Some(emit_late),
            tally: tally(&ledger, Counting::Once),
        };
        aggregate_windows(head, stream, Routing::ByKey, shards(workers), step);
        capture(scope, out, &results);
        capture(scope, out_late, &late);
    });
    outcome
}

fn count() -> Aggregation<(), u64> {
    Aggregation::new(|count, ()| count.unwrap_or(0) + 1, Order::Any)
}

/// A result: epoch, start of the window, key and value.
type Row<A> = (Epoch, i64, u8, A);

impl<A: Clone> Outcome<A> {
    fn rows_on(&self, worker: usize) -> Vec<Row<A>> {
        let row = |(epoch, record): (Epoch, Record<Windowed<u8>, A>)| {
            let Windowed { key, window } = record.key.unwrap();
            assert_eq!(window.end.as_millis() - window.start.as_millis(), SIZE);
            (epoch, window.start.as_millis(), key, record.value)
        };
        self.results
            .records_on(worker)
            .into_iter()
            .map(row)
            .collect()
    }

    /// What worker 0 says to those behind, less what holds them as silence does.
    fn marks(&self) -> Vec<(Epoch, Advance)> {
        let said = |(epoch, mark): (Epoch, Mark)| (epoch, mark.advance);
        let marks = self.results.marks_on(0).into_iter().map(said);
        marks
            .filter(|(_, advance)| *advance != Advance::Active(EventTime::MIN))
            .collect()
    }
}

/// Starts of the windows of a timestamp, by trying all there can be.
fn starts(timestamp: i64, advance: i64) -> impl Iterator<Item = i64> {
    (-400..400).filter(move |start| {
        start % advance == 0
            && (*start..start + SIZE).contains(&timestamp)
            && (timestamp < 0 || *start >= 0)
    })
}

/// What a worker does in an epoch: records by key and timestamp, and whether it is idle behind them.
type Share = (Vec<(u8, i64)>, bool);

fn shares(workers: usize) -> impl Strategy<Value = Vec<Vec<Share>>> {
    let records = prop::collection::vec((0u8..4, -30i64..90), 0..8);
    let share = (records, prop::bool::weighted(0.2));
    prop::collection::vec(prop::collection::vec(share, 0..6), workers)
}

/// Each worker reads the partition of its number, says after each epoch how far it has come, and last
/// that the input has ended.
fn counted_plays(shares: &[Vec<Share>]) -> Vec<Vec<Play<u8, ()>>> {
    let largest = shares.iter().flatten().flat_map(|(records, _)| records);
    let largest = largest
        .map(|(_, timestamp)| at(*timestamp))
        .max()
        .unwrap_or(EventTime::MIN);
    let last = 1 + shares.iter().map(Vec::len).max().unwrap() as Epoch;
    let of_worker = |(number, shares): (u32, &Vec<Share>)| {
        let mut partition = Partition::new(number);
        let mut plays = Vec::new();
        for (epoch, (records, idle)) in (1..).zip(shares) {
            let records: Vec<_> = records
                .iter()
                .map(|(key, timestamp)| partition.record(*key, *timestamp, ()))
                .collect();
            let time = partition.stream_time;
            let advance = if *idle {
                Advance::Idle(time)
            } else {
                Advance::Active(time)
            };
            plays.push(play(epoch, records, [(number, advance)]));
        }
        plays.push(play(last, [], [(number, Advance::End(largest))]));
        plays
    };
    (0..).zip(shares).map(of_worker).collect()
}

/// The watermark of what senders said last, as the documents have it.
fn watermark(said: &[Option<Advance>], held_back: i64) -> EventTime {
    if said.contains(&None) {
        return EventTime::MIN;
    }
    let active = said.iter().filter_map(|advance| match advance {
        Some(Advance::Active(time)) => Some(*time),
        _ => None,
    });
    let ended = said.iter().filter_map(|advance| match advance {
        Some(Advance::End(time)) => Some(time.saturating_add(held_back)),
        _ => None,
    });
    let idle = said.iter().filter_map(|advance| match advance {
        Some(Advance::Idle(time)) => Some(*time),
        _ => None,
    });
    active
        .min()
        .or(ended.max())
        .or(idle.max())
        .unwrap_or(EventTime::MIN)
}

/// Counts by a map: rows in the order in which they leave, and how many records were late.
fn counted(plays: &[Vec<Play<u8, ()>>], advance: i64, grace: i64) -> (Vec<Row<u64>>, Vec<u64>) {
    let last = plays[0].last().unwrap().epoch;
    let mut said = vec![None; plays.len()];
    let (mut now, mut open) = (EventTime::MIN, BTreeMap::new());
    let (mut rows, mut late) = (Vec::new(), Vec::new());
    for epoch in 1..=last {
        let of_epoch = plays.iter().flatten().filter(|play| play.epoch == epoch);
        late.push(0);
        for Play { records, marks, .. } in of_epoch {
            for record in records {
                let time = record.header.stream_time.max(now);
                let in_time: Vec<_> = starts(record.header.timestamp.as_millis(), advance)
                    .filter(|start| at(start + SIZE + grace) > time)
                    .collect();
                *late.last_mut().unwrap() += u64::from(in_time.is_empty());
                for start in in_time {
                    *open.entry((start, record.key.unwrap())).or_insert(0) += 1;
                }
            }
            for (from, advance) in marks {
                said[*from as usize] = Some(*advance);
            }
        }
        now = now.max(watermark(&said, SIZE + grace));
        while let Some(first) = open.first_entry()
            && at(first.key().0 + SIZE + grace) <= now
        {
            let ((start, key), count) = first.remove_entry();
            rows.push((epoch, start, key, count));
        }
    }
    assert!(open.is_empty(), "the end closes every window");
    (rows, late)
}

fn assert_counts_as_a_map_does(shares: &[Vec<Share>], advance: i64, grace: i64) {
    let plays = counted_plays(shares);
    let (rows, late) = counted(&plays, advance, grace);
    let records: u64 = shares.iter().flatten().map(|(of, _)| of.len() as u64).sum();
    let workers = shares.len();
    let outcome = aggregated(plays, workers, windows(advance, grace), count());
    let mut owner = shards(workers).router::<u8>();
    for worker in 0..workers {
        let own = rows.iter().filter(|(_, _, key, _)| owner(key) == worker);
        assert_eq!(outcome.rows_on(worker), own.cloned().collect::<Vec<_>>());
    }
    let mut processed = 0;
    for (epoch, late) in (1..).zip(&late) {
        let tally: EpochTally = outcome.ledger.take(epoch);
        assert_eq!(tally.count(Verdict::Late), *late, "epoch {epoch}");
        let closed = rows.iter().filter(|(of, ..)| *of == epoch).count();
        assert_eq!(tally.windows_closed, closed as u64, "epoch {epoch}");
        processed += tally.count(Verdict::Processed);
    }
    assert_eq!(processed + late.iter().sum::<u64>(), records);
}

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
    Aggregation::new(
        step,
        Order::Combine(std::sync::Arc::new(|one, next| one + &next)),
    )
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
    fn counts_leave_on_the_owner_in_the_epoch_and_order_that_a_map_gives(
        one in shares(1),
        two in shares(2),
        advance in prop::sample::select(vec![SIZE, 4]),
        grace in prop::sample::select(vec![0, 7]),
    ) {
        assert_counts_as_a_map_does(&one, advance, grace);
        assert_counts_as_a_map_does(&two, advance, grace);
    }

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

/// Counts on one worker what one partition delivers, while `senders` senders speak.
fn counted_alone(senders: usize, grace: i64, plays: Vec<Play<u8, ()>>) -> Outcome<u64> {
    aggregated(vec![plays], senders, windows(SIZE, grace), count())
}

#[test]
fn a_result_has_the_largest_timestamp_and_the_smallest_stream_time_of_its_records() {
    let (mut ahead, mut behind) = (Partition::new(0), Partition::new(1));
    let records = [
        ahead.record(7, 8, ()),
        behind.record(7, 3, ()),
        ahead.record(7, 2, ()),
    ];
    let end = Advance::End(at(8));
    let outcome = counted_alone(1, 0, vec![play(1, records, [(0, end)])]);
    let (epoch, result) = outcome.results.records_on(0).remove(0);
    assert_eq!((epoch, result.value), (1, 3));
    assert_eq!(result.header.timestamp, at(8));
    assert_eq!(result.header.stream_time, at(3));
    assert!(result.header.position.is_result());
}

#[test]
fn a_record_too_late_for_every_window_shows_as_its_header_and_one_without_a_key_is_skipped() {
    let mut partition = Partition::new(0);
    let mut keyless = partition.record(7, 0, ());
    keyless.key = None;
    let first = partition.record(7, 14, ());
    let in_grace = partition.record(7, 9, ());
    let at_the_end_of_grace = partition.record(7, 15, ());
    let late = partition.record(7, 9, ());
    let header = late.header;
    let records = [keyless, first, in_grace, at_the_end_of_grace, late];
    let outcome = counted_alone(
        1,
        5,
        vec![
            play(1, records, [(0, active(15))]),
            play(2, [], [(0, Advance::End(at(15)))]),
        ],
    );
    assert_eq!(outcome.rows_on(0), [(1, 0, 7, 1), (2, 10, 7, 2)]);
    let late = outcome.late.records_on(0);
    assert_eq!(late.len(), 1);
    assert_eq!((late[0].0, late[0].1.header), (1, header));
    let tally = outcome.ledger.take(1);
    let counts = [Verdict::Late, Verdict::Skipped, Verdict::Processed].map(|of| tally.count(of));
    assert_eq!(counts, [1, 1, 3]);
}

#[test]
fn a_record_behind_the_watermark_is_late_though_its_partition_has_not_come_so_far() {
    let (mut ahead, mut behind) = (Partition::new(0), Partition::new(1));
    let plays = vec![
        play(
            1,
            [ahead.record(7, 12, ())],
            [(0, active(12)), (1, Advance::Idle(at(i64::MIN)))],
        ),
        play(2, [behind.record(7, 9, ())], [(1, active(9))]),
        play(
            3,
            [],
            [(0, Advance::End(at(12))), (1, Advance::End(at(12)))],
        ),
    ];
    let outcome = counted_alone(2, 0, plays);
    assert_eq!(outcome.rows_on(0), [(3, 10, 7, 1)]);
    assert_eq!(outcome.ledger.take(2).count(Verdict::Late), 1);
}

#[test]
fn a_mark_takes_effect_at_the_end_of_its_epoch_wherever_it_stands_in_it() {
    let mut partition = Partition::new(0);
    let plays = vec![
        play(1, [partition.record(7, 1, ())], [(0, active(50))]),
        play(1, [partition.record(7, 2, ())], []),
        play(2, [], [(0, Advance::End(at(50)))]),
    ];
    assert_eq!(counted_alone(1, 0, plays).rows_on(0), [(1, 0, 7, 2)]);
}

#[test]
fn windows_stay_open_until_every_sender_has_spoken_and_all_that_are_active_have_passed_them() {
    let mut partition = Partition::new(0);
    let plays = vec![
        play(1, [partition.record(7, 5, ())], [(0, active(50))]),
        play(2, [], [(1, active(9))]),
        play(3, [], [(1, active(10))]),
    ];
    let outcome = counted_alone(2, 0, plays);
    assert_eq!(outcome.rows_on(0), [(3, 0, 7, 1)]);
    let held_back = [(2, active(9 - SIZE)), (3, active(10 - SIZE))];
    assert_eq!(outcome.marks(), held_back);
}

#[test]
fn senders_that_are_idle_or_have_no_partition_hold_no_window_open() {
    let mut partition = Partition::new(0);
    let plays = vec![
        play(1, [partition.record(7, 5, ())], [(0, active(50))]),
        play(2, [], [(1, active(3))]),
        play(3, [], [(2, Advance::Absent)]),
        play(4, [], [(1, Advance::Idle(at(3)))]),
    ];
    let outcome = counted_alone(3, 0, plays);
    assert_eq!(outcome.rows_on(0), [(4, 0, 7, 1)]);
    let held_back = [(3, active(3 - SIZE)), (4, active(50 - SIZE))];
    assert_eq!(outcome.marks(), held_back);
}

#[test]
fn when_all_are_idle_windows_close_up_to_the_largest_stream_time() {
    let mut partition = Partition::new(0);
    let records = [partition.record(7, 5, ()), partition.record(7, 12, ())];
    let idle = [(0, Advance::Idle(at(12))), (1, Advance::Idle(at(3)))];
    let outcome = counted_alone(2, 0, vec![play(1, records, idle)]);
    assert_eq!(outcome.rows_on(0), [(1, 0, 7, 1)]);
}

#[test]
fn the_end_closes_every_window_and_says_so_to_those_behind() {
    let mut partition = Partition::new(0);
    let records = [partition.record(7, 5, ()), partition.record(8, 99, ())];
    let plays = vec![
        play(1, records, [(0, active(99)), (1, Advance::Absent)]),
        play(2, [], [(0, Advance::End(at(99)))]),
    ];
    let outcome = counted_alone(2, 500, plays);
    assert_eq!(outcome.rows_on(0), [(2, 0, 7, 1), (2, 90, 8, 1)]);
    let said = [(1, active(99 - SIZE - 500)), (2, Advance::End(at(99)))];
    assert_eq!(outcome.marks(), said);
}

#[test]
fn where_nobody_has_a_partition_the_operator_says_that_it_has_none_either() {
    let absent = [(0, Advance::Absent), (1, Advance::Absent)];
    let outcome = counted_alone(2, 0, vec![play(1, [], absent)]);
    assert_eq!(outcome.marks(), [(1, Advance::Absent)]);
}
