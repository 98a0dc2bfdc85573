//! The embedded log when its files are torn, damaged, missing or too new.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use support::{log_with, new_topic, read_all, valued, values};
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, SinkRecord};
use tiderace::error::LogError;

/// Keeps the warnings that are logged.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = String::new();
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                text.push_str(&format!("{field}={value:?} "));
            },
        );
        self.0.lock().unwrap().push(text);
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// A log with a few small commits to two partitions, its state after each of them, and its files.
fn small_log() -> (tempfile::TempDir, EmbeddedLog, Vec<[Vec<Vec<u8>>; 2]>) {
    let (directory, log) = log_with(&[("t", 2)]);
    let mut states = vec![[vec![], vec![]]];
    let mut writer = log.writer("t").unwrap();
    for round in 0..4_u8 {
        for partition in 0..2 {
            writer
                .send(&SinkRecord {
                    key: Some(b"k"),
                    ..valued("t", partition, &[round; 3])
                })
                .unwrap();
            writer.send(&valued("t", partition, &[])).unwrap();
        }
        writer.flush().unwrap();
        states.push([0, 1].map(|partition| values(&log, "t", partition)));
    }
    drop(writer);
    (directory, log, states)
}

/// What reading all of `t` gives, through a log that is opened anew.
fn state(directory: &Path) -> Result<[Vec<Vec<u8>>; 2], LogError> {
    let log = EmbeddedLog::open(directory)?;
    let read = |partition| {
        Ok(read_all(&log, "t", partition)?
            .into_iter()
            .map(|record| record.value.unwrap())
            .collect::<Vec<_>>())
    };
    Ok([read(0)?, read(1)?])
}

fn assert_damaged(
    result: Result<[Vec<Vec<u8>>; 2], LogError>,
    file: &Path,
    length: u64,
    what: &str,
) {
    match result {
        Err(LogError::Damaged {
            file: named,
            offset,
            ..
        }) => {
            assert_eq!(named, file, "{what}");
            assert!(offset <= length, "{what}: {offset}");
        }
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what}: not noticed"),
    }
}

#[test]
fn every_flipped_bit_of_any_file_is_an_error_that_names_the_file() {
    let (directory, _log, states) = small_log();
    assert_eq!(&state(directory.path()).unwrap(), states.last().unwrap());
    for name in [
        "commits",
        "t/topic",
        "t/0/00000000000000000000.segment",
        "t/1/00000000000000000000.segment",
    ] {
        let path = directory.path().join("log").join(name);
        let bytes = std::fs::read(&path).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                file.write_all_at(&[bytes[at] ^ (1 << bit)], at as u64)
                    .unwrap();
                let what = format!("{name}, byte {at}, bit {bit}");
                if name == "t/topic" {
                    let described = EmbeddedLog::open(directory.path()).unwrap().topic("t");
                    assert!(
                        matches!(described, Err(LogError::Damaged { file, .. }) if file == path),
                        "{what}"
                    );
                } else {
                    assert_damaged(state(directory.path()), &path, bytes.len() as u64, &what);
                }
            }
            file.write_all_at(&bytes[at..=at], at as u64).unwrap();
        }
    }
    assert_eq!(&state(directory.path()).unwrap(), states.last().unwrap());
}

#[test]
fn a_segment_cut_at_any_byte_or_missing_is_an_error_for_reader_and_writer() {
    let (directory, log, _) = small_log();
    let path = directory
        .path()
        .join("log/t/1/00000000000000000000.segment");
    let bytes = std::fs::read(&path).unwrap();
    for length in (0..bytes.len()).rev() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert_damaged(
            state(directory.path()),
            &path,
            length as u64,
            &format!("cut at {length}"),
        );
        assert!(
            matches!(log.writer("t"), Err(LogError::Damaged { file, .. }) if file == path),
            "cut at {length}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    assert_damaged(state(directory.path()), &path, 0, "removed");
    assert!(matches!(log.writer("t"), Err(LogError::Damaged { .. })));
    std::fs::remove_dir(directory.path().join("log/t/1")).unwrap();
    assert_damaged(
        state(directory.path()),
        path.parent().unwrap(),
        0,
        "directory removed",
    );
}

#[test]
fn a_commits_file_cut_at_any_byte_is_the_state_before_or_an_error() {
    let (directory, _, states) = small_log();
    let path = directory.path().join("log/commits");
    let bytes = std::fs::read(&path).unwrap();
    let mut seen = states.len() - 1;
    for length in (0..bytes.len()).rev() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        match state(directory.path()) {
            Ok(found) => {
                let at = states
                    .iter()
                    .position(|state| *state == found)
                    .expect("a state that has been");
                assert!(
                    at == seen || at + 1 == seen,
                    "cut at {length}: {at} after {seen}"
                );
                seen = at;
            }
            Err(LogError::NoTopic { .. }) => assert_eq!(seen, 0, "cut at {length}"),
            error => assert_damaged(error, &path, length as u64, &format!("cut at {length}")),
        }
    }
    assert_eq!(seen, 0);
    std::fs::remove_file(&path).unwrap();
    assert_damaged(state(directory.path()), &path, 0, "removed");
}

