//! What `tiderace rides-per-zone` loads before it runs, from outside.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses its part")]
mod command;

use std::time::{Duration, Instant};

use command::Place;

#[test]
fn another_load_into_the_same_directory_is_refused_and_both_are_named() {
    let place = Place::new();
    place
        .run("rides-per-zone --scale 2 --disorder 30s --seed 5")
        .ok();
    let held = place.run("consume rides").ok();
    assert_eq!(held.lines().count(), 2 * 266);
    let message = place.run("rides-per-zone").refused(64);
    for part in [
        "scale 2, order time, disorder 30000ms, seed 5",
        "scale 1, order time",
        "--data-dir",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(place.run("consume rides").ok(), held);
}

#[test]
fn topics_are_created_and_zones_and_rides_loaded_once() {
    let place = Place::new();
    for _ in 0..2 {
        place.run("rides-per-zone").ok();
        assert_eq!(place.run("consume rides").ok().lines().count(), 266);
        let zones = place.run("consume zones").ok();
        assert_eq!(zones.lines().count(), 265);
        let first = zones.lines().next().unwrap();
        assert!(first.contains(
            r#""key":1,"value":{"locationid":1,"borough":"EWR","zone":"Newark Airport""#
        ));
    }
    let described = place.run("topics describe rides --format json").ok();
    assert!(described.contains("tiderace.load"), "{described}");
}

#[test]
fn no_load_takes_what_the_topic_holds() {
    let place = Place::new();
    place.run("topics create rides --partitions 4").ok();
    place
        .run_with("produce rides", "{\"key\":\"1\",\"value\":{\"a\":1}}\n")
        .ok();
    let message = place.run("rides-per-zone").refused(64);
    assert!(
        message.contains("holds 1 records that were not loaded"),
        "{message}"
    );
    place.run("rides-per-zone --no-load");
    assert_eq!(place.run("consume rides").ok().lines().count(), 1);
    place.run("rides-per-zone --no-load --scale 2").refused(2);
}

#[test]
fn rides_of_a_file_need_the_same_columns() {
    let place = Place::new();
    assert!(
        place
            .run("rides-per-zone --rides none.csv")
            .refused(66)
            .contains("none.csv")
    );
    std::fs::write(place.path().join("bad.csv"), "a,b\n1,2\n").unwrap();
    let message = place.run("rides-per-zone --rides bad.csv").refused(65);
    assert!(
        message.contains("bad.csv, line 1: there is no column `VendorID`"),
        "{message}"
    );
}

#[test]
fn wrong_options_are_refused_before_anything_is_written() {
    let place = Place::new();
    for line in [
        "--window 0s",
        "--window soon",
        "--grace 5",
        "--scale 0",
        "--order size",
        "--disorder x",
    ] {
        place.run(&format!("rides-per-zone {line}")).refused(2);
    }
    for line in [
        "--workers 0",
        "--commit-interval 0",
        "--application-id a/b",
        "--set processing.guarantee=at-least-once",
    ] {
        place.run(&format!("rides-per-zone {line}")).refused(64);
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_broker_that_is_not_there_is_named_within_ten_seconds() {
    let place = Place::new();
    let began = Instant::now();
    let message = place
        .run("rides-per-zone --brokers 127.0.0.1:1")
        .refused(69);
    assert!(message.contains("127.0.0.1:1"), "{message}");
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
}
