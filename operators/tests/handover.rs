//! What operators hand over for a snapshot, and when.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use support::keeper::{MemoryKeeper, SHARDS, STEP, Snapshot};
use support::{
    Captured, Hand, Partition, Play, Solo, active, at, capture, play, script, source, tally,
};
use tiderace_operators::batch::Advance;
use tiderace_operators::dataflow::{Epoch, Head, Records, Routing};
use tiderace_operators::fold::{Aggregation, Order};
use tiderace_operators::handover::{Chunk, Handover, Keeper, Part, StateError, TakeEntry};
use tiderace_operators::join_table::{GlobalTable, join_table, joiner, keep_table};
use tiderace_operators::key::{Data, Key, Windowed};
use tiderace_operators::record::{EventTime, Record};
use tiderace_operators::shard::Shards;
use tiderace_operators::state_codec::{read, time_bytes};
use tiderace_operators::store::StoreView;
use tiderace_operators::tally::{Counting, Ledger};
use tiderace_operators::window::TimeWindows;
use tiderace_operators::window_aggregate::{OneByOne, WindowStep, aggregate_windows};
use timely::dataflow::Scope;

fn windows() -> TimeWindows {
    TimeWindows::of_size(Duration::from_millis(10))
}

fn sum<A: Data>(add: fn(A, i64) -> A, begin: A) -> Aggregation<i64, A> {
    Aggregation::new(
        move |sum: Option<A>, value| add(sum.unwrap_or_else(|| begin.clone()), value),
        Order::Any,
    )
}

fn windowed<'s, K: Key, A: Data>(
    scope: Scope<'s, Epoch>,
    stream: Records<'s, K, i64>,
    aggregation: Aggregation<i64, A>,
    handover: Handover,
    results: &Captured<Windowed<K>, A>,
) {
    let mut head = Head::new("windows", scope);
    let (emit, out) = head.port(Routing::Stay);
    let emit = head.emit(emit);
    let step = WindowStep {
        windows: windows(),
        aggregation,
        senders: 1,
        results: emit,
        late: None,
        tally: tally(&Ledger::default(), Counting::Once),
    };
    aggregate_windows::<_, _, OneByOne>(head, stream, Routing::Stay, handover, step);
    capture(scope, out, results);
}

fn one_shards() -> Shards {
    Shards::new(SHARDS, 1)
}

/// Sums in windows of 10 ms on one worker, played by hand.
struct Sums {
    solo: Solo,
    hand: Hand<u8, i64>,
    keeper: Arc<MemoryKeeper>,
    results: Captured<Windowed<u8>, i64>,
    partition: Partition,
}

impl Sums {
    fn new() -> Self {
        let keeper = Arc::new(MemoryKeeper::new(1, None));
        let (mut solo, results) = (Solo::new(), Captured::default());
        let hand = solo.dataflow(|scope| {
            let (hand, stream) = source(scope, Routing::Stay);
            let handover = MemoryKeeper::handover(&keeper, 0, one_shards());
            windowed(
                scope,
                stream,
                sum(|sum, value| sum + value, 0),
                handover,
                &results,
            );
            hand
        });
        Sums {
            solo,
            hand,
            keeper,
            results,
            partition: Partition::new(0),
        }
    }

    /// Plays keys, times and values in an epoch whose end the stream time is `time`, and has the epoch closed.
    fn epoch(&mut self, epoch: Epoch, records: &[(u8, i64, i64)], time: i64) {
        let records = records.iter();
        let records: Vec<_> = records
            .map(|(key, at, value)| self.partition.record(*key, *at, *value))
            .collect();
        self.hand.play(play(epoch, records, [(0, active(time))]));
        self.hand.play(play(epoch + 1, [], []));
        self.solo.settle();
    }

    fn snapshot(&mut self) -> Snapshot {
        let keeper = &self.keeper;
        self.solo.step_until(|| keeper.is_done());
        self.keeper.last()
    }
}

