//! State handed over at the close of any epoch and given back to a new dataflow, of any number of workers, goes on
//! as if nothing had happened: the same results, changes, late records, counts and marks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use support::keeper::{MemoryKeeper, SHARDS, STEP, Snapshot};
use support::{Captured, Partition, Play, capture, play, run, script, tally};
use tiderace_operators::aggregate::{Change, RunningStep, aggregate};
use tiderace_operators::batch::Advance;
use tiderace_operators::dataflow::{Epoch, Head, Records, Routing};
use tiderace_operators::fold::{Aggregation, Order};
use tiderace_operators::handover::Handover;
use tiderace_operators::join_table::{GlobalTable, join_table, joiner, keep_table};
use tiderace_operators::key::{Key, Windowed};
use tiderace_operators::record::{EventTime, Record};
use tiderace_operators::rows::Rows;
use tiderace_operators::shard::Shards;
use tiderace_operators::tally::{Counting, Ledger, Verdict};
use tiderace_operators::window::TimeWindows;
use tiderace_operators::window_aggregate::{OneByOne, WindowStep, aggregate_windows};
use timely::dataflow::Scope;

/// `None` and `Some("")` have the same bytes in a topic, and must not become one key in a snapshot.
type Name = Option<String>;

const PARTITIONS: usize = 4;
const EPOCHS: usize = 6;

/// What an epoch reads from a partition: names, timestamps and values; and whether it is idle behind them.
type Share = (Vec<(u8, i64, i8)>, bool);

fn shares() -> impl Strategy<Value = Vec<Vec<Share>>> {
    let records = prop::collection::vec((0u8..5, -20i64..80, -3i8..4), 0..5);
    let share = (records, prop::bool::weighted(0.2));
    let epoch = prop::collection::vec(share, PARTITIONS);
    prop::collection::vec(epoch, EPOCHS)
}

fn name(number: u8) -> Name {
    [None, Some(""), Some("a"), Some("b"), Some("zöne")][usize::from(number)].map(str::to_owned)
}

/// What each worker plays behind epoch `behind`, partitions in reverse so that records do not come by position. The
/// last epoch ends the input.
fn plays(shares: &[Vec<Share>], workers: usize, behind: Epoch) -> Vec<Vec<Play<Name, f64>>> {
    let mut partitions: Vec<_> = (0..PARTITIONS as u32).map(Partition::new).collect();
    let mut plays = vec![Vec::new(); workers];
    let mut largest = EventTime::MIN;
    for (epoch, shares) in (1..).zip(shares) {
        let mut records = vec![Vec::new(); workers];
        let mut said = vec![Vec::new(); workers];
        for (number, (share, idle)) in shares.iter().enumerate().rev() {
            let partition = &mut partitions[number];
            for (key, timestamp, value) in share {
                let value = f64::from(*value) + 0.1;
                records[number % workers].push(partition.record(name(*key), *timestamp, value));
            }
            largest = largest.max(partition.stream_time);
            said[number % workers].push((partition.stream_time, *idle));
        }
        for (worker, (records, said)) in records.into_iter().zip(said).enumerate() {
            let active = said.iter().filter(|(_, idle)| !idle).map(|(time, _)| *time);
            let advance = match (active.min(), said.iter().map(|(time, _)| *time).max()) {
                (Some(least), _) => Advance::Active(least),
                (None, Some(largest)) => Advance::Idle(largest),
                (None, None) => Advance::Absent,
            };
            if epoch > behind {
                plays[worker].push(play(epoch, records, [(worker as u32, advance)]));
            }
        }
    }
    for (worker, plays) in plays.iter_mut().enumerate() {
        let end = [(worker as u32, Advance::End(largest))];
        plays.push(play(LAST, [], end));
    }
    plays
}

const LAST: Epoch = EPOCHS as Epoch + 1;

/// An operator with state.
#[derive(Clone, Copy, Debug)]
enum Kind {
    OnClose(TimeWindows),
    ByKey,
    ByWindow(TimeWindows),
    Joined,
}

#[derive(Clone, Copy, Debug)]
enum Folding {
    Any,
    Groups,
    Combine,
    Keep,
}

