//! Starts that are refused: topics, directories, earlier starts that do not fit.

use std::sync::Arc;
use std::time::Duration;

use tiderace::connect::Log;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::{Config, Engine, LogError, OnError, RunError, StreamsBuilder, TimeWindows};

use crate::place::{COUNTS, Place, RIDES, TIME, ride, zones};
use crate::support::new_topic;

pub(crate) fn refused(error: &RunError, parts: &[&str]) {
    assert_eq!(error.exit_code(), 64, "{error}");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }
}

#[test]
fn a_missing_topic_is_named_with_the_place_that_was_searched() {
    for (there, missing) in [("zones", "rides"), ("rides", "zones")] {
        let place = Place::new(&[(there, 1)]);
        let error = place.run(zones(OnError::Fail)).unwrap_err();
        let location = place.log.location();
        refused(
            &error,
            &[&format!("topic `{missing}` does not exist in {location}")],
        );
        assert!(place.log.topic("app-epochs").unwrap().is_none());
    }
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    let letters = OnError::DeadLetter("letters".into());
    let error = place.run(zones(letters)).unwrap_err();
    refused(&error, &["topic `letters` does not exist"]);
}

/// What was written to `zones`, in no order: partitions are read as they come.
fn zones_written(place: &Place) -> Vec<String> {
    let mut zones = place.texts("zones");
    zones.sort();
    zones
}

