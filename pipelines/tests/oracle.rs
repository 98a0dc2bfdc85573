//! The bytes of `rides-per-zone` are those of a naive oracle: a sort and a map that share no code with the engine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses its part")]
mod command;

use std::path::Path;

use command::Place;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Fetched, Log, TopicPartition};
use tiderace_testing::oracle::{Output, Ride, read_zones, rides_per_zone};

/// Everything a topic holds, by partition.
fn read(log: &dyn Log, topic: &str) -> Vec<Vec<Output>> {
    let offsets = log.topic(topic).unwrap().unwrap().partitions;
    let of = |partition| (TopicPartition::new(topic, partition as u32), 0);
    let assignment: Vec<_> = (0..offsets.len()).map(of).collect();
    let mut source = log.source(&assignment, 1 << 20).unwrap();
    let mut records: Vec<Vec<Output>> = vec![Vec::new(); offsets.len()];
    while records.iter().zip(&offsets).any(|(of, offsets)| (of.len() as i64) < offsets.end) {
        if let Fetched::Batch(batch) = source.poll(std::time::Duration::from_secs(1)).unwrap() {
            for index in 0..batch.len() {
                let raw = batch.get(index);
                let bytes = |of: Option<&[u8]>| of.unwrap().to_vec();
                records[batch.slot()].push((bytes(raw.key), bytes(raw.value), raw.timestamp));
            }
        }
    }
    records
}

/// Runs the command with these options and compares its output with the oracle's; returns how many rides were late.
fn compare(options: &str, window: i64, grace: i64) -> u64 {
    let place = Place::new();
    place.run(&format!("rides-per-zone {options}")).ok();
    let log = EmbeddedLog::open_read_only(place.path().join("tiderace-data")).unwrap();
    let rides = read(&log, "rides");
    let parsed: Vec<Vec<Ride>> = rides
        .iter()
        .map(|of| of.iter().map(|(_, value, _)| Ride::from_json(value)).collect())
        .collect();
    let zones = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/taxi_zone_lookup.csv");
    let expected = rides_per_zone(&parsed, &read_zones(&zones), window, grace);
    assert_eq!(read(&log, "rides-per-zone"), expected.partitions, "{options}");
    let mut late = read(&log, "rides-per-zone-late").concat();
    let of = |(partition, indices): (usize, &Vec<usize>)| {
        indices.iter().map(|index| rides[partition][*index].clone()).collect::<Vec<_>>()
    };
    let mut wanted: Vec<Output> = expected.late.iter().enumerate().flat_map(of).collect();
    late.sort();
    wanted.sort();
    assert_eq!(late, wanted, "{options}");
    late.len() as u64
}

#[test]
fn the_output_is_the_oracles_for_any_workers_epochs_and_order() {
    let mut runs = 0;
    for workers in [1, 2, 4] {
        for records in [1, 16, 10_000] {
            let common = format!("--workers {workers} --set epoch.records={records}");
            compare(&format!("{common} --order time"), 600_000, 60_000);
            let late = compare(&format!("{common} --order file --window 10s --grace 5s"), 10_000, 5_000);
            assert!(late > 200, "in the order of the file nearly all come late");
            runs += 2;
        }
    }
    println!("{runs} runs of the command equal the oracle");
}

#[test]
fn many_copies_in_disorder_and_without_grace_are_the_oracles() {
    let late = compare(
        "--scale 40 --disorder 30s --seed 7 --window 1m --grace 0s --workers 2",
        60_000,
        0,
    );
    assert!(late > 100, "a disorder of 30 s without grace makes rides late: {late}");
}
