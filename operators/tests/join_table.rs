//! The join of a stream with a table that every worker sees.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use support::{
    Captured, Hand, Partition, Play, Seen, Solo, active, capture, play, run, script, source, tally,
};
use tiderace_operators::dataflow::{Epoch, Head, Records, Routing};
use tiderace_operators::handover::Handover;
use tiderace_operators::join_table::{GlobalTable, join_table, joiner, keep_table};
use tiderace_operators::record::Record;
use tiderace_operators::shard::Shards;
use tiderace_operators::store::StoreView;
use tiderace_operators::tally::{Counting, Ledger, Verdict};
use timely::dataflow::Scope;

type Table = GlobalTable<u8, u32>;
/// A record's value and the row it met.
type Joined = (u32, Option<u32>);

fn table() -> Table {
    GlobalTable::new(Arc::default())
}

/// The join of `stream` by its own keys with what `rows` say.
fn join<'s>(
    scope: Scope<'s, Epoch>,
    stream: Records<'s, u8, u32>,
    rows: Records<'s, u8, Option<u32>>,
    table: &Table,
    ledger: &Ledger,
    only_matches: bool,
) -> Records<'s, u8, Joined> {
    let mut keeper = Head::new("table", scope);
    let progress = keeper.progress();
    let handover = Handover::none(Shards::new(16, scope.peers()));
    keep_table(keeper, rows, table.clone(), handover);
    let mut head = Head::new("join", scope);
    let (results, out) = head.port(Routing::Stay);
    let results = head.emit(results);
    let tally = tally(ledger, Counting::Once);
    head.counts(&tally);
    let matched = move |_: Option<&u8>, value, row: Option<&u32>| {
        (row.is_some() || !only_matches).then_some((value, row.copied()))
    };
    let with = joiner(
        |key: Option<&u8>, _: &u32| key.copied(),
        matched,
        results,
        tally,
    );
    join_table(head, stream, progress, table.clone(), with);
    out
}

/// A join on one worker, played by hand.
struct Join {
    solo: Solo,
    records: Hand<u8, u32>,
    rows: Hand<u8, Option<u32>>,
    captured: Captured<u8, Joined>,
}

impl Join {
    fn new(table: &Table, ledger: &Ledger, only_matches: bool) -> Self {
        let (mut solo, captured) = (Solo::new(), Captured::default());
        let (records, rows) = solo.dataflow(|scope| {
            let (records, stream) = source(scope, Routing::Stay);
            let (rows, updates) = source(scope, Routing::Stay);
            let out = join(scope, stream, updates, table, ledger, only_matches);
            capture(scope, out, &captured);
            (records, rows)
        });
        Join {
            solo,
            records,
            rows,
            captured,
        }
    }

    fn record(&mut self, play: Play<u8, u32>) {
        self.records.play(play);
        self.solo.settle();
    }

    fn update(&mut self, play: Play<u8, Option<u32>>) {
        self.rows.play(play);
        self.solo.settle();
    }

    fn joined(&self) -> Vec<(Epoch, Joined)> {
        let records = self.captured.records_on(0).into_iter();
        records
            .map(|(epoch, record)| (epoch, record.value))
            .collect()
    }

    fn end(&mut self) {
        self.records.end();
        self.rows.end();
        self.solo.finish();
    }
}

#[test]
fn records_meet_their_epochs_own_updates_and_not_those_of_later_epochs_that_came_before_them() {
    let (mut stream, mut topic) = (Partition::new(0), Partition::new(1));
    let mut join = Join::new(&table(), &Ledger::default(), false);
    join.update(play(1, [topic.record(7, 0, Some(100))], []));
    join.update(play(2, [topic.record(7, 0, Some(200))], []));
    join.update(play(3, [topic.record(7, 0, None)], []));
    join.update(play(4, [], []));
    join.record(play(
        1,
        [stream.record(7, 0, 1), stream.record(8, 0, 2)],
        [],
    ));
    assert_eq!(join.joined(), [(1, (1, Some(100))), (1, (2, None))]);
    join.record(play(2, [stream.record(7, 0, 3)], []));
    join.record(play(3, [stream.record(7, 0, 4)], []));
    assert_eq!(join.joined()[2..], [(2, (3, Some(200))), (3, (4, None))]);
    join.end();
}

