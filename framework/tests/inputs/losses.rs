//! Input that was deleted before it was read, or before what was read of it needed no replay any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tiderace::connect::{Log, TopicPartition};
use tiderace::error::Gap;
use tiderace::{Config, OnError, RunError, StreamsBuilder, Topology};

use crate::place::{Place, RIDES, ZONES, ride, zones};

/// A place of which three rides of each partition were read, and five more are there; `gone` says up to where
/// they are deleted.
fn lacking(gone: [i64; 2]) -> Place {
    let place = Place::new(&[("rides", 2), ("zones", 1)]);
    send(&place, 0..3);
    place.run(zones(OnError::Fail)).unwrap();
    send(&place, 3..8);
    delete(&place, gone);
    place
}

fn send(place: &Place, numbers: std::ops::Range<u32>) {
    for number in numbers {
        for partition in [0, 1] {
            let value = format!(r#"{{"zone":{}}}"#, partition * 100 + number);
            place.send(&[ride(partition, &value)]);
        }
    }
}

fn delete(place: &Place, before: [i64; 2]) {
    for (partition, before) in (0..).zip(before) {
        let partition = TopicPartition::new("rides", partition);
        place.log.delete_records(&partition, before).unwrap();
    }
}

fn accepting(place: &Place, topics: &[&str]) -> Config {
    Config {
        accepted_losses: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        ..place.config()
    }
}

/// The zones written, in no order.
fn written(place: &Place) -> Vec<u32> {
    let texts = place.texts("zones").into_iter();
    let mut zones: Vec<_> = texts.map(|text| text.parse().unwrap()).collect();
    zones.sort();
    zones
}

fn gap(partition: u32, wanted: i64, first: i64) -> Gap {
    Gap {
        partition: TopicPartition::new("rides", partition),
        wanted,
        first,
    }
}

/// What the starts say was lost.
fn lost(place: &Place) -> Vec<Value> {
    let entries = place.texts("app-epochs").into_iter();
    let entries = entries.map(|text| serde_json::from_str::<Value>(&text).unwrap());
    let mut starts: Vec<_> = entries.filter(|entry| entry["kind"] == "start").collect();
    starts
        .iter_mut()
        .map(|start| start["lost"].take())
        .collect()
}

#[test]
fn records_that_are_gone_unread_are_refused_with_the_exact_gaps() {
    for (gone, gaps) in [
        ([5, 0], vec![gap(0, 3, 5)]),
        ([3, 8], vec![gap(1, 3, 8)]),
        ([4, 7], vec![gap(0, 3, 4), gap(1, 3, 7)]),
    ] {
        let place = lacking(gone);
        let before = (written(&place), place.texts("app-epochs"));
        for accepted in [&[][..], &["zones"]] {
            let error = place.run_with(zones(OnError::Fail), &accepting(&place, accepted));
            let error = error.unwrap_err();
            assert_eq!(error.exit_code(), 66, "{error}");
            assert!(
                matches!(&error, RunError::Lost { gaps: found } if *found == gaps),
                "{error:?}"
            );
            let text = error.to_string();
            for gap in &gaps {
                let part = format!(
                    "topic `rides`, partition {}: {} offsets, from 3 to {}; the first one held is {}",
                    gap.partition.partition,
                    gap.first - 3,
                    gap.first - 1,
                    gap.first
                );
                assert!(text.contains(&part), "`{part}` is missing: {text}");
            }
            assert!(text.contains("--accept-loss rides:"), "{text}");
        }
        assert_eq!((written(&place), place.texts("app-epochs")), before);
    }
}

#[test]
fn what_was_read_and_needs_no_replay_may_go() {
    let place = lacking([3, 2]);
    let report = place.run(zones(OnError::Fail)).unwrap();
    assert_eq!(report.counts.read, 10);
}

#[test]
fn a_loss_that_is_accepted_is_left_out_and_logged() {
    let place = lacking([5, 8]);
    let report = place.run_with(zones(OnError::Fail), &accepting(&place, &["rides"]));
    assert_eq!(report.unwrap().counts.read, 3);
    let expected = [0, 1, 2, 5, 6, 7, 100, 101, 102];
    assert_eq!(written(&place), expected);
    let gaps = json!([
        {"topic": "rides", "partition": 0, "from": 3, "to": 5},
        {"topic": "rides", "partition": 1, "from": 3, "to": 8},
    ]);
    assert_eq!(lost(&place), [Value::Null, gaps]);
    let verdict = tiderace::runtime::check_with_inputs(&*place.log, place.path(), "app").unwrap();
    assert_eq!(verdict.faults, Vec::<String>::new());
    assert_eq!(verdict.input_records, Some(3));
    // Said once, it is done with.
    send(&place, 8..9);
    let report = place.run(zones(OnError::Fail)).unwrap();
    assert_eq!(report.counts.read, 2);
    assert_eq!(lost(&place)[2], Value::Null);
}

/// Panics at the ride that brings this to zero.
fn trapped(trap: &Arc<AtomicI64>) -> Topology {
    let (builder, trap) = (StreamsBuilder::new("app"), Arc::clone(trap));
    let rides = builder.stream(RIDES).map_values(|ride| ride.zone);
    rides
        .peek(move |_| assert!(trap.fetch_sub(1, Ordering::SeqCst) != 1, "the trap"))
        .to(ZONES);
    builder.build().unwrap()
}

#[test]
fn a_crash_behind_an_accepted_loss_replays_what_was_read_behind_it() {
    let trap = Arc::new(AtomicI64::new(0));
    let place = Place::new(&[("rides", 2), ("zones", 1)]);
    send(&place, 0..3);
    place.run(trapped(&trap)).unwrap();
    send(&place, 3..8);
    delete(&place, [5, 4]);
    // Each record is an epoch, and no snapshot is taken before the panic.
    let config = Config {
        epoch_records: 1,
        snapshot_interval: Duration::from_secs(3600),
        ..accepting(&place, &["rides"])
    };
    trap.store(4, Ordering::SeqCst);
    let error = place.run_with(trapped(&trap), &config).unwrap_err();
    assert!(matches!(error, RunError::Panicked { .. }), "{error}");
    let committed = written(&place).len();
    assert!((7..=9).contains(&committed), "{committed} records");
    // The loss stands in the log, so nobody has to say it again.
    let report = place.run(trapped(&trap)).unwrap();
    assert_eq!(report.counts.read as usize, 13 - committed);
    let expected = [0, 1, 2, 5, 6, 7, 100, 101, 102, 104, 105, 106, 107];
    assert_eq!(written(&place), expected);
}

#[test]
fn what_a_replay_needs_cannot_be_given_up() {
    let place = lacking([2, 0]);
    place.forget_snapshots();
    let before = (written(&place), place.texts("app-epochs"));
    let error = place.run_with(zones(OnError::Fail), &accepting(&place, &["rides"]));
    let error = error.unwrap_err();
    assert_eq!(error.exit_code(), 66, "{error}");
    let last = before.1.len() as u64 - 2;
    assert!(
        matches!(&error, RunError::Irreproducible { gaps, last: of, .. }
            if *gaps == [gap(0, 0, 2)] && *of <= last),
        "{error:?}"
    );
    let text = error.to_string();
    for part in [
        "topic `rides`, partition 0: 2 offsets, from 0 to 1",
        "cannot be accepted",
        "Bring back a snapshot of epoch",
        "--application-id",
    ] {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }
    assert_eq!((written(&place), place.texts("app-epochs")), before);
}
