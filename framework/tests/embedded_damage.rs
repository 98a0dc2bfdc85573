//! The embedded log when its files are torn, damaged, missing or too new.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test says how long it took")]

mod support;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use support::{Owned, log_with, new_topic, next, read_all, valued, values};
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, SinkRecord, TopicPartition};
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

/// How many flips of a file are tried.
const FLIPS: u64 = 100_000;

/// Records of [`Long`], each committed by itself.
const COMMITS: u32 = 300;

/// A log whose segment and whose commits have tens of kilobytes, in memory where the system has a place for that: the
/// tests write more than they do anything else.
struct Long {
    directory: tempfile::TempDir,
    records: Vec<Owned>,
}

impl Long {
    fn new() -> Long {
        let made = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let directory = made.unwrap();
        let log = EmbeddedLog::open(directory.path()).unwrap();
        log.create_topic(&new_topic("t", 1)).unwrap();
        let mut writer = log.writer("t").unwrap();
        for number in 0..COMMITS {
            let value = [number as u8; 60];
            writer
                .send(&SinkRecord {
                    key: (number % 3 > 0).then_some(b"key"),
                    value: (number % 7 > 0).then_some(&value),
                    timestamp: i64::from(number),
                    ..valued("t", 0, b"")
                })
                .unwrap();
            writer.flush().unwrap();
        }
        drop(writer);
        let records = read_all(&log, "t", 0).unwrap();
        assert_eq!(records.len(), COMMITS as usize);
        Long { directory, records }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("log").join(name)
    }

    /// Reads what can be read, which must be as it was written: how many records, and what ended it.
    fn read(&self) -> (usize, Option<LogError>) {
        let mut read = 0;
        let outcome = EmbeddedLog::open(self.directory.path()).and_then(|log| {
            let mut source = log.source(&[(TopicPartition::new("t", 0), 0)], 1 << 20)?;
            while let Some((_, records)) = next(source.as_mut())? {
                let expected = &self.records[read..read + records.len()];
                assert!(records == expected, "other records than were written");
                read += records.len();
            }
            Ok(())
        });
        (read, outcome.err())
    }

    /// Reads, and expects to be told of damage in a file, at or before a byte.
    fn is_found(&self, path: &Path, at: u64, what: &str) {
        match self.read() {
            (_, Some(LogError::Damaged { file, offset, .. })) => {
                assert_eq!(file, path, "{what}");
                assert!(offset <= at, "{what}: found at {offset}");
            }
            (_, Some(other)) => panic!("{what}: {other}"),
            (read, None) => panic!("{what}: not noticed, {read} records"),
        }
    }

    /// Flips bits of a file, one at a time: every one near its beginning and its end, and a sample of all.
    fn flips(&self, path: &Path) -> u64 {
        let whole = std::fs::read(path).unwrap();
        assert!((10_000..64 << 10).contains(&whole.len()), "{}", whole.len());
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        let bits = whole.len() as u64 * 8;
        let dense = (0..4_000).chain(bits - 4_000..bits);
        let sampled = (0..FLIPS).map(|nth| nth * 7_919_993 % bits);
        let mut flips = 0;
        for bit in dense.chain(sampled) {
            let at = bit / 8;
            let byte = whole[at as usize];
            file.write_all_at(&[byte ^ (1 << (bit % 8))], at).unwrap();
            self.is_found(path, at, &format!("bit {bit}"));
            file.write_all_at(&[byte], at).unwrap();
            flips += 1;
        }
        assert_eq!(self.read().0, self.records.len(), "as it was before");
        flips
    }
}

#[test]
fn every_truncation_and_a_hundred_thousand_flips_of_a_segment_are_found() {
    let began = Instant::now();
    let long = Long::new();
    let path = long.file("t/0/00000000000000000000.segment");
    let flips = long.flips(&path);
    let whole = std::fs::read(&path).unwrap();
    // What lies behind the committed length is nobody's.
    std::fs::write(&path, [&whole[..], &[7; 500]].concat()).unwrap();
    let (read, error) = long.read();
    assert!(error.is_none() && read == long.records.len(), "{error:?}");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for length in (0..whole.len() as u64).rev() {
        file.set_len(length).unwrap();
        long.is_found(&path, length, &format!("cut at {length}"));
    }
    println!(
        "segment of {} bytes: {} truncations and {flips} flips, all found, in {:.0} s",
        whole.len(),
        whole.len(),
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn every_truncation_and_a_hundred_thousand_flips_of_the_commits_are_found() {
    let began = Instant::now();
    let long = Long::new();
    let path = long.file("commits");
    let flips = long.flips(&path);
    let whole = std::fs::read(&path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let (mut least, mut torn) = (long.records.len(), 0);
    for length in (0..whole.len() as u64).rev() {
        file.set_len(length).unwrap();
        // A last record that is shorter than it says is torn, and the commits before it count.
        match long.read() {
            (read, None) => {
                assert!(
                    read == least || read + 1 == least,
                    "cut at {length}: {read}"
                );
                (least, torn) = (read, torn + 1);
            }
            (_, Some(LogError::NoTopic { .. })) => assert_eq!(least, 0, "cut at {length}"),
            _ => long.is_found(&path, length, &format!("cut at {length}")),
        }
    }
    assert_eq!(least, 0);
    println!(
        "commits of {} bytes: {} truncations, {torn} of them torn tails, and {flips} flips, all found, in {:.0} s",
        whole.len(),
        whole.len(),
        began.elapsed().as_secs_f64()
    );
}