#[test]
fn records_wait_until_the_table_is_complete_for_their_epoch() {
    let (mut stream, mut topic) = (Partition::new(0), Partition::new(1));
    let mut join = Join::new(&table(), &Ledger::default(), false);
    join.record(play(1, [stream.record(7, 0, 1)], [(0, active(5))]));
    join.record(play(2, [stream.record(7, 0, 2)], []));
    join.update(play(1, [topic.record(7, 0, Some(100))], []));
    assert_eq!(join.joined(), [], "more updates of epoch 1 may come");
    join.update(play(1, [topic.record(7, 0, Some(101))], []));
    join.update(play(2, [], []));
    assert_eq!(join.joined(), [(1, (1, Some(101)))]);
    join.update(play(3, [], []));
    assert_eq!(join.joined()[1..], [(2, (2, Some(101)))]);
    join.end();
}

#[test]
fn the_marks_of_the_stream_pass_behind_the_records_and_those_of_the_table_do_not() {
    let (mut stream, mut topic) = (Partition::new(0), Partition::new(1));
    let mut join = Join::new(&table(), &Ledger::default(), false);
    join.update(play(1, [topic.record(7, 0, Some(1))], [(0, active(99))]));
    join.record(play(1, [stream.record(7, 0, 1)], [(0, active(5))]));
    join.record(play(1, [stream.record(7, 0, 2)], []));
    join.end();
    let seen = join.captured.on(0);
    let kinds: Vec<_> = seen
        .iter()
        .map(|(_, seen)| match seen {
            Seen::Record(record) => Ok(record.value.0),
            Seen::Mark(mark) => Err((mark.from, mark.advance)),
        })
        .collect();
    assert_eq!(kinds, [Ok(1), Err((0, active(5))), Ok(2)]);
}

#[test]
fn a_record_that_the_joiner_leaves_out_counts_as_filtered_in_its_epoch() {
    let (mut stream, mut topic) = (Partition::new(0), Partition::new(1));
    let ledger = Ledger::default();
    let mut join = Join::new(&table(), &ledger, true);
    join.update(play(2, [topic.record(7, 0, Some(100))], []));
    join.record(play(1, [stream.record(7, 0, 1)], []));
    join.record(play(
        2,
        [stream.record(7, 0, 2), stream.record(8, 0, 3)],
        [],
    ));
    join.end();
    assert_eq!(join.joined(), [(2, (2, Some(100)))]);
    let filtered = |epoch| ledger.take(epoch).count(Verdict::Filtered);
    assert_eq!([filtered(1), filtered(2), filtered(3)], [1, 1, 0]);
}

#[test]
fn of_an_epochs_updates_of_a_row_the_one_with_the_last_position_holds_however_they_came() {
    let (mut first, mut second) = (Partition::new(1), Partition::new(2));
    let (table, ledger) = (table(), Ledger::default());
    let mut join = Join::new(&table, &ledger, false);
    join.update(play(1, [second.record(7, 0, Some(20))], []));
    join.update(play(1, [first.record(7, 0, Some(10))], []));
    join.record(play(1, [Partition::new(0).record(7, 0, 1)], []));
    join.end();
    assert_eq!(join.joined(), [(1, (1, Some(20)))]);
    assert_eq!(table.rows(), [(7, 20)]);
}