/// Depends on the order of the values, unless it may not.
fn aggregation(folding: Folding) -> Aggregation<f64, f64> {
    let blend =
        |so_far: Option<f64>, value: f64| so_far.map_or(value, |so_far| so_far / 3.0 + value);
    match folding {
        Folding::Any => Aggregation::new(
            |count: Option<f64>, _| count.unwrap_or(0.0) + 1.0,
            Order::Any,
        ),
        Folding::Groups => Aggregation::new(
            |sum: Option<f64>, value: f64| sum.unwrap_or(0.0) + value.floor(),
            Order::Groups(Arc::new(|one, next| one + next)),
        ),
        Folding::Combine => Aggregation::new(
            blend,
            Order::Combine(Arc::new(|one, next| one / 7.0 - next)),
        ),
        Folding::Keep => Aggregation::new(blend, Order::Keep),
    }
}

/// What came out of a dataflow, whatever the operator.
#[derive(Clone, Default)]
struct Out {
    closed: Captured<Windowed<Name>, f64>,
    by_key: Captured<Name, Change<f64>>,
    by_window: Captured<Windowed<Name>, Change<f64>>,
    joined: Captured<Name, (f64, Option<f64>)>,
    late: Captured<(), ()>,
    ledger: Ledger,
}

/// By epoch: all that came out, in the canonical order, and counts.
type Outcome = BTreeMap<Epoch, (Vec<String>, [u64; 4])>;

impl Out {
    fn outcome(&self, workers: usize, epochs: std::ops::RangeInclusive<Epoch>) -> Outcome {
        let mut outcome = Outcome::new();
        for epoch in epochs.clone() {
            let tally = self.ledger.take(epoch);
            let counts =
                [Verdict::Processed, Verdict::Late, Verdict::Skipped].map(|of| tally.count(of));
            let [processed, late, skipped] = counts;
            let counts = [processed, late, skipped, tally.windows_closed];
            outcome.insert(epoch, (Vec::new(), counts));
        }
        let mut note = |epoch: Epoch, line: String| {
            assert!(epoch >= *epochs.start(), "{line} again, at epoch {epoch}");
            if let Some((lines, _)) = outcome.get_mut(&epoch) {
                lines.push(line);
            }
        };
        fn lines<K: Clone + Debug, V: Clone + Debug>(
            captured: &Captured<K, V>,
            workers: usize,
            note: &mut impl FnMut(Epoch, String),
        ) {
            for worker in 0..workers {
                for (epoch, record) in captured.records_on(worker) {
                    note(epoch, format!("{record:?}"));
                }
            }
        }
        // What every sender says behind an aggregation is the same, so that the first one speaks for all.
        fn marks<K: Clone, V: Clone>(
            captured: &Captured<K, V>,
            note: &mut impl FnMut(Epoch, String),
        ) {
            for (epoch, mark) in captured.marks_on(0) {
                note(epoch, format!("{:?}", mark.advance));
            }
        }
        lines(&self.closed, workers, &mut note);
        lines(&self.by_key, workers, &mut note);
        lines(&self.by_window, workers, &mut note);
        lines(&self.joined, workers, &mut note);
        lines(&self.late, workers, &mut note);
        marks(&self.closed, &mut note);
        marks(&self.by_key, &mut note);
        marks(&self.by_window, &mut note);
        for (lines, _) in outcome.values_mut() {
            lines.sort();
        }
        outcome
    }
}

fn running<'s, G: Key>(
    scope: Scope<'s, Epoch>,
    stream: Records<'s, Name, f64>,
    rows: Rows<Name, G>,
    aggregation: Aggregation<f64, f64>,
    handover: Handover,
    changes: &Captured<G, Change<f64>>,
    out: &Out,
) {
    let mut head = Head::new("table", scope);
    let (emit, stream_out) = head.port(Routing::Stay);
    let emit = head.emit(emit);
    let (late, out_late) = head.port(Routing::Stay);
    let late = head.emit(late);
    let step = RunningStep {
        aggregation,
        rows,
        same: |one: &f64, other| one == other,
        senders: scope.peers(),
        changes: emit,
        late: Some(late),
        grouped: None,
        tally: tally(&out.ledger, Counting::Once),
    };
    aggregate(head, stream, Routing::ByKey, handover, step);
    capture(scope, stream_out, changes);
    capture(scope, out_late, &out.late);
}

