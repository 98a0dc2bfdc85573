//! The embedded log when its processes are killed, its disk is full or its files are damaged.

mod support;

use std::io::BufRead;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{child, log_with, new_topic, read_all, valued, values};
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, SinkRecord, TransactionError};
use tiderace::error::LogError;

const DIRECTORY: &str = "TIDERACE_TEST_DIRECTORY";

fn number(record: &[u8]) -> u64 {
    u64::from_be_bytes(record[..8].try_into().unwrap())
}

/// Sends transactions, each with one number to two partitions of `a`, to `b` and as an epoch, until killed.
fn commit_for_ever(directory: &Path) {
    let log = EmbeddedLog::open(directory).unwrap();
    let mut transactions = log
        .transactions("app", &["a".to_owned(), "b".to_owned()])
        .unwrap();
    let last = transactions
        .read_epochs(0)
        .unwrap()
        .last()
        .map_or(0, |entry| entry.epoch);
    for epoch in last + 1.. {
        let value = [&epoch.to_be_bytes()[..], &[7; 3000]].concat();
        let key = epoch.to_be_bytes();
        transactions.begin(0).unwrap();
        for (topic, partition) in [("a", 0), ("a", 1), ("b", 0)] {
            for _ in 0..epoch % 60 {
                transactions
                    .send(0, &valued(topic, partition, &value))
                    .unwrap();
            }
        }
        transactions
            .send(
                0,
                &SinkRecord {
                    key: Some(&key),
                    ..valued("app-epochs", 0, b"{}")
                },
            )
            .unwrap();
        transactions.commit(0).unwrap();
        transactions.confirm(0).unwrap();
        println!("committed {epoch}");
    }
}

#[test]
fn whatever_is_killed_every_commit_stands_whole_in_all_topics() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return commit_for_ever(Path::new(&directory));
    }
    let (directory, log) = log_with(&[("a", 2), ("b", 1)]);
    let mut epochs = 0;
    for round in 0..12 {
        let mut process = child(
            "whatever_is_killed_every_commit_stands_whole_in_all_topics",
            DIRECTORY,
            directory.path(),
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
        let lines = std::io::BufReader::new(process.stdout.take().unwrap()).lines();
        let committed = lines
            .map(Result::unwrap)
            .filter_map(|line| line.strip_prefix("committed ")?.parse().ok());
        let seen: u64 = committed.take(2 + round * 3).last().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        let entries = read_all(&log, "app-epochs", 0).unwrap();
        let found: Vec<_> = entries
            .iter()
            .map(|entry| number(entry.key.as_deref().unwrap()))
            .collect();
        epochs = found.len() as u64;
        assert_eq!(found, (1..=epochs).collect::<Vec<_>>());
        assert!(epochs >= seen, "{seen} was confirmed");
        let expected: Vec<_> = (1..=epochs)
            .flat_map(|epoch| (0..epoch % 60).map(move |_| epoch))
            .collect();
        for (topic, partition) in [("a", 0), ("a", 1), ("b", 0)] {
            let found: Vec<_> = values(&log, topic, partition)
                .iter()
                .map(|value| number(value))
                .collect();
            assert_eq!(found, expected, "{topic} {partition}");
        }
    }
    assert!(epochs > 100);
}

#[test]
fn a_lock_ends_with_its_killed_holder_and_names_it_until_then() {
    const TEST: &str = "a_lock_ends_with_its_killed_holder_and_names_it_until_then";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let log = EmbeddedLog::open(PathBuf::from(directory)).unwrap();
        let _writer = log.writer("t").unwrap();
        println!("locked");
        loop {
            std::thread::park();
        }
    }
    let (directory, log) = log_with(&[("t", 1)]);
    let mut process = child(TEST, DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("locked")));
    let error = log.writer("t").map(|_| ()).unwrap_err();
    assert!(
        matches!(error, LogError::InUse { pid, .. } if pid == process.id()),
        "{error}"
    );
    process.kill().unwrap();
    process.wait().unwrap();
    log.writer("t").unwrap();
}

fn limit_file_size(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: bytes,
            maximum,
        },
    )
    .unwrap();
}

/// One transaction with `records` records of about 1000 bytes.
fn transaction(
    transactions: &mut dyn tiderace::connect::Transactions,
    records: usize,
) -> Result<(), TransactionError> {
    transactions.begin(0)?;
    for _ in 0..records {
        transactions.send(0, &valued("t", 0, &[7; 1000]))?;
    }
    transactions.commit(0)?;
    transactions.confirm(0)
}

fn run_into_the_limit(directory: &Path) {
    let log = EmbeddedLog::open(directory).unwrap();
    let mut transactions = log.transactions("app", &["t".to_owned()]).unwrap();
    transaction(transactions.as_mut(), 100).unwrap();
    limit_file_size(Some(150_000));
    for _ in 0..3 {
        let error = transaction(transactions.as_mut(), 500).unwrap_err();
        assert!(
            matches!(&error, TransactionError::Failed(LogError::CannotWrite { file, .. }) if file.ends_with("t/0/00000000000000000000.segment")),
            "{error}"
        );
        assert!(matches!(
            transactions.begin(0),
            Err(TransactionError::Doubt(_))
        ));
        assert_eq!(read_all(&log, "t", 0).unwrap().len(), 100);
        transactions.renew().unwrap();
    }
    limit_file_size(None);
    transaction(transactions.as_mut(), 500).unwrap();
    assert_eq!(read_all(&log, "t", 0).unwrap().len(), 600);
    let mut writer = log.writer("plain").unwrap();
    writer.send(&valued("plain", 0, b"kept")).unwrap();
    writer.flush().unwrap();
    limit_file_size(Some(10_000));
    writer.send(&valued("plain", 0, &[7; 20_000])).unwrap();
    assert!(matches!(writer.flush(), Err(LogError::CannotWrite { .. })));
    assert!(matches!(writer.flush(), Err(LogError::Refused(_))));
    drop(writer);
    limit_file_size(None);
    let mut writer = log.writer("plain").unwrap();
    writer.send(&valued("plain", 0, b"went on")).unwrap();
    writer.flush().unwrap();
    assert_eq!(
        values(&log, "plain", 0),
        [b"kept".to_vec(), b"went on".to_vec()]
    );
}

#[test]
fn a_full_disk_fails_the_write_by_name_and_the_redo_works_when_there_is_space() {
    const TEST: &str = "a_full_disk_fails_the_write_by_name_and_the_redo_works_when_there_is_space";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return run_into_the_limit(Path::new(&directory));
    }
    let (directory, log) = log_with(&[("t", 1), ("plain", 1)]);
    let output = child(TEST, DIRECTORY, directory.path()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(read_all(&log, "t", 0).unwrap().len(), 600);
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
    let mut writer = log.writer("t").unwrap();
    writer.send(&valued("t", 0, b"new")).unwrap();
    writer.flush().unwrap();
    drop(writer);
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