#[test]
fn a_writer_goes_on_behind_torn_tails_that_it_cuts_off() {
    let (directory, log, states) = small_log();
    let commits = directory.path().join("log/commits");
    let segment = directory
        .path()
        .join("log/t/0/00000000000000000000.segment");
    let append = |path: &Path, bytes: &[u8]| {
        let before = std::fs::read(path).unwrap();
        std::fs::write(path, [&before, bytes].concat()).unwrap();
    };
    append(&segment, b"half a batch");
    std::fs::write(
        directory
            .path()
            .join("log/t/0/00000000000000000008.segment"),
        b"",
    )
    .unwrap();
    append(&commits, &[9]);
    assert_eq!(&state(directory.path()).unwrap(), states.last().unwrap());
    let warnings = Warnings::default();
    tracing::subscriber::with_default(warnings.clone(), || {
        let mut writer = log.writer("t").unwrap();
        writer.send(&valued("t", 0, b"new")).unwrap();
        writer.flush().unwrap();
    });
    let warnings = warnings.0.lock().unwrap();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(
        warnings[0].contains("cut off a torn tail")
            && warnings[0].contains(segment.to_str().unwrap())
    );
    assert!(
        warnings[2].contains("cut off a torn tail")
            && warnings[2].contains(commits.to_str().unwrap())
    );
    let mut expected = states.last().unwrap().clone();
    expected[0].push(b"new".to_vec());
    assert_eq!(state(directory.path()).unwrap(), expected);
    assert!(
        !directory
            .path()
            .join("log/t/0/00000000000000000008.segment")
            .exists()
    );
    // A commit record that is torn takes its data with it, and the writer repairs both.
    let length = std::fs::metadata(&commits).unwrap().len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&commits)
        .unwrap()
        .set_len(length - 1)
        .unwrap();
    log.writer("t").unwrap().flush().unwrap();
    assert_eq!(&state(directory.path()).unwrap(), states.last().unwrap());
}

#[test]
fn segments_that_have_changed_places_are_noticed() {
    let (directory, _, _) = small_log();
    let [one, other] = ["0", "1"].map(|partition| {
        directory
            .path()
            .join("log/t")
            .join(partition)
            .join("00000000000000000000.segment")
    });
    let bytes = std::fs::read(&one).unwrap();
    std::fs::copy(&other, &one).unwrap();
    std::fs::write(&other, bytes).unwrap();
    let error = state(directory.path()).unwrap_err();
    assert!(error.to_string().contains("lies where that of"), "{error}");
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_not_called_damaged() {
    for (name, length) in [
        ("commits", 16),
        ("t/topic", 16),
        ("t/0/00000000000000000000.segment", 16),
    ] {
        let (directory, log, _) = small_log();
        let path = directory.path().join("log").join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[8] = 2;
        let checksum = crc32c::crc32c(&bytes[..12]);
        bytes[12..length].copy_from_slice(&checksum.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let refused = match name {
            "t/topic" => log.topic("t").map(|_| ()),
            _ => state(directory.path()).map(|_| ()),
        };
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, LogError::Refused(reason) if reason.contains("format version 2")),
            "{error}"
        );
    }
}

#[test]
fn leftovers_of_an_interrupted_creation_are_no_topic_and_do_not_hinder_the_next() {
    let (directory, log) = log_with(&[("t", 1)]);
    let half = directory.path().join("log/half/3");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("00000000000000000000.segment"), b"x").unwrap();
    assert_eq!(log.topics().unwrap(), ["t"]);
    log.create_topic(&new_topic("half", 1)).unwrap();
    assert_eq!(log.topics().unwrap(), ["half", "t"]);
    assert!(!half.exists());
    assert_eq!(values(&log, "half", 0), Vec::<Vec<u8>>::new());
}
