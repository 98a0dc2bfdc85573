//! The union of streams.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use proptest::prelude::*;
use support::{
    Captured, Hand, Partition, Play, Seen, Solo, active, at, capture, play, run, script, source,
    tally,
};
use tiderace_operators::batch::Advance;
use tiderace_operators::dataflow::{Epoch, Head, Records, Routing};
use tiderace_operators::fold::{Aggregation, Order};
use tiderace_operators::handover::Handover;
use tiderace_operators::key::Windowed;
use tiderace_operators::merge::merge;
use tiderace_operators::record::Record;
use tiderace_operators::shard::Shards;
use tiderace_operators::stream_time::Watermark;
use tiderace_operators::tally::{Counting, Ledger};
use tiderace_operators::window::TimeWindows;
use tiderace_operators::window_aggregate::{OneByOne, WindowStep, aggregate_windows};
use timely::dataflow::Scope;

/// The union of streams that have one sender each and worker.
fn union<'s>(
    scope: Scope<'s, Epoch>,
    streams: impl IntoIterator<Item = Records<'s, u32, u32>>,
) -> Records<'s, u32, u32> {
    let mut head = Head::new("merge", scope);
    let (results, out) = head.port(Routing::Stay);
    let streams = streams.into_iter().map(|stream| (stream, scope.peers()));
    merge(head, streams.collect(), results);
    out
}

/// A union of two streams on one worker, played by hand.
struct Union {
    solo: Solo,
    sides: [Hand<u32, u32>; 2],
    captured: Captured<u32, u32>,
}

impl Union {
    fn new() -> Self {
        let (mut solo, captured) = (Solo::new(), Captured::default());
        let sides = solo.dataflow(|scope| {
            let (left, left_stream) = source(scope, Routing::Stay);
            let (right, right_stream) = source(scope, Routing::Stay);
            capture(scope, union(scope, [left_stream, right_stream]), &captured);
            [left, right]
        });
        Union {
            solo,
            sides,
            captured,
        }
    }

    fn play(&mut self, side: usize, play: Play<u32, u32>) {
        self.sides[side].play(play);
        self.solo.settle();
    }

    /// Epochs and values that have come out so far.
    fn values(&self) -> Vec<(Epoch, u32)> {
        let records = self.captured.records_on(0).into_iter();
        records
            .map(|(epoch, record)| (epoch, record.value))
            .collect()
    }

    fn end(mut self) -> Captured<u32, u32> {
        self.sides.iter().for_each(Hand::end);
        self.solo.finish();
        self.captured
    }
}

#[test]
fn records_of_the_open_epoch_pass_and_those_of_later_epochs_wait_for_the_slower_side() {
    let (mut left, mut right) = (Partition::new(0), Partition::new(1));
    let mut union = Union::new();
    union.play(0, play(1, [left.record(0, 0, 10)], []));
    union.play(1, play(1, [right.record(0, 0, 20)], []));
    assert_eq!(union.values(), [(1, 10), (1, 20)]);
    union.play(0, play(2, [left.record(0, 0, 11)], []));
    union.play(0, play(3, [left.record(0, 0, 12)], []));
    assert_eq!(union.values()[2..], [], "the right side is still at 1");
    union.play(1, play(1, [right.record(0, 0, 21)], []));
    assert_eq!(union.values()[2..], [(1, 21)]);
    union.play(1, play(2, [right.record(0, 0, 22)], []));
    let mut second = union.values().split_off(3);
    second.sort_unstable();
    assert_eq!(second, [(2, 11), (2, 22)]);
    union.play(1, play(4, [right.record(0, 0, 23)], []));
    assert_eq!(union.values()[5..], [(3, 12)]);
    let captured = union.end();
    assert_eq!(captured.records_on(0).last().unwrap().1.value, 23);
}

#[test]
fn senders_of_the_second_side_are_numbered_behind_those_of_the_first() {
    let mut union = Union::new();
    union.play(1, play(1, [], [(0, Advance::Absent)]));
    union.play(0, play(1, [], [(0, active(5))]));
    let marks = union.end().marks_on(0);
    let said: Vec<_> = marks
        .iter()
        .map(|(epoch, mark)| (*epoch, mark.from, mark.to, mark.advance))
        .collect();
    assert_eq!(said, [(1, 1, 0, Advance::Absent), (1, 0, 0, active(5))]);
}

#[test]
fn behind_a_union_the_watermark_is_the_least_of_both_sides() {
    let mut union = Union::new();
    let mut watermark = Watermark::new(2, 0);
    let mut noted = 0;
    let mut now = |union: &Union| {
        let marks = union.captured.marks_on(0);
        marks[noted..]
            .iter()
            .for_each(|(_, mark)| watermark.note(*mark));
        noted = marks.len();
        watermark.settle()
    };
    union.play(0, play(1, [], [(0, active(50))]));
    assert_eq!(now(&union), at(i64::MIN), "the right side has said nothing");
    union.play(1, play(1, [], [(0, active(20))]));
    assert_eq!(now(&union), at(20));
    union.play(1, play(2, [], [(0, active(70))]));
    assert_eq!(now(&union), at(20), "the left side is still at epoch 1");
    union.play(0, play(2, [], [(0, active(60))]));
    assert_eq!(now(&union), at(60));
}

