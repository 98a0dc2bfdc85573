//! Running aggregations: tables that change at most once per key and epoch.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use proptest::prelude::*;
use support::table::{Changed, Maps, change};
use support::{Captured, Partition, Play, Solo, active, at, capture, play, run, script, tally};
use tiderace_operators::aggregate::{Change, RunningStep, aggregate};
use tiderace_operators::batch::Advance;
use tiderace_operators::dataflow::{Epoch, Head, Records, Routing};
use tiderace_operators::fold::{Aggregation, Order};
use tiderace_operators::handover::Handover;
use tiderace_operators::key::{Key, Windowed};
use tiderace_operators::record::{EventTime, Record};
use tiderace_operators::rows::Rows;
use tiderace_operators::shard::Shards;
use tiderace_operators::tally::{Counting, Ledger, Verdict};
use tiderace_operators::window::TimeWindows;
use timely::dataflow::Scope;

const SIZE: i64 = 10;

/// Where the changes of an aggregation go, the headers of late records, and its counts.
struct Outcome<G> {
    changes: Captured<G, Change<i64>>,
    late: Captured<(), ()>,
    ledger: Ledger,
}

impl<G> Default for Outcome<G> {
    fn default() -> Self {
        Outcome {
            changes: Captured::default(),
            late: Captured::default(),
            ledger: Ledger::default(),
        }
    }
}

impl<G> Clone for Outcome<G> {
    fn clone(&self) -> Self {
        Outcome {
            changes: self.changes.clone(),
            late: self.late.clone(),
            ledger: self.ledger.clone(),
        }
    }
}

type View<G> = std::rc::Rc<dyn tiderace_operators::store::StoreView<G, i64>>;

/// The aggregation of `stream`, with as many senders as there are workers.
fn aggregated<'s, G: Key>(
    scope: Scope<'s, Epoch>,
    stream: Records<'s, u8, i64>,
    rows: Rows<u8, G>,
    aggregation: Aggregation<i64, i64>,
    outcome: &Outcome<G>,
) -> View<G> {
    let mut head = Head::new("table", scope);
    let (changes, out) = head.port(Routing::Stay);
    let changes = head.emit(changes);
    let (late, out_late) = head.port(Routing::Stay);
    let late = head.emit(late);
    let step = RunningStep {
        aggregation,
        rows,
        same: |one, other| one == other,
        senders: scope.peers(),
        changes,
        late: Some(late),
        grouped: None,
        tally: tally(&outcome.ledger, Counting::Once),
    };
    let handover = Handover::none(Shards::new(16, scope.peers()));
    let view = aggregate(head, stream, Routing::ByKey, handover, step);
    capture(scope, out, &outcome.changes);
    capture(scope, out_late, &outcome.late);
    view
}

fn sum() -> Aggregation<i64, i64> {
    Aggregation::new(|sum, value: i64| sum.unwrap_or(0) + value, Order::Any)
}

/// The value of the last record: depends on the order, and often stays.
fn last() -> Aggregation<i64, i64> {
    Aggregation::new(|_, value| value, Order::Keep)
}

/// What a worker reads in an epoch: keys, timestamps and values.
type Share = Vec<(u8, i64, i64)>;

fn shares(workers: usize) -> impl Strategy<Value = Vec<Vec<Share>>> {
    let share = prop::collection::vec((0u8..4, 0i64..60, -1i64..2), 0..8);
    prop::collection::vec(prop::collection::vec(share, 6), workers)
}

/// Each worker reads two partitions, the later one first, so that records do not arrive by position.
fn plays_of(shares: &[Vec<Share>]) -> Vec<Vec<Play<u8, i64>>> {
    let of_worker = |(number, shares): (u32, &Vec<Share>)| {
        let mut partitions = [1, 0].map(|which| Partition::new(2 * number + which));
        let of_epoch = |(epoch, share): (Epoch, &Share)| {
            let mut records: [Vec<_>; 2] = Default::default();
            for (nth, (key, timestamp, value)) in share.iter().enumerate() {
                let record = partitions[nth % 2].record(*key, *timestamp, *value);
                records[nth % 2].push(record);
            }
            let time = partitions[0].stream_time.min(partitions[1].stream_time);
            play(epoch, records.concat(), [(number, Advance::Active(time))])
        };
        (1..).zip(shares).map(of_epoch).collect()
    };
    (0..).zip(shares).map(of_worker).collect()
}

/// The records of an epoch, of all workers.
fn records_of(
    plays: &[Vec<Play<u8, i64>>],
    epoch: Epoch,
) -> impl Iterator<Item = &Record<u8, i64>> {
    let plays = plays.iter().flatten();
    plays
        .filter(move |play| play.epoch == epoch)
        .flat_map(|play| &play.records)
}