/// Starts, keys and sums that a snapshot holds.
fn sums(snapshot: &Snapshot) -> Vec<(i64, u8, i64)> {
    let entries = snapshot.steps[&STEP].entries.iter();
    let sum = |(key, (_, value)): (&Vec<u8>, &(u32, Vec<u8>))| {
        let start = (-10..10).map(|tens| 10 * tens);
        let mut starts = start.filter(|start| key.starts_with(&time_bytes(at(*start))));
        // Behind the two times of a slot, and the form of its partial result.
        (
            starts.next().unwrap(),
            read(&key[8..]).unwrap(),
            read(&value[17..]).unwrap(),
        )
    };
    entries.map(sum).collect()
}

#[test]
fn a_snapshot_takes_what_changed_since_the_one_before_and_nothing_else() {
    let mut run = Sums::new();
    run.keeper.want(2);
    run.epoch(1, &[(1, -5, 1), (2, -5, 1)], -5);
    assert!(!run.keeper.is_done(), "epoch 2 has not been closed");
    run.epoch(2, &[(3, -5, 1), (1, -4, 1), (1, 5, 1)], -4);
    let snapshot = run.snapshot();
    assert_eq!((snapshot.epoch, snapshot.handed_over), (2, 4));
    let all = [(-10, 1, 2), (-10, 2, 1), (-10, 3, 1), (0, 1, 1)];
    assert_eq!(sums(&snapshot), all);
    assert_eq!(snapshot.steps[&STEP].watermark, Some(at(-4)));

    run.keeper.want(4);
    run.epoch(3, &[(2, 7, 10), (2, 7, 10)], 7);
    run.epoch(4, &[(2, 11, 5)], 7);
    let snapshot = run.snapshot();
    assert_eq!((snapshot.epoch, snapshot.handed_over), (4, 2));
    let open = [(0, 1, 1), (0, 2, 20), (10, 2, 5)];
    assert_eq!(sums(&snapshot), open, "the window before 0 is closed");

    run.keeper.want(5);
    run.epoch(5, &[], 7);
    let snapshot = run.snapshot();
    assert_eq!((snapshot.epoch, snapshot.handed_over), (5, 0));
    assert_eq!(sums(&snapshot), open);

    run.keeper.want(6);
    run.epoch(6, &[], 10);
    assert_eq!(
        sums(&run.snapshot()),
        [(10, 2, 5)],
        "below the floor all is gone"
    );
}

#[test]
fn while_the_keeper_is_full_what_changes_or_closes_is_handed_over_as_it_was() {
    let mut run = Sums::new();
    run.keeper.full.store(true, Ordering::SeqCst);
    run.keeper.want(1);
    run.epoch(
        1,
        &[(1, 5, 1), (2, 5, 1), (1, 15, 1), (2, 15, 1), (3, 15, 1)],
        5,
    );
    // Changes one row of each window, closes the first one, and opens a third.
    run.epoch(2, &[(1, 6, 10), (1, 16, 10), (4, 25, 1)], 10);
    assert!(!run.keeper.is_done());
    assert_eq!(run.results.records_on(0).len(), 2);
    run.keeper.full.store(false, Ordering::SeqCst);
    let snapshot = run.snapshot();
    assert_eq!(snapshot.handed_over, 5, "each once");
    let as_it_was = [(0, 1, 1), (0, 2, 1), (10, 1, 1), (10, 2, 1), (10, 3, 1)];
    assert_eq!(sums(&snapshot), as_it_was);

    run.keeper.want(3);
    run.epoch(3, &[], 10);
    let snapshot = run.snapshot();
    assert_eq!(snapshot.handed_over, 2);
    assert_eq!(
        sums(&snapshot),
        [(10, 1, 11), (10, 2, 1), (10, 3, 1), (20, 4, 1)]
    );
}

#[test]
fn an_epoch_in_which_nothing_comes_to_a_step_has_its_part_too() {
    let mut run = Sums::new();
    run.keeper.want(3);
    run.epoch(1, &[(1, 5, 1)], 5);
    run.hand.play(play(6, [], []));
    run.solo.settle();
    let snapshot = run.snapshot();
    assert_eq!((snapshot.epoch, snapshot.handed_over), (3, 1));
}

/// A value that cannot be written.
#[derive(Clone, serde::Deserialize)]
struct Refuses;

impl serde::Serialize for Refuses {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not today"))
    }
}