#[test]
fn partitions_that_were_added_to_the_input_are_read_from_their_first_record() {
    let place = Place::new(&[("rides", 2), ("zones", 1)]);
    place.send(&[ride(0, r#"{"zone":1}"#), ride(1, r#"{"zone":2}"#)]);
    place.run(zones(OnError::Fail)).unwrap();
    place.log.add_partitions("rides", 4).unwrap();
    // Before the start and after it, and in one of them nothing yet.
    place.send(&[
        ride(2, r#"{"zone":3}"#),
        ride(2, r#"{"zone":4}"#),
        ride(0, r#"{"zone":5}"#),
    ]);
    let report = place.run(zones(OnError::Fail)).unwrap();
    assert_eq!(report.counts.read, 3);
    assert_eq!(zones_written(&place), ["1", "2", "3", "4", "5"]);
    let start = place.texts("app-epochs").into_iter().rev();
    let mut starts = start.filter(|entry| entry.contains(r#""kind":"start""#));
    let start: serde_json::Value = serde_json::from_str(&starts.next().unwrap()).unwrap();
    let added = &start["added"][0];
    assert_eq!(
        (&added["topic"], &added["first"], &added["start"]),
        (&"rides".into(), &2.into(), &serde_json::json!([0, 0]))
    );
    // They stay known, to a start with the snapshot and to one that replays the whole log.
    place.send(&[ride(3, r#"{"zone":6}"#), ride(2, r#"{"zone":7}"#)]);
    assert_eq!(place.run(zones(OnError::Fail)).unwrap().counts.read, 2);
    place.forget_snapshots();
    place.send(&[ride(3, r#"{"zone":8}"#)]);
    assert_eq!(place.run(zones(OnError::Fail)).unwrap().counts.read, 1);
    assert_eq!(
        zones_written(&place),
        ["1", "2", "3", "4", "5", "6", "7", "8"]
    );
    let verdict = tiderace::runtime::check(&*place.log, place.path(), "app").unwrap();
    assert_eq!((verdict.records, &verdict.faults[..]), (8, &[][..]));
}

/// The end of the first run has made all windows final that it had records for.
#[test]
fn records_of_an_added_partition_are_late_in_windows_that_are_final() {
    let program = || {
        let builder = StreamsBuilder::new("app");
        let windows = TimeWindows::of_size(Duration::from_secs(60));
        let counts = builder.stream(RIDES).group_by_key().windowed_by(windows);
        let counts = counts.count().emit_on_close();
        counts.map(|of, count| (of.key, count)).to(COUNTS);
        builder.build().unwrap()
    };
    let place = Place::new(&[("rides", 1), ("counts", 1)]);
    place.send(&[ride(0, r#"{"zone":1}"#); 3]);
    place.run(program()).unwrap();
    assert_eq!(place.texts("counts"), ["3"]);
    place.log.add_partitions("rides", 2).unwrap();
    let later = tiderace::connect::SinkRecord {
        timestamp: TIME + 3_600_000,
        ..ride(1, r#"{"zone":1}"#)
    };
    place.send(&[ride(1, r#"{"zone":1}"#), later, later]);
    let counts = place.run(program()).unwrap().counts;
    assert_eq!((counts.read, counts.late, counts.processed), (3, 1, 2));
    assert_eq!(place.texts("counts"), ["3", "2"]);
}

#[test]
fn an_output_that_was_given_partitions_replays_to_the_same_digests_and_is_sound() {
    let place = Place::new(&[("rides", 2), ("zones", 1)]);
    let keyed = |zone: &'static str, key: &'static [u8]| tiderace::connect::SinkRecord {
        key: Some(key),
        ..ride(0, zone)
    };
    let rides = [
        keyed(r#"{"zone":1}"#, b"a"),
        keyed(r#"{"zone":2}"#, b"b"),
        keyed(r#"{"zone":3}"#, b"c"),
    ];
    place.send(&rides);
    place.run(zones(OnError::Fail)).unwrap();
    place.log.add_partitions("zones", 3).unwrap();
    place.forget_snapshots();
    place.send(&rides);
    place.run(zones(OnError::Fail)).unwrap();
    let written = place.read("zones");
    assert!(written[0].len() >= 3 && written[0].len() < 6, "{written:?}");
    let verdict = tiderace::runtime::check(&*place.log, place.path(), "app").unwrap();
    assert_eq!((verdict.records, &verdict.faults[..]), (6, &[][..]));
}

#[test]
fn input_that_was_deleted_and_created_again_is_refused_with_both_ids() {
    let id = |place: &Place| place.log.topic("rides").unwrap().unwrap().id.unwrap();
    for now in [1, 2, 3] {
        let place = Place::new(&[("rides", 2), ("zones", 1)]);
        place.send(&[ride(1, r#"{"zone":1}"#)]);
        place.run(zones(OnError::Fail)).unwrap();
        let then = id(&place);
        place.log.delete_topic("rides").unwrap();
        place.log.create_topic(&new_topic("rides", now)).unwrap();
        // As many records, so that only the id tells.
        place.send(&[ride(now - 1, r#"{"zone":2}"#); 2]);
        let before = (place.read("zones"), place.read("app-epochs"));
        let error = place.run(zones(OnError::Fail)).unwrap_err();
        assert_eq!(error.exit_code(), 66, "{error}");
        let text = error.to_string();
        let ids = format!(
            "its id was {then} when `app` was begun and is {} now",
            id(&place)
        );
        for part in ["topic `rides`", &ids, "--data-dir", "--application-id"] {
            assert!(text.contains(part), "`{part}` is missing: {text}");
        }
        assert_eq!((place.read("zones"), place.read("app-epochs")), before);
    }
}

#[test]
fn input_that_was_replaced_by_other_records_is_noticed() {
    let begin = |zone: &str| {
        let place = Place::new(&[("rides", 1), ("zones", 1)]);
        place.send(&[ride(0, r#"{"zone":1}"#), ride(0, zone)]);
        place
    };
    let place = begin(r#"{"zone":2}"#);
    place.run(zones(OnError::Fail)).unwrap();
    let other = begin(r#"{"zone":3}"#);
    std::fs::copy(other.segment("rides", 0), place.segment("rides", 0)).unwrap();
    // What a snapshot stands for is not read again, so it is the replay that notices.
    place.forget_snapshots();
    let before = place.read("zones");
    let error = place.run(zones(OnError::Fail)).unwrap_err();
    assert_eq!(error.exit_code(), 65, "{error}");
    assert!(matches!(&error, RunError::Replay { .. }), "{error}");
    assert!(error.to_string().contains("topic `zones`"), "{error}");
    assert_eq!(place.read("zones"), before);
}

#[test]
fn an_epoch_log_of_another_version_or_of_somebody_elses_records_is_refused_by_offset() {
    for foreign in ["{}", "not JSON", r#"{"kind":"epoch","epoch":1}"#] {
        let place = Place::new(&[("rides", 1), ("zones", 1), ("app-epochs", 1)]);
        let entry = tiderace::connect::SinkRecord {
            topic: "app-epochs",
            key: Some(&[0; 8]),
            ..ride(0, foreign)
        };
        place.send(&[entry]);
        let error = place.run(zones(OnError::Fail)).unwrap_err();
        refused(&error, &["epoch log of `app`", "at offset 0"]);
    }
}

#[test]
fn a_second_instance_in_the_same_directory_is_refused_with_the_pid() {
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    let following = Config {
        follow: true,
        ..place.config()
    };
    let first = Engine::start(zones(OnError::Fail), place.log.clone(), &following).unwrap();
    let error = place.run(zones(OnError::Fail)).unwrap_err();
    assert_eq!(error.exit_code(), 75, "{error}");
    let text = error.to_string();
    let directory = place.path().display();
    let expected = format!(
        "application `app` in {directory} is in use by process {}",
        std::process::id()
    );
    assert_eq!(text, expected);
    first.stop_handle().stop();
    first.join().unwrap();
    place.run(zones(OnError::Fail)).unwrap();
}

#[test]
fn a_second_application_that_writes_the_same_topic_is_refused_while_the_first_runs() {
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    let following = Config {
        follow: true,
        ..place.config()
    };
    let first = Engine::start(zones(OnError::Fail), place.log.clone(), &following).unwrap();
    let other = Config {
        application_id: Some("other".into()),
        ..place.config()
    };
    let error = place.run_with(zones(OnError::Fail), &other).unwrap_err();
    assert!(
        matches!(&error, RunError::Log(LogError::InUse { what, pid })
            if what.contains("zones") && *pid == std::process::id()),
        "{error}"
    );
    first.stop_handle().stop();
    first.join().unwrap();
}

#[test]
fn an_application_id_that_cannot_be_a_directory_is_refused() {
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    for id in ["", "..", "a/b", "ü"] {
        let config = Config {
            application_id: Some(id.into()),
            ..place.config()
        };
        let error = place.run_with(zones(OnError::Fail), &config).unwrap_err();
        refused(&error, &[&format!("application id `{id}` is not valid")]);
    }
}

#[test]
fn a_data_directory_that_is_a_file_cannot_be_written_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("data");
    std::fs::write(&file, "occupied").unwrap();
    let error = EmbeddedLog::open(&file).map(|_| ()).unwrap_err();
    assert_eq!(error.exit_code(), 73, "{error}");
    assert!(
        error.to_string().contains(file.to_str().unwrap()),
        "{error}"
    );
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    let config = Config {
        data_dir: file.clone(),
        ..Config::default()
    };
    let log: Arc<dyn Log> = place.log.clone();
    let error = Engine::start(zones(OnError::Fail), log, &config)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.exit_code(), 73, "{error}");
    assert!(
        error.to_string().contains(file.to_str().unwrap()),
        "{error}"
    );
}

/// What is in a state directory is trusted, so nobody else may have had a hand in it.
#[test]
fn a_state_directory_that_is_a_link_or_open_to_everybody_is_refused_and_nothing_is_written() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let allow = |path: &std::path::Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).unwrap();
    };
    for below in ["state/app", "state/app/snapshots"] {
        let place = Place::new(&[("rides", 1), ("zones", 1)]);
        place.send(&[ride(0, r#"{"zone":1}"#)]);
        place.run(zones(OnError::Fail)).unwrap();
        let directory = place.path().join(below);
        let shown = directory.display().to_string();
        let entries = place.texts("app-epochs").len();
        place.send(&[ride(0, r#"{"zone":2}"#)]);

        allow(&directory, 0o757);
        let error = place.run(zones(OnError::Fail)).unwrap_err();
        refused(&error, &[&shown, "written by everybody", "chmod o-w"]);
        allow(&directory, 0o700);

        let elsewhere = place.path().join("elsewhere");
        std::fs::rename(&directory, &elsewhere).unwrap();
        symlink(&elsewhere, &directory).unwrap();
        let error = place.run(zones(OnError::Fail)).unwrap_err();
        refused(&error, &[&shown, "symbolic link", "--data-dir"]);
        std::fs::remove_file(&directory).unwrap();
        std::fs::rename(&elsewhere, &directory).unwrap();

        assert_eq!(place.texts("app-epochs").len(), entries);
        assert_eq!(place.run(zones(OnError::Fail)).unwrap().counts.read, 1);
        assert_eq!(place.texts("zones"), ["1", "2"]);
    }
}

#[test]
fn a_state_directory_of_another_application_is_refused_and_named() {
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    place.send(&[ride(0, r#"{"zone":1}"#)]);
    place.run(zones(OnError::Fail)).unwrap();
    let state = place.path().join("state");
    std::fs::rename(state.join("app"), state.join("other")).unwrap();
    let other = Config {
        application_id: Some("other".to_owned()),
        ..place.config()
    };
    let error = place.run_with(zones(OnError::Fail), &other).unwrap_err();
    refused(&error, &["`app`", "`other`"]);
    assert_eq!(place.texts("other-epochs"), [""; 0]);
    std::fs::rename(state.join("other"), state.join("app")).unwrap();
    assert!(place.run(zones(OnError::Fail)).unwrap().resumed);
}

/// An older snapshot in its place would be a step back that nobody asked for.
#[test]
fn a_snapshot_of_a_newer_version_is_refused_and_nothing_is_written() {
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    place.send(&[ride(0, r#"{"zone":1}"#)]);
    place.run(zones(OnError::Fail)).unwrap();
    let entries = place.texts("app-epochs").len();
    let files = std::fs::read_dir(place.path().join("state/app/snapshots")).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let is_manifest = |file: &std::path::PathBuf| file.extension().unwrap() == "manifest";
    let manifest = files.find(is_manifest).unwrap();
    // Its checksum is of everything behind it.
    let text = std::fs::read_to_string(&manifest).unwrap();
    let begin = text.find(r#""version":"#).unwrap();
    let body = text[begin..].replacen(r#""version":1"#, r#""version":2"#, 1);
    let (head, checksum) = (&text[..begin], xxhash_rust::xxh3::xxh3_64(body.as_bytes()));
    let old = head.split('"').nth(3).unwrap();
    let newer = format!("{}{body}", head.replace(old, &format!("{checksum:016x}")));
    std::fs::write(&manifest, newer).unwrap();
    let error = place.run(zones(OnError::Fail)).unwrap_err();
    refused(&error, &[manifest.to_str().unwrap(), "version 2"]);
    assert_eq!(place.texts("app-epochs").len(), entries);
}