fn assert_changes_as_maps_do(
    shares: &[Vec<Share>],
    aggregation: Aggregation<i64, i64>,
    step: fn(Option<i64>, i64) -> i64,
) {
    let plays = plays_of(shares);
    let mut maps = Maps::new();
    for epoch in 1..=6 {
        let row = |record: &Record<u8, i64>| (record.key.unwrap(), record.header, record.value);
        maps.epoch(epoch, records_of(&plays, epoch).map(row).collect(), step);
    }
    let outcome = Outcome::<u8>::default();
    let (workers, kept) = (plays.len(), outcome.clone());
    run(workers, move |index, scope| {
        let stream = script(scope, Routing::ByKey, plays[index].clone());
        aggregated(scope, stream, Rows::by_key(), aggregation.clone(), &kept);
    });
    let mut owner = Shards::new(16, workers).router::<u8>();
    for worker in 0..workers {
        let of_worker = |(_, record): &&Changed<u8>| owner(&record.key.unwrap()) == worker;
        let expected: Vec<_> = maps.changes.iter().filter(of_worker).cloned().collect();
        assert_eq!(outcome.changes.records_on(worker), expected);
    }
}

fn windows() -> TimeWindows {
    let millis = Duration::from_millis;
    TimeWindows::of_size(millis(10))
        .advance_by(millis(5))
        .grace(millis(3))
}

/// The windows of a record that are not final at `time`, by trying all there can be.
fn open_windows(record: &Record<u8, i64>, now: EventTime) -> Vec<Windowed<u8>> {
    let timestamp = record.header.timestamp.as_millis();
    let time = record.header.stream_time.max(now);
    (0..100)
        .map(|number| 5 * number)
        .filter(|start| (*start..start + SIZE).contains(&timestamp))
        .map(|start| windows().window(at(start)))
        .filter(|window| window.end.saturating_add(3) > time)
        .map(|window| Windowed {
            key: record.key.unwrap(),
            window,
        })
        .collect()
}

fn assert_windows_change_as_maps_do(
    shares: &[Vec<Share>],
    aggregation: Aggregation<i64, i64>,
    step: fn(Option<i64>, i64) -> i64,
) {
    let plays = plays_of(shares);
    let mut maps = Maps::new();
    let (mut now, mut late) = (EventTime::MIN, Vec::new());
    let mut closed = Vec::new();
    for (epoch, of_epoch) in (1..).zip(&plays[0]) {
        let mut records = Vec::new();
        for record in &of_epoch.records {
            let windows = open_windows(record, now);
            if windows.is_empty() {
                late.push((epoch, record.header));
            }
            records.extend(
                windows
                    .into_iter()
                    .map(|row| (row, record.header, record.value)),
            );
        }
        maps.epoch(epoch, records, step);
        if let Some((_, Advance::Active(time))) = of_epoch.marks.first() {
            now = now.max(*time);
        }
        let before = maps.rows.len();
        maps.rows
            .retain(|row, _| row.window.end.saturating_add(3) > now);
        closed.push((before - maps.rows.len()) as u64);
    }
    let (mut solo, outcome) = (Solo::new(), Outcome::default());
    let view = solo.dataflow(|scope| {
        let stream = script(scope, Routing::ByKey, plays[0].clone());
        aggregated(
            scope,
            stream,
            Rows::by_window(windows()),
            aggregation,
            &outcome,
        )
    });
    solo.finish();
    assert_eq!(outcome.changes.records_on(0), maps.changes);
    let headers = outcome.late.records_on(0).into_iter();
    let headers: Vec<_> = headers
        .map(|(epoch, record)| (epoch, record.header))
        .collect();
    assert_eq!(headers, late);
    let rows = maps.rows.into_iter().map(|(row, (value, _))| (row, value));
    assert_eq!(view.rows(), rows.collect::<Vec<_>>());
    for (epoch, closed) in (1..).zip(closed) {
        let tally = outcome.ledger.take(epoch);
        assert_eq!(tally.windows_closed, closed, "epoch {epoch}");
        let late = late.iter().filter(|(of, _)| *of == epoch).count();
        assert_eq!(tally.count(Verdict::Late), late as u64, "epoch {epoch}");
    }
}

fn adds(sum: Option<i64>, value: i64) -> i64 {
    sum.unwrap_or(0) + value
}