#[test]
fn a_value_that_cannot_be_written_is_told_to_the_keeper_and_no_part_is_done() {
    let keeper = Arc::new(MemoryKeeper::new(1, None));
    keeper.want(1);
    let (mut solo, results) = (Solo::new(), Captured::<Windowed<u8>, Refuses>::default());
    solo.dataflow(|scope| {
        let records = [Partition::new(0).record(7, 5, 1)];
        let stream = script(scope, Routing::Stay, [play(1, records, [])]);
        let handover = MemoryKeeper::handover(&keeper, 0, one_shards());
        windowed(
            scope,
            stream,
            sum(|sum, _| sum, Refuses),
            handover,
            &results,
        );
    });
    solo.finish();
    assert!(!keeper.is_done());
    let failures = keeper.failures();
    assert_eq!(failures.len(), 1);
    assert!(
        failures[0].to_string().contains("not today"),
        "{failures:?}"
    );
}

#[test]
fn a_key_without_bytes_in_a_topic_is_kept_in_shard_0() {
    let keeper = Arc::new(MemoryKeeper::new(1, None));
    keeper.want(1);
    let (mut solo, results) = (Solo::new(), Captured::<Windowed<Vec<u32>>, i64>::default());
    solo.dataflow(|scope| {
        let mut partition = Partition::new(0);
        let records = [vec![1, 2], vec![3]].map(|key| partition.record(key, 5, 1));
        let stream = script(scope, Routing::Stay, [play(1, records, [])]);
        let handover = MemoryKeeper::handover(&keeper, 0, one_shards());
        windowed(
            scope,
            stream,
            sum(|sum, value| sum + value, 0),
            handover,
            &results,
        );
    });
    solo.finish();
    let snapshot = keeper.last();
    let entries = snapshot.steps[&STEP].entries.iter();
    let keys: Vec<(Vec<u32>, u32)> = entries
        .map(|(key, (shard, _))| (read(&key[8..]).unwrap(), *shard))
        .collect();
    assert_eq!(keys, [(vec![3], 0), (vec![1, 2], 0)]);
}

/// A million keys, all changed: prints how long the dataflow stands still at most. Nothing depends on it here, for
/// a machine may be busy; the engine's benchmarks hold it.
#[test]
fn a_million_changed_keys_are_handed_over_in_slices() {
    const KEYS: u32 = 1_000_000;
    let mut keeper = MemoryKeeper::new(1, None);
    keeper.counts = true;
    keeper.want(2);
    let keeper = Arc::new(keeper);
    let (mut solo, results) = (Solo::new(), Captured::<Windowed<u32>, i64>::default());
    let hand = solo.dataflow(|scope| {
        let (hand, stream) = source(scope, Routing::Stay);
        let handover = MemoryKeeper::handover(&keeper, 0, one_shards());
        windowed(
            scope,
            stream,
            sum(|sum, value| sum + value, 0),
            handover,
            &results,
        );
        hand
    });
    let mut partition = Partition::new(0);
    let records = |key: u32| partition.record(key, 5, 1);
    hand.play(play(1, (0..KEYS).map(records), []));
    hand.play(play(2, [], []));
    solo.settle();
    hand.play(play(3, [], []));
    let (mut steps, mut longest) = (0, Duration::ZERO);
    while !keeper.is_done() {
        let begin = Instant::now();
        solo.step();
        longest = longest.max(begin.elapsed());
        steps += 1;
    }
    println!("{KEYS} keys in {steps} steps, the longest {longest:?}");
    assert!(steps > 200, "{steps}");
    assert_eq!(keeper.last().handed_over, KEYS);
}

type Rows = GlobalTable<u8, u32>;