#[test]
fn a_window_behind_a_union_closes_when_both_sides_have_passed_its_end() {
    let captured = Captured::<Windowed<u32>, u64>::default();
    let mut solo = Solo::new();
    let sides = solo.dataflow(|scope| {
        let (left, left_stream) = source(scope, Routing::Stay);
        let (right, right_stream) = source(scope, Routing::Stay);
        let both = union(scope, [left_stream, right_stream]);
        let mut head = Head::new("count", scope);
        let (results, out) = head.port(Routing::Stay);
        let results = head.emit(results);
        let step = WindowStep {
            windows: TimeWindows::of_size(Duration::from_millis(10)),
            aggregation: Aggregation::new(|count, _: u32| count.unwrap_or(0) + 1, Order::Any),
            senders: 2,
            results,
            late: None,
            tally: tally(&Ledger::default(), Counting::Once),
        };
        aggregate_windows::<_, _, OneByOne>(
            head,
            both,
            Routing::Stay,
            Handover::none(Shards::new(1, 1)),
            step,
        );
        capture(scope, out, &captured);
        [left, right]
    });
    let mut next = |side: usize, play| {
        sides[side].play(play);
        solo.settle();
        let records = captured.records_on(0).into_iter();
        records
            .map(|(epoch, record)| (epoch, record.value))
            .collect::<Vec<_>>()
    };
    let (mut left, mut right) = (Partition::new(0), Partition::new(1));
    next(0, play(1, [left.record(7, 3, 0)], [(0, active(30))]));
    next(1, play(1, [right.record(7, 4, 0)], [(0, active(9))]));
    next(0, play(2, [], []));
    assert_eq!(
        next(1, play(2, [], [])),
        [],
        "the right side has not come to 10"
    );
    next(1, play(2, [], [(0, active(10))]));
    next(0, play(3, [], []));
    assert_eq!(next(1, play(3, [], [])), [(2, 2)]);
    sides.iter().for_each(Hand::end);
    solo.finish();
}

/// Per play: by how much the epoch goes on, and how many records it has.
fn shapes() -> impl Strategy<Value = Vec<(Epoch, u8)>> {
    prop::collection::vec((0u64..3, 0u8..5), 0..12)
}

fn plays(number: u32, shape: &[(Epoch, u8)]) -> Vec<Play<u32, u32>> {
    let mut partition = Partition::new(number);
    let (mut epoch, mut value) = (1, 0);
    let play_of = |(on, records): &(Epoch, u8)| {
        epoch += on;
        let records: Vec<_> = (0..*records)
            .map(|_| {
                value += 1;
                partition.record(number, 0, value)
            })
            .collect();
        play(epoch, records, [(number % 2, active(i64::from(value)))])
    };
    shape.iter().map(play_of).collect()
}

/// What a side sends, in order, each with its epoch.
fn sent(plays: &[Play<u32, u32>]) -> Vec<(Epoch, Result<u32, Advance>)> {
    let of_play = |play: &Play<u32, u32>| {
        let epoch = play.epoch;
        let records = play.records.iter().map(|record| Ok(record.value));
        let marks = play.marks.iter().map(|(_, advance)| Err(*advance));
        let all: Vec<_> = records.chain(marks).map(|item| (epoch, item)).collect();
        all
    };
    plays.iter().flat_map(of_play).collect()
}

fn value_of(record: &Record<u32, u32>, number: u32) -> Option<u32> {
    (record.key == Some(number)).then_some(record.value)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_side_keeps_its_order_and_its_epochs_and_epochs_come_out_in_order(
        shapes in prop::collection::vec(shapes(), 4),
    ) {
        const WORKERS: usize = 2;
        // Side `number / 2` of worker `number % 2`.
        let plays: Vec<_> = (0..4).zip(&shapes).map(|(number, shape)| plays(number, shape)).collect();
        let captured = Captured::default();
        let (kept, played) = (captured.clone(), plays.clone());
        run(WORKERS, move |index, scope| {
            let sides = [0, 1].map(|side| script(scope, Routing::Stay, played[2 * side + index].clone()));
            capture(scope, union(scope, sides), &kept);
        });
        for worker in 0..WORKERS {
            let out = captured.on(worker);
            prop_assert!(out.is_sorted_by_key(|(epoch, _)| *epoch), "{out:?}");
            for side in 0..2 {
                let number = 2 * side + worker;
                let sender = u32::try_from(number).unwrap();
                let of_side = |(epoch, seen): &(Epoch, Seen<u32, u32>)| match seen {
                    Seen::Record(record) => value_of(record, sender).map(|value| (*epoch, Ok(value))),
                    Seen::Mark(mark) => (mark.from == sender).then_some((*epoch, Err(mark.advance))),
                };
                let received: Vec<_> = out.iter().filter_map(of_side).collect();
                prop_assert_eq!(received, sent(&plays[number]));
            }
        }
    }
}