fn on_close<'s>(
    scope: Scope<'s, Epoch>,
    stream: Records<'s, Name, f64>,
    windows: TimeWindows,
    aggregation: Aggregation<f64, f64>,
    handover: Handover,
    out: &Out,
) {
    let mut head = Head::new("windows", scope);
    let (results, stream_out) = head.port(Routing::Stay);
    let results = head.emit(results);
    let (late, out_late) = head.port(Routing::Stay);
    let late = head.emit(late);
    let step = WindowStep {
        windows,
        aggregation,
        senders: scope.peers(),
        results,
        late: Some(late),
        tally: tally(&out.ledger, Counting::Once),
    };
    aggregate_windows::<_, _, OneByOne>(head, stream, Routing::ByKey, handover, step);
    capture(scope, stream_out, &out.closed);
    capture(scope, out_late, &out.late);
}

/// Each record looks up the row of its key, which the records make as well: values below 0.5 delete it.
fn joined<'s>(
    scope: Scope<'s, Epoch>,
    stream: Records<'s, Name, f64>,
    rows: Records<'s, Name, Option<f64>>,
    table: &GlobalTable<Name, f64>,
    handover: Handover,
    out: &Out,
) {
    let mut keeper = Head::new("table", scope);
    let progress = keeper.progress();
    keep_table(keeper, rows, table.clone(), handover);
    let mut head = Head::new("join", scope);
    let (results, stream_out) = head.port(Routing::Stay);
    let results = head.emit(results);
    let with = joiner(
        |key: Option<&Name>, _: &f64| key.cloned(),
        |_: Option<&Name>, value, row: Option<&f64>| Some((value, row.copied())),
        results,
        tally(&out.ledger, Counting::Once),
    );
    join_table(head, stream, progress, table.clone(), with);
    capture(scope, stream_out, &out.joined);
}

fn updates(plays: &[Play<Name, f64>]) -> Vec<Play<Name, Option<f64>>> {
    let update = |record: &Record<Name, f64>| Record {
        header: record.header,
        extra: None,
        key: record.key.clone(),
        value: Some(record.value).filter(|value| *value > 0.5),
    };
    let of = |it: &Play<Name, f64>| play(it.epoch, it.records.iter().map(update), []);
    plays.iter().map(of).collect()
}

/// Plays what lies behind `begin` on `workers` workers; returns what came out up to `cut`, and the snapshot of it.
fn phase(
    (kind, folding): (Kind, Folding),
    shares: &[Vec<Share>],
    workers: usize,
    begin: Option<Snapshot>,
    cut: Option<Epoch>,
) -> (Outcome, Option<Snapshot>) {
    let behind = begin.as_ref().map_or(0, |begin| begin.epoch);
    let mut keeper = MemoryKeeper::new(workers, begin);
    keeper.wavers = true;
    keeper.want(cut.unwrap_or(0));
    let keeper = Arc::new(keeper);
    let out = Out::default();
    let (kept, of_workers) = (Arc::clone(&keeper), out.clone());
    let (plays, table) = (
        plays(shares, workers, behind),
        GlobalTable::new(Arc::default()),
    );
    run(workers, move |index, scope| {
        let handover = MemoryKeeper::handover(&kept, index, Shards::new(SHARDS, workers));
        let (aggregation, out) = (aggregation(folding), &of_workers);
        let routing = match kind {
            Kind::Joined => Routing::Stay,
            _ => Routing::ByKey,
        };
        let stream = script(scope, routing, plays[index].clone());
        match kind {
            Kind::OnClose(windows) => on_close(scope, stream, windows, aggregation, handover, out),
            Kind::ByKey => {
                let rows = Rows::by_key();
                running(scope, stream, rows, aggregation, handover, &out.by_key, out);
            }
            Kind::ByWindow(windows) => {
                let rows = Rows::by_window(windows);
                running(
                    scope,
                    stream,
                    rows,
                    aggregation,
                    handover,
                    &out.by_window,
                    out,
                );
            }
            Kind::Joined => {
                let rows = script(scope, Routing::Stay, updates(&plays[index]));
                joined(scope, stream, rows, &table, handover, out);
            }
        }
    });
    assert_eq!(keeper.failures(), []);
    let snapshot = cut.map(|cut| {
        let snapshot = keeper.last();
        assert_eq!(snapshot.epoch, cut);
        assert_eq!(snapshot.steps.keys().collect::<Vec<_>>(), [&STEP]);
        snapshot
    });
    (
        out.outcome(workers, behind + 1..=cut.unwrap_or(LAST)),
        snapshot,
    )
}

