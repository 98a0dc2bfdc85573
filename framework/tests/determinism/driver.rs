//! Random cases against an oracle, on the test driver and on the engine.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde::{Deserialize, Serialize};
use tiderace::testing::{RawRecord, TestRecord, TopologyTestDriver};
use tiderace::{EventTime, StreamsBuilder, TimeWindows, Topic, Topology, Windowed, millis};
use tiderace_testing::oracle::{self, Counted, Input};

use crate::engine;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) page: u32,
    at: i64,
    counts: bool,
}

const VISITS: Topic<u32, Visit> =
    Topic::json("visits").timestamp(|visit| EventTime::from_millis(visit.at));
const COUNTS: Topic<Windowed<u32>, u64> = Topic::bytes("counts");
const LATE: Topic<u32, Visit> = Topic::json("late");

pub(crate) fn topology(windows: oracle::TimeWindows) -> Topology {
    let length = |of: i64| millis(u64::try_from(of).unwrap());
    let builder = StreamsBuilder::new("visits-per-page");
    builder
        .stream(VISITS)
        .filter(|visit| visit.counts)
        .group_by(|visit| visit.page)
        .windowed_by(
            TimeWindows::of_size(length(windows.size))
                .advance_by(length(windows.advance))
                .grace(length(windows.grace)),
        )
        .late_to(LATE)
        .count()
        .emit_on_close()
        .to(COUNTS);
    builder.build().unwrap()
}

/// What goes into one run: the partitions, and the order in which their records are read.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) partitions: Vec<Vec<Visit>>,
    pub(crate) windows: oracle::TimeWindows,
    /// Which partition gives the next record, as long as it has one.
    turns: Vec<usize>,
    epoch: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    // Times lie close together and around bounds of windows, so that ties, ends and end + grace are hit.
    let visit = (0u32..4, -30i64..90, prop::bool::weighted(0.9));
    let visit = visit.prop_map(|(page, at, counts)| Visit { page, at, counts });
    let partitions = prop::collection::vec(prop::collection::vec(visit, 0..40), 1..5);
    let windows = (1i64..25, 1i64..25, prop_oneof![Just(0i64), 0i64..20]);
    let windows = windows.prop_map(|(size, advance, grace)| oracle::TimeWindows {
        size,
        advance: advance.min(size),
        grace,
    });
    let turns = prop::collection::vec(0usize..5, 200);
    let epoch = prop_oneof![Just(1usize), Just(16), Just(10_000)];
    (partitions, windows, turns, epoch).prop_map(|(partitions, windows, turns, epoch)| Case {
        partitions,
        windows,
        turns,
        epoch,
    })
}

/// Tries so many random cases; nothing is written beside the sources when one fails.
fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    })
}

/// The records in the order in which they are read, with their partitions.
fn interleaved(case: &Case) -> Vec<(u32, Visit)> {
    let mut rest: Vec<_> = case.partitions.iter().map(|of| of.iter()).collect();
    let mut order = Vec::new();
    let mut turns = case.turns.iter().cycle();
    while rest.iter().any(|of| of.len() > 0) {
        let turn = turns.next().unwrap() % rest.len();
        let ready = (0..rest.len()).map(|step| (turn + step) % rest.len());
        let partition = ready.into_iter().find(|of| rest[*of].len() > 0).unwrap();
        order.push((
            u32::try_from(partition).unwrap(),
            rest[partition].next().unwrap().clone(),
        ));
    }
    order
}

/// Output and late topic of a run.
fn run(case: &Case) -> (Vec<RawRecord>, Vec<RawRecord>) {
    let partitions = u32::try_from(case.partitions.len()).unwrap();
    let mut driver =
        TopologyTestDriver::with_partitions(topology(case.windows), partitions).unwrap();
    for epoch in interleaved(case).chunks(case.epoch) {
        let records = epoch.iter().map(|(partition, visit)| {
            TestRecord::new(visit.page, visit.clone()).in_partition(*partition)
        });
        driver.pipe_batch(VISITS, records).unwrap();
    }
    driver.end_input().unwrap();
    (driver.read_raw("counts"), driver.read_late())
}

