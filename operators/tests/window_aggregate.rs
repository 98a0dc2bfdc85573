//! Windows that are emitted once, when they are final.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::windows::{
    Come, IN_GROUPS, Outcome, Row, SIZE, aggregated, aggregated_by, shards, starts, watermark,
    windows,
};
use support::{Partition, Play, active, at, play};
use tiderace_operators::batch::Advance;
use tiderace_operators::dataflow::Epoch;
use tiderace_operators::fold::{Aggregation, Count, Order};
use tiderace_operators::key::Windowed;
use tiderace_operators::record::EventTime;
use tiderace_operators::tally::{EpochTally, Verdict};

fn count() -> Aggregation<(), u64> {
    Aggregation::new(|count, ()| count.unwrap_or(0) + 1, Order::Any)
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
}

/// Counts on one worker what one partition delivers, while `senders` senders speak.
fn counted_alone(senders: usize, grace: i64, plays: Vec<Play<u8, ()>>) -> Outcome<u64> {
    let windows = windows(SIZE, grace);
    let outcome = aggregated(vec![plays.clone()], senders, windows, count());
    for come in IN_GROUPS {
        let in_groups = aggregated_by(come, vec![plays.clone()], senders, windows, Count);
        assert_eq!(in_groups.results.on(0), outcome.results.on(0), "{come:?}");
        if let Come::InGroups(_, true) = come {
            assert_eq!(in_groups.late.on(0), outcome.late.on(0), "{come:?}");
        }
    }
    outcome
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

#[test]
fn where_keys_hardly_come_twice_groups_are_single_records_and_none_is_lost() {
    let (mut partition, mut plays) = (Partition::new(0), Vec::new());
    let wide = |nth: u64| u32::try_from(nth * 7_919 % 15_000).unwrap();
    for epoch in 1..=3 {
        let record = |nth: u64| partition.record(wide(nth), SIZE * epoch + nth as i64 % SIZE, ());
        let records: Vec<_> = (0..20_000).map(record).collect();
        let end = Advance::End(at(SIZE * 4 - 1));
        let mark = if epoch == 3 {
            end
        } else {
            active(SIZE * epoch)
        };
        plays.push(play(epoch.unsigned_abs(), records, [(0, mark)]));
    }
    for come in IN_GROUPS {
        let windows = windows(SIZE, SIZE);
        let outcome = aggregated_by(come, vec![plays.clone()], 1, windows, Count);
        let mut counts = BTreeMap::new();
        for (_, record) in outcome.results.records_on(0) {
            let Windowed { key, window } = record.key.unwrap();
            let count = counts.insert((window.start.as_millis(), key), record.value);
            assert_eq!(count, None, "a window has one result a key");
        }
        assert_eq!(counts.len(), 45_000, "{come:?}");
        for (start, nth) in (1..=3).flat_map(|of| (0..15_000).map(move |nth| (of * SIZE, nth))) {
            let expected = if nth < 5_000 { 2 } else { 1 };
            assert_eq!(counts[&(start, wide(nth))], expected, "{come:?}");
        }
        let processed = (1..=3).map(|epoch| outcome.ledger.take(epoch).count(Verdict::Processed));
        assert_eq!(processed.sum::<u64>(), 60_000, "{come:?}");
    }
}