/// Runs undisturbed on one worker, and in phases of so many workers up to such an epoch each: expects the same.
fn assert_nothing_shows(of: (Kind, Folding), shares: &[Vec<Share>], phases: &[(usize, Epoch)]) {
    let (undisturbed, _) = phase(of, shares, 1, None, None);
    let (mut outcome, mut snapshot) = (Outcome::new(), None);
    for (workers, cut) in phases {
        let cut = Some(*cut).filter(|cut| *cut < LAST);
        let (of_phase, kept) = phase(of, shares, *workers, snapshot, cut);
        outcome.extend(of_phase);
        snapshot = kept;
    }
    assert_eq!(outcome, undisturbed, "{of:?}, phases {phases:?}");
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn tumbling() -> TimeWindows {
    TimeWindows::of_size(millis(10)).grace(millis(7))
}

fn hopping() -> TimeWindows {
    TimeWindows::of_size(millis(10)).advance_by(millis(4))
}

/// Many windows over each moment, so that what a restart finds open was partly closed.
fn many() -> TimeWindows {
    TimeWindows::of_size(millis(41))
        .advance_by(millis(4))
        .grace(millis(3))
}

/// Every operator with every way to fold.
fn operators() -> Vec<(Kind, Folding)> {
    let foldings = [
        Folding::Any,
        Folding::Groups,
        Folding::Combine,
        Folding::Keep,
    ];
    let mut operators = vec![(Kind::Joined, Folding::Any)];
    for folding in foldings {
        operators.push((Kind::OnClose(tumbling()), folding));
        operators.push((Kind::OnClose(hopping()), folding));
        operators.push((Kind::OnClose(many()), folding));
        operators.push((Kind::ByKey, folding));
        operators.push((Kind::ByWindow(hopping()), folding));
    }
    operators
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_behind_any_epoch_on_one_worker_or_two_does_not_show(
        shares in shares(),
        workers in 1usize..3,
    ) {
        for of in operators() {
            for cut in 1..LAST {
                assert_nothing_shows(of, &shares, &[(workers, cut), (3 - workers, LAST)]);
            }
        }
    }

    #[test]
    fn restarts_on_one_two_one_and_four_workers_do_not_show(
        shares in shares(),
        cuts in prop::sample::subsequence((1..LAST).collect::<Vec<_>>(), 3),
    ) {
        for of in operators() {
            let phases = [(1, cuts[0]), (2, cuts[1]), (1, cuts[2]), (4, LAST)];
            assert_nothing_shows(of, &shares, &phases);
        }
    }
}

#[test]
fn a_snapshot_of_the_epoch_that_ends_the_input_is_whole_though_the_keeper_is_full() {
    let keeper = Arc::new(MemoryKeeper::new(2, None));
    keeper.want(9);
    keeper.full.store(true, Ordering::SeqCst);
    let (kept, out) = (Arc::clone(&keeper), Out::default());
    run(2, move |index, scope| {
        let handover = MemoryKeeper::handover(&kept, index, Shards::new(SHARDS, 2));
        let mut partition = Partition::new(index as u32);
        let records = (0..4).map(|key| partition.record(name(key), 0, 1.0));
        let stream = script(scope, Routing::ByKey, [play(9, records, [])]);
        let (rows, any) = (Rows::by_key(), aggregation(Folding::Any));
        running(scope, stream, rows, any, handover, &out.by_key, &out);
    });
    let snapshot = keeper.last();
    assert_eq!((snapshot.epoch, snapshot.handed_over), (9, 4));
}
