//! A restart under another policy: what was decided stays, what comes is decided anew.

use tiderace::connect::{Header, SinkRecord};
use tiderace::{OnError, RunError};

use crate::place::{Place, ride, zones};
use crate::support::Owned;

const LETTERS: &str = "letters";
const OTHERS: &str = "others";

fn place() -> Place {
    Place::new(&[("rides", 1), ("zones", 1), (LETTERS, 1), (OTHERS, 1)])
}

fn to(topic: &str) -> OnError {
    OnError::DeadLetter(topic.to_owned())
}

/// The offsets that the letters of a topic name.
fn lettered(place: &Place, topic: &str) -> Vec<String> {
    let is_offset = |header: &Header| header.name == "__streams.errors.offset";
    let offset = |letter: Owned| {
        let header = letter.headers.into_iter().find(is_offset).unwrap();
        String::from_utf8(header.value.unwrap()).unwrap()
    };
    place
        .read(topic)
        .into_iter()
        .flatten()
        .map(offset)
        .collect()
}

#[test]
fn a_restart_takes_what_was_decided_from_the_log_whatever_the_policy_is_now() {
    let policies = || [OnError::Fail, OnError::Skip, to(LETTERS), to(OTHERS)];
    for then in [OnError::Skip, to(LETTERS)] {
        for now in policies() {
            let place = place();
            place.send(&[
                ride(0, r#"{"zone":1}"#),
                ride(0, "bad"),
                ride(0, r#"{"zone":2}"#),
            ]);
            place.run(zones(then.clone())).unwrap();
            let before = [LETTERS, OTHERS, "zones"].map(|topic| place.read(topic));
            // Without its snapshot a restart replays, finds what was committed, and adds nothing.
            for replays in [true, false] {
                if replays {
                    place.forget_snapshots();
                }
                let report = place.run(zones(now.clone())).unwrap();
                assert!(report.resumed);
                assert_eq!(report.counts.read, 0, "{then:?}, then {now:?}");
                let after = [LETTERS, OTHERS, "zones"].map(|topic| place.read(topic));
                assert_eq!(before, after, "{then:?}, then {now:?}");
            }
        }
    }
}

#[test]
fn what_comes_after_a_restart_is_decided_by_the_new_policy() {
    let place = place();
    place.send(&[ride(0, "bad 0")]);
    place.run(zones(OnError::Skip)).unwrap();
    place.send(&[ride(0, "bad 1")]);
    assert_eq!(
        place.run(zones(to(LETTERS))).unwrap().counts.dead_lettered,
        1
    );
    place.send(&[ride(0, "bad 2")]);
    assert_eq!(
        place.run(zones(to(OTHERS))).unwrap().counts.dead_lettered,
        1
    );
    place.send(&[ride(0, "bad 3")]);
    let error = place.run(zones(OnError::Fail)).unwrap_err();
    assert!(matches!(error, RunError::Data { offset: 3, .. }), "{error}");
    assert_eq!(place.run(zones(OnError::Skip)).unwrap().counts.skipped, 1);
    assert_eq!(lettered(&place, LETTERS), ["1"]);
    assert_eq!(lettered(&place, OTHERS), ["2"]);
}

#[test]
fn a_letter_without_a_key_stays_in_its_partition_and_one_with_a_key_lies_by_it() {
    let place = Place::new(&[("rides", 3), ("zones", 1), (LETTERS, 2)]);
    let keyless = |partition| SinkRecord {
        key: None,
        ..ride(partition, "bad")
    };
    place.send(&[keyless(0), keyless(1), keyless(2)]);
    // Java puts "21" into partition 1173551340 % 2 = 0.
    place.send(&[SinkRecord {
        key: Some(b"21"),
        ..ride(1, "bad too")
    }]);
    assert_eq!(
        place.run(zones(to(LETTERS))).unwrap().counts.dead_lettered,
        4
    );
    let values: Vec<Vec<_>> = place
        .read(LETTERS)
        .into_iter()
        .map(|of| {
            let mut values: Vec<_> = of.into_iter().map(|of| of.value.unwrap()).collect();
            values.sort();
            values
        })
        .collect();
    assert_eq!(
        values[0],
        [b"bad".to_vec(), b"bad".to_vec(), b"bad too".to_vec()]
    );
    assert_eq!(values[1], [b"bad".to_vec()]);
}

#[test]
fn the_epochs_before_a_bad_record_are_committed_and_nothing_of_its_own() {
    let place = place();
    let values: Vec<String> = (0..40).map(|zone| format!("{{\"zone\":{zone}}}")).collect();
    for value in &values {
        place.send(&[ride(0, value)]);
    }
    place.send(&[ride(0, "bad"), ride(0, r#"{"zone":99}"#)]);
    let config = tiderace::Config {
        epoch_records: 8,
        ..place.config()
    };
    let error = place.run_with(zones(OnError::Fail), &config).unwrap_err();
    assert!(
        matches!(error, RunError::Data { offset: 40, .. }),
        "{error}"
    );
    let committed = place.texts("zones");
    assert!(committed.len() <= 40);
    assert!(
        committed
            .iter()
            .enumerate()
            .all(|(at, zone)| *zone == at.to_string())
    );
    let again = place.run_with(zones(OnError::Fail), &config).unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    let report = place.run_with(zones(OnError::Skip), &config).unwrap();
    assert!(report.resumed);
    let all: Vec<String> = (0..40).chain([99]).map(|zone| zone.to_string()).collect();
    assert_eq!(place.texts("zones"), all);
}