#[test]
fn epochs_in_flight_see_their_rows_after_versions_of_settled_epochs_were_given_up() {
    let (mut stream, mut topic) = (Partition::new(0), Partition::new(1));
    let settled = Arc::new(AtomicU64::new(0));
    let table = GlobalTable::new(Arc::clone(&settled));
    let mut join = Join::new(&table, &Ledger::default(), false);
    let mut row = |epoch: Epoch| {
        let value = u32::try_from(epoch).unwrap();
        play(epoch, [topic.record(7, 0, Some(value))], [])
    };
    (1..=4).for_each(|epoch| join.update(row(epoch)));
    join.record(play(1, [stream.record(7, 0, 0)], []));
    join.record(play(3, [], []));
    settled.store(2, Ordering::Relaxed);
    (5..=7).for_each(|epoch| join.update(row(epoch)));
    let view = table.view(1);
    assert_eq!(view.get(&7), None, "what only epoch 1 could read is gone");
    drop(view);
    for epoch in 3..=6 {
        join.record(play(epoch, [stream.record(7, 0, 0)], []));
    }
    join.end();
    let met: Vec<_> = join
        .joined()
        .iter()
        .map(|(epoch, (_, row))| (*epoch, *row))
        .collect();
    let own = [1, 3, 4, 5, 6].map(|epoch: u32| (Epoch::from(epoch), Some(epoch)));
    assert_eq!(met, own);
}

const WORKERS: usize = 2;
const EPOCHS: usize = 5;

/// What one worker reads in an epoch: updates of rows, and keys of records.
type Share = (Vec<(u8, Option<u32>)>, Vec<u8>);

fn shares() -> impl Strategy<Value = Vec<Vec<Share>>> {
    let updates = prop::collection::vec((0u8..4, prop::option::weighted(0.8, 0u32..1000)), 0..4);
    let share = (updates, prop::collection::vec(0u8..4, 0..4));
    prop::collection::vec(prop::collection::vec(share, EPOCHS), WORKERS)
}

/// The records of a worker's share of each epoch.
fn epochs<T, V>(
    number: u32,
    shares: &[Share],
    of: impl Fn(&Share) -> &Vec<T>,
    entry: impl Fn(&T) -> (u8, V),
) -> Vec<Play<u8, V>> {
    let mut partition = Partition::new(number);
    let mut record = |item: &T| -> Record<u8, V> {
        let (key, value) = entry(item);
        partition.record(key, 0, value)
    };
    (1..)
        .zip(shares)
        .map(|(epoch, share)| play(epoch, of(share).iter().map(&mut record), []))
        .collect()
}

/// What each worker's records meet, by a map.
fn expected(shares: &[Vec<Share>]) -> Vec<Vec<(Epoch, Joined)>> {
    let mut rows = BTreeMap::new();
    let mut met = vec![Vec::new(); WORKERS];
    for epoch in 0..EPOCHS {
        for (key, value) in shares.iter().flat_map(|of_worker| &of_worker[epoch].0) {
            rows.insert(*key, *value);
        }
        for (met, of_worker) in met.iter_mut().zip(shares) {
            for key in &of_worker[epoch].1 {
                let row = rows.get(key).copied().flatten();
                met.push((epoch as Epoch + 1, (u32::from(*key), row)));
            }
        }
    }
    met
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_every_worker_a_record_meets_the_rows_of_all_workers_as_of_its_epoch(shares in shares()) {
        let expected = expected(&shares);
        let captured = Captured::default();
        let (kept, table) = (captured.clone(), table());
        run(WORKERS, move |index, scope| {
            let number = u32::try_from(index).unwrap();
            let of_worker = &shares[index];
            let records = epochs(number, of_worker, |share| &share.1, |key| (*key, u32::from(*key)));
            let rows = epochs(number + 10, of_worker, |share| &share.0, |row| *row);
            let stream = script(scope, Routing::Stay, records);
            let updates = script(scope, Routing::Stay, rows);
            let ledger = Ledger::default();
            capture(scope, join(scope, stream, updates, &table, &ledger, false), &kept);
        });
        for (worker, expected) in expected.iter().enumerate() {
            let records = captured.records_on(worker).into_iter();
            let met: Vec<_> = records.map(|(epoch, record)| (epoch, record.value)).collect();
            prop_assert_eq!(&met, expected);
        }
    }
}
