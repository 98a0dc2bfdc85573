//! Records and marks between the workers of a process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::{Captured, Partition, Play, Seen, active, at, capture_input, play, run, script};
use tiderace_operators::batch::{Advance, Batch};
use tiderace_operators::dataflow::{Head, Routing};
use tiderace_operators::key::Windowed;
use tiderace_operators::record::Record;
use tiderace_operators::shard::{Shards, reader};
use tiderace_operators::window::TimeWindows;

const WORKERS: usize = 3;
const SHARDS: u32 = 16;

fn shards() -> Shards {
    Shards::new(SHARDS, WORKERS)
}

/// Has each worker play its script, and keeps what `routing` brings to each.
fn route(routing: Routing, plays: Vec<Vec<Play<u32, u32>>>) -> Captured<u32, u32> {
    let captured = Captured::default();
    let kept = captured.clone();
    run(WORKERS, move |index, scope| {
        let stream = script(scope, routing, plays[index].clone());
        let mut head = Head::new("receiver", scope);
        let input = head.keyed_input(stream, routing, shards());
        capture_input(head, input, &kept);
    });
    captured
}

/// `plays` batches of `size` records from partition `number`, the value counting on; a mark after each
/// with the number of values before it.
fn counting(number: u32, plays: u64, size: u32) -> Vec<Play<u32, u32>> {
    let mut partition = Partition::new(number);
    let mut next = 0;
    let mut batch = |epoch| {
        let values = next..next + size;
        next += size;
        let records = values.map(|value| partition.record(value * 7 % 101, 0, value));
        play(
            epoch,
            records.collect::<Vec<_>>(),
            [(number, active(i64::from(next)))],
        )
    };
    // Two plays an epoch, so that an epoch has several batches.
    (0..plays).map(|turn| batch(1 + turn / 2)).collect()
}

/// Asserts that `to` got the records of `from` that belong there, in order, in their epoch and between
/// the marks they were sent between.
fn assert_received(
    captured: &Captured<u32, u32>,
    (from, to): (usize, usize),
    sent: &[Play<u32, u32>],
    belongs: impl Fn(&Record<u32, u32>) -> usize,
) {
    let mut expected = Vec::new();
    for play in sent {
        for record in play.records.iter().filter(|record| belongs(record) == to) {
            expected.push((play.epoch, Ok(record.value)));
        }
        for (_, advance) in &play.marks {
            expected.push((play.epoch, Err(*advance)));
        }
    }
    let received: Vec<_> = captured
        .on(to)
        .into_iter()
        .filter_map(|(epoch, seen)| match seen {
            Seen::Record(record) => {
                let of_sender = record.header.position.partition() as usize == from;
                of_sender.then_some((epoch, Ok(record.value)))
            }
            Seen::Mark(mark) => {
                assert_eq!(mark.to as usize, to, "a mark reached another worker");
                (mark.from as usize == from).then_some((epoch, Err(mark.advance)))
            }
        })
        .collect();
    assert!(
        received == expected,
        "from {from} to {to}: {} of {} items, or another order",
        received.len(),
        expected.len()
    );
}

#[test]
fn records_and_marks_of_a_sender_reach_the_owner_of_the_key_in_the_order_they_were_sent() {
    let full = u32::try_from(Batch::<u32, u32>::CAPACITY).unwrap();
    // Small batches, and such that are sent on in pieces before the sender is done.
    for (plays, size) in [(40, 5), (6, 4 * full + 3)] {
        let sent: Vec<_> = (0..3).map(|number| counting(number, plays, size)).collect();
        let captured = route(Routing::ByKey, sent.clone());
        let mut owner = shards().router::<u32>();
        let mut owner_of = |record: &Record<u32, u32>| owner(&record.key.unwrap());
        let owners: Vec<usize> = (0..101)
            .map(|key| owner_of(&Partition::new(0).record(key, 0, 0)))
            .collect();
        for to in 0..WORKERS {
            assert!(owners.contains(&to), "the keys do not cover every worker");
            for (from, plays) in sent.iter().enumerate() {
                assert_received(&captured, (from, to), plays, |record| {
                    owners[record.key.unwrap() as usize]
                });
            }
        }
    }
}

#[test]
fn records_reach_the_worker_that_reads_their_partition() {
    // Every partition is played by a worker other than its reader, so that all records move.
    let sent: Vec<_> = [2, 0, 1].map(|number| counting(number, 10, 20)).into();
    let captured = route(Routing::ToReader, sent.clone());
    for to in 0..WORKERS {
        for plays in &sent {
            let from = plays[0].records[0].header.position.partition();
            let reader = reader(0, from, WORKERS);
            assert_received(&captured, (from as usize, to), plays, |_| reader);
        }
    }
}

#[test]
fn what_stays_does_not_leave_its_worker_nor_do_its_marks() {
    let sent: Vec<_> = (0..3).map(|number| counting(number, 10, 20)).collect();
    let captured = route(Routing::Stay, sent.clone());
    for (worker, plays) in sent.iter().enumerate() {
        assert_received(&captured, (worker, worker), plays, |_| worker);
        let items: usize = plays.iter().map(|play| play.records.len() + 1).sum();
        assert_eq!(captured.on(worker).len(), items, "worker {worker}");
    }
}

#[test]
fn a_record_without_a_key_goes_to_the_first_worker() {
    let keyless = |number| {
        let mut record = Partition::new(number).record(5, 0, number);
        record.key = None;
        vec![play(1, [record], [])]
    };
    let captured = route(Routing::ByKey, (0..3).map(keyless).collect());
    let mut values: Vec<u32> = captured
        .records_on(0)
        .into_iter()
        .map(|(_, record)| record.value)
        .collect();
    values.sort_unstable();
    assert_eq!(values, [0, 1, 2]);
}

#[test]
fn a_windowed_key_goes_where_its_inner_key_goes() {
    let windows = TimeWindows::of_size(Duration::from_millis(10));
    let captured = Captured::<Windowed<u32>, u32>::default();
    let kept = captured.clone();
    run(WORKERS, move |index, scope| {
        let mut partition = Partition::new(u32::try_from(index).unwrap());
        let keys = (0..50).flat_map(|key| [0, 10, 20].map(|start| (key, start)));
        let records: Vec<_> = keys
            .map(|(key, start)| {
                let window = windows.window(at(start));
                partition.record(Windowed { key, window }, start, 0)
            })
            .collect();
        let stream = script(
            scope,
            Routing::ByKey,
            [play(1, records, [(0, Advance::Absent)])],
        );
        let mut head = Head::new("receiver", scope);
        let input = head.keyed_input(stream, Routing::ByKey, shards());
        capture_input(head, input, &kept);
    });
    let mut owner = shards().router::<u32>();
    let mut received = 0;
    for worker in 0..WORKERS {
        for (_, record) in captured.records_on(worker) {
            assert_eq!(owner(&record.key.unwrap().key), worker);
            received += 1;
        }
    }
    assert_eq!(received, WORKERS * 50 * 3);
}