/// A table kept on a worker from what `rows` say, joined with `stream`.
fn join<'s>(
    scope: Scope<'s, Epoch>,
    stream: Records<'s, u8, u32>,
    rows: Records<'s, u8, Option<u32>>,
    table: &Rows,
    handover: Handover,
    captured: &Captured<u8, (u32, Option<u32>)>,
) {
    let mut keeper = Head::new("table", scope);
    let progress = keeper.progress();
    keep_table(keeper, rows, table.clone(), handover);
    let mut head = Head::new("join", scope);
    let (results, out) = head.port(Routing::Stay);
    let results = head.emit(results);
    let with = joiner(
        |key: Option<&u8>, _: &u32| key.copied(),
        |_: Option<&u8>, value, row: Option<&u32>| Some((value, row.copied())),
        results,
        tally(&Ledger::default(), Counting::Once),
    );
    join_table(head, stream, progress, table.clone(), with);
    capture(scope, out, captured);
}

/// Two shares of a table, each kept as a worker keeps it, played by hand; the snapshot has a part of each.
struct Shared {
    solo: Solo,
    hands: [Hand<u8, Option<u32>>; 2],
    partitions: [Partition; 2],
    keeper: Arc<MemoryKeeper>,
    table: Rows,
}

impl Shared {
    fn new() -> Self {
        let (mut solo, table) = (Solo::new(), Rows::new(Arc::default()));
        let keeper = Arc::new(MemoryKeeper::new(2, None));
        let hands = [0, 1].map(|worker| {
            solo.dataflow(|scope| {
                let (hand, rows) = source(scope, Routing::Stay);
                let handover = MemoryKeeper::handover(&keeper, worker, one_shards());
                keep_table(Head::new("table", scope), rows, table.clone(), handover);
                hand
            })
        });
        Shared {
            solo,
            hands,
            partitions: [0, 1].map(Partition::new),
            keeper,
            table,
        }
    }

    /// Has a worker update rows in an epoch and close it.
    fn epoch(&mut self, worker: usize, epoch: Epoch, updates: &[(u8, Option<u32>)]) {
        let updates = updates.iter();
        let updates: Vec<_> = updates
            .map(|(key, value)| self.partitions[worker].record(*key, 0, *value))
            .collect();
        self.hands[worker].play(play(epoch, updates, []));
        self.hands[worker].play(play(epoch + 1, [], []));
        self.solo.settle();
    }

    fn rows(&self) -> Vec<(u8, u32)> {
        let snapshot = self.keeper.last();
        let entries = snapshot.steps[&STEP].entries.iter();
        let row = |(key, (_, value)): (&Vec<u8>, &(u32, Vec<u8>))| {
            (read(key).unwrap(), read(value).unwrap())
        };
        entries.map(row).collect()
    }
}

#[test]
fn rows_of_a_table_are_put_and_deleted_and_updates_behind_a_part_belong_to_the_next_snapshot() {
    let mut run = Shared::new();
    run.epoch(0, 1, &[(1, Some(10)), (2, Some(20)), (3, None)]);
    run.keeper.want(2);
    run.epoch(0, 2, &[(1, Some(11)), (2, None)]);
    run.epoch(0, 3, &[(1, Some(12)), (4, Some(40))]);
    run.epoch(1, 1, &[(5, Some(50))]);
    assert!(!run.keeper.is_done());
    run.epoch(1, 2, &[]);
    assert_eq!(run.rows(), [(1, 11), (5, 50)]);
    run.keeper.want(4);
    run.epoch(0, 4, &[(5, Some(51))]);
    run.epoch(1, 3, &[]);
    run.epoch(1, 4, &[]);
    assert_eq!(run.keeper.last().handed_over, 3);
    assert_eq!(run.rows(), [(1, 12), (4, 40), (5, 51)]);
    assert_eq!(run.table.rows(), run.rows());
}

#[test]
fn of_a_row_in_two_partitions_the_version_of_the_later_epoch_counts_whoever_applied_it_first() {
    let mut run = Shared::new();
    run.epoch(1, 1, &[]);
    run.epoch(1, 2, &[(1, Some(12)), (2, None)]);
    run.epoch(0, 1, &[(1, Some(10)), (2, Some(10))]);
    run.keeper.want(4);
    run.epoch(0, 2, &[]);
    run.epoch(1, 3, &[]);
    // Behind the snapshot for one worker, and of it for the other.
    run.epoch(1, 4, &[]);
    run.epoch(1, 5, &[(3, Some(35))]);
    run.epoch(0, 3, &[(3, Some(33))]);
    run.epoch(0, 4, &[]);
    assert_eq!(run.rows(), [(1, 12), (3, 33)]);
    run.keeper.want(6);
    run.epoch(0, 5, &[]);
    run.epoch(0, 6, &[]);
    run.epoch(1, 6, &[]);
    assert_eq!(run.rows(), [(1, 12), (3, 35)]);
}