fn replaces(_: Option<i64>, value: i64) -> i64 {
    value
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_one_and_two_workers_the_changes_of_each_epoch_are_those_of_a_map(
        one in shares(1),
        two in shares(2),
    ) {
        for shares in [one, two] {
            assert_changes_as_maps_do(&shares, sum(), adds);
            assert_changes_as_maps_do(&shares, last(), replaces);
        }
    }

    #[test]
    fn updates_of_windows_late_records_and_rows_left_are_those_of_a_map(shares in shares(1)) {
        assert_windows_change_as_maps_do(&shares, sum(), adds);
        assert_windows_change_as_maps_do(&shares, last(), replaces);
    }
}

/// Plays a script into a table by key on one worker; returns epochs, keys and changes in their order.
fn changes(
    aggregation: Aggregation<i64, i64>,
    plays: Vec<Play<u8, i64>>,
) -> Vec<(Epoch, u8, Change<i64>)> {
    let (mut solo, outcome) = (Solo::new(), Outcome::default());
    solo.dataflow(|scope| {
        let stream = script(scope, Routing::Stay, plays);
        aggregated(scope, stream, Rows::by_key(), aggregation, &outcome);
    });
    solo.finish();
    let records = outcome.changes.records_on(0).into_iter();
    records
        .map(|(epoch, record)| (epoch, record.key.unwrap(), record.value))
        .collect()
}

#[test]
fn a_row_changes_once_an_epoch_from_its_value_before_to_its_value_behind_the_epoch() {
    let mut partition = Partition::new(0);
    let mut record = |key, value| partition.record(key, 0, value);
    let plays = vec![
        play(1, [record(7, 1), record(8, 10), record(7, 2)], []),
        play(1, [record(7, 3)], []),
        play(2, [record(7, 4)], []),
    ];
    let expected = [
        (1, 8, change(None, 10)),
        (1, 7, change(None, 6)),
        (2, 7, change(Some(6), 10)),
    ];
    assert_eq!(changes(sum(), plays), expected);
}

#[test]
fn a_value_that_stays_over_an_epoch_makes_no_change_and_a_new_row_always_does() {
    let mut partition = Partition::new(0);
    let mut record = |value| partition.record(7, 0, value);
    let plays = vec![
        play(1, [record(0)], []),
        play(2, [record(5), record(-5)], []),
        play(3, [record(0)], []),
        play(4, [record(1)], []),
    ];
    let expected = [(1, 7, change(None, 0)), (4, 7, change(Some(0), 1))];
    assert_eq!(changes(sum(), plays), expected);
}

#[test]
fn steps_that_do_not_commute_are_taken_by_position_and_not_by_arrival() {
    let (mut first, mut second) = (Partition::new(0), Partition::new(1));
    let plays = vec![
        play(1, [second.record(7, 0, 20)], []),
        play(1, [first.record(7, 0, 10)], []),
        play(2, [first.record(7, 0, 30)], []),
    ];
    let expected = [(1, 7, change(None, 20)), (2, 7, change(Some(20), 30))];
    assert_eq!(changes(last(), plays), expected);
}

#[test]
fn a_record_without_a_key_is_skipped() {
    let (mut solo, outcome) = (Solo::new(), Outcome::<u8>::default());
    let mut record = Partition::new(0).record(7, 0, 1);
    record.key = None;
    solo.dataflow(|scope| {
        let stream = script(scope, Routing::Stay, [play(1, [record], [])]);
        aggregated(scope, stream, Rows::by_key(), sum(), &outcome);
    });
    solo.finish();
    assert_eq!(outcome.changes.records_on(0), []);
    assert_eq!(outcome.ledger.take(1).count(Verdict::Skipped), 1);
}

/// The marks behind a table whose one sender says `advances`, an epoch each.
fn marks_behind<G: Key>(rows: Rows<u8, G>, advances: [Advance; 2]) -> Vec<(Epoch, Advance)> {
    let (mut solo, outcome) = (Solo::new(), Outcome::default());
    solo.dataflow(|scope| {
        let plays = (1..).zip(advances);
        let plays = plays.map(|(epoch, advance)| play(epoch, [], [(0, advance)]));
        let stream = script(scope, Routing::Stay, plays.collect::<Vec<_>>());
        aggregated(scope, stream, rows, sum(), &outcome);
    });
    solo.finish();
    let marks = outcome.changes.marks_on(0).into_iter();
    marks.map(|(epoch, mark)| (epoch, mark.advance)).collect()
}

#[test]
fn those_behind_a_table_hear_of_its_watermark_less_what_its_windows_hold_back() {
    let said = [active(50), Advance::End(at(60))];
    let end = (2, Advance::End(at(60)));
    assert_eq!(marks_behind(Rows::by_key(), said), [(1, active(50)), end]);
    let held_back = (1, active(50 - SIZE - 3));
    assert_eq!(
        marks_behind(Rows::by_window(windows()), said),
        [held_back, end]
    );
}