fn expected(case: &Case) -> Counted<Visit> {
    let input = |visit: &Visit| Input {
        timestamp: visit.at,
        key: visit.page,
        passes_filter: visit.counts,
        record: visit.clone(),
    };
    let partitions: Vec<Vec<_>> = case
        .partitions
        .iter()
        .map(|of| of.iter().map(input).collect())
        .collect();
    oracle::count_windows(&partitions, case.windows)
}

#[test]
fn results_are_those_of_a_sort_and_a_map_for_any_interleaving_and_any_epochs() {
    let cases_tried = 256;
    let mut runner = runner(cases_tried);
    let outcome = runner.run(&cases(), |case| {
        let expected = expected(&case);
        let (counts, late) = run(&case);
        let written = counts.iter().map(|record| {
            let (key, start) = record.key.as_ref().unwrap().split_at(4);
            (
                i64::from_be_bytes(start.try_into().unwrap()),
                u32::from_be_bytes(key.try_into().unwrap()),
                u64::from_be_bytes(record.value.as_ref().unwrap()[..].try_into().unwrap()),
                record.timestamp,
            )
        });
        let wanted = expected
            .results
            .iter()
            .map(|of| (of.start, of.key, of.count, of.timestamp));
        prop_assert_eq!(written.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
        let value = |visit: &Visit| serde_json::to_vec(visit).unwrap();
        let mut wanted: Vec<Vec<u8>> = expected.late.iter().flatten().map(value).collect();
        let mut got: Vec<Vec<u8>> = late
            .into_iter()
            .map(|record| record.value.unwrap())
            .collect();
        wanted.sort();
        got.sort();
        prop_assert_eq!(got, wanted);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    println!("{cases_tried} interleavings equal the oracle");
}

#[test]
fn the_output_is_the_same_bytes_for_every_interleaving_and_every_cut() {
    let mut runner = runner(24);
    let outcome = runner.run(&(cases(), any::<u64>()), |(case, seed)| {
        let (first, first_late) = run(&case);
        for (round, epoch) in [1usize, 16, 10_000].into_iter().enumerate() {
            let step = 1 + (seed as usize >> (8 * round)) % 7;
            let turns = (0..200).map(|turn| turn * step / 3).collect();
            let (counts, late) = run(&Case {
                turns,
                epoch,
                ..case.clone()
            });
            prop_assert_eq!(&counts, &first);
            prop_assert_eq!(by_partition(&late), by_partition(&first_late));
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Late records of one source partition keep their order; those of several have none among each other.
fn by_partition(late: &[RawRecord]) -> Vec<RawRecord> {
    let mut sorted = late.to_vec();
    sorted.sort_by(|one, other| (one.partition, &one.value).cmp(&(other.partition, &other.value)));
    sorted
}

/// The same on the engine itself, with workers, an embedded log and epochs of its own.
#[test]
fn the_engine_writes_the_same_bytes_for_any_number_of_workers_and_any_epochs() {
    let runs = std::cell::Cell::new(0);
    let windows = [
        oracle::TimeWindows::tumbling(10, 0),
        oracle::TimeWindows {
            size: 20,
            advance: 5,
            grace: 7,
        },
    ];
    for windows in windows {
        let outcome = runner(3).run(&cases(), |case| {
            let case = Case { windows, ..case };
            let (counts, late) = run(&case);
            for workers in [1, 2, 4] {
                for epoch in [1, 16, 10_000] {
                    runs.set(runs.get() + 1);
                    let on_engine = engine::run(&case, workers, epoch);
                    prop_assert_eq!(
                        engine::in_partitions(&on_engine.0),
                        engine::in_partitions(&counts)
                    );
                    prop_assert_eq!(by_partition(&on_engine.1), by_partition(&late));
                }
            }
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("{failure}");
        }
    }
    println!(
        "{} runs of the engine equal the driver's, and so the oracle",
        runs.get()
    );
}