/// Gives rows back on worker 1 only when worker 0 has done all that it can without.
struct Slow {
    keeper: MemoryKeeper,
    worker_0_waits: Barrier,
    restored: AtomicUsize,
}

impl Keeper for Slow {
    fn wanted(&self) -> Epoch {
        0
    }
    fn is_full(&self) -> bool {
        false
    }
    fn chunk(&self, worker: usize, chunk: Chunk) {
        self.keeper.chunk(worker, chunk);
    }
    fn done(&self, part: Part) {
        self.keeper.done(part);
    }
    fn fail(&self, node: u32, worker: usize, error: StateError) {
        self.keeper.fail(node, worker, error);
    }
    fn restore(&self, node: u32, worker: usize, take: &mut TakeEntry<'_>) -> Option<EventTime> {
        if worker == 1 {
            self.worker_0_waits.wait();
        }
        let mut take = |key: &[u8], value: Option<&[u8]>| {
            self.restored
                .fetch_add(usize::from(value.is_some()), Ordering::SeqCst);
            take(key, value)
        };
        self.keeper.restore(node, worker, &mut take)
    }
}

#[test]
fn no_join_reads_the_table_before_every_worker_has_given_its_rows_back() {
    let mut run = Shared::new();
    let rows: Vec<_> = (0..200)
        .map(|key| (key, Some(1000 + u32::from(key))))
        .collect();
    run.keeper.want(1);
    run.epoch(0, 1, &rows);
    run.epoch(1, 1, &[]);
    let slow = Arc::new(Slow {
        keeper: MemoryKeeper::new(2, Some(run.keeper.last())),
        worker_0_waits: Barrier::new(2),
        restored: AtomicUsize::new(0),
    });
    let (captured, table) = (Captured::default(), Rows::new(Arc::default()));
    let (kept, keeper, early) = (
        captured.clone(),
        Arc::clone(&slow),
        Arc::new(AtomicBool::new(false)),
    );
    let joined_early = Arc::clone(&early);
    let guards = timely::execute(timely::Config::process(2), move |worker| {
        let index = worker.index();
        worker.dataflow(|scope| {
            let mut partition = Partition::new(index as u32);
            let records = (0..200).map(|key| partition.record(key, 0, 0));
            let plays: Vec<Play<u8, u32>> = vec![play(2, records, [(0, Advance::Absent)])];
            let stream = script(scope, Routing::Stay, plays);
            let rows = script(scope, Routing::Stay, Vec::<Play<u8, Option<u32>>>::new());
            let handover = Handover {
                keeper: Some(Arc::clone(&keeper) as Arc<dyn Keeper>),
                node: STEP,
                worker: index,
                shards: Shards::new(SHARDS, 2),
            };
            join(scope, stream, rows, &table, handover, &kept);
        });
        if index == 0 {
            for _ in 0..500 {
                worker.step();
            }
            joined_early.store(!kept.records_on(0).is_empty(), Ordering::SeqCst);
            keeper.worker_0_waits.wait();
        }
        while worker.has_dataflows() {
            worker.step_or_park(Some(Duration::from_millis(1)));
        }
    });
    for ended in guards.unwrap().join() {
        ended.unwrap();
    }
    assert!(
        !early.load(Ordering::SeqCst),
        "worker 1 had not given its rows back"
    );
    for worker in 0..2 {
        let met: Vec<_> = captured.records_on(worker);
        let row = |(epoch, record): &(Epoch, Record<u8, (u32, Option<u32>)>)| {
            let key = u32::from(record.key.unwrap());
            *epoch == 2 && record.value == (0, Some(1000 + key))
        };
        assert_eq!(met.len(), 200);
        assert!(met.iter().all(row));
    }
    assert_eq!(
        slow.restored.load(Ordering::SeqCst),
        400,
        "each twice, as the keeper gives them"
    );
}
