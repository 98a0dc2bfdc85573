//! The embedded log when its processes are killed or find the disk full.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::BufRead;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{child, log_with, new_topic, read_all, read_from, valued, values};
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, NewTopic, SinkRecord, TopicPartition, TransactionError};
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
        // The pipe stays open until the kill, or the process would end by itself and clean up.
        let lines = std::io::BufReader::new(process.stdout.take().unwrap()).lines();
        let mut committed = lines
            .map(Result::unwrap)
            .filter_map(|line| line.strip_prefix("committed ")?.parse::<u64>().ok());
        let seen = committed.by_ref().take(2 + round * 3).last().unwrap();
        let during = values(&log, "b", 0);
        process.kill().unwrap();
        let status = process.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{status}");
        assert!(values(&log, "b", 0).starts_with(&during));
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

/// Commits epochs and forgets all but the last ten, until killed.
fn commit_and_forget_for_ever(directory: &Path) {
    let log = EmbeddedLog::open(directory).unwrap();
    let mut transactions = log.transactions("app", &[]).unwrap();
    let partition = TopicPartition::new("app-epochs", 0);
    let read = transactions.read_epochs(0).unwrap();
    let last = read.last().map_or(0, |entry| entry.epoch);
    for epoch in last + 1.. {
        let key = epoch.to_be_bytes();
        let entry = SinkRecord {
            key: Some(&key),
            ..valued("app-epochs", 0, &[7; 900])
        };
        transactions.begin(0).unwrap();
        transactions.send(0, &entry).unwrap();
        transactions.commit(0).unwrap();
        transactions.confirm(0).unwrap();
        let offset = transactions.entry_offset(0).unwrap().unwrap();
        log.delete_records(&partition, offset - 9).unwrap();
        println!("committed {epoch}");
    }
}

#[test]
fn whatever_is_killed_the_epoch_log_begins_where_it_was_last_cut_and_misses_nothing_behind() {
    const TEST: &str =
        "whatever_is_killed_the_epoch_log_begins_where_it_was_last_cut_and_misses_nothing_behind";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return commit_and_forget_for_ever(Path::new(&directory));
    }
    let (directory, log) = log_with(&[]);
    log.create_topic(&NewTopic {
        config: [("segment.bytes".to_owned(), "4096".to_owned())].into(),
        ..new_topic("app-epochs", 1)
    })
    .unwrap();
    let mut last = 0;
    for round in 0..12 {
        let mut process = child(TEST, DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(process.stdout.take().unwrap()).lines();
        let mut committed = lines
            .map(Result::unwrap)
            .filter_map(|line| line.strip_prefix("committed ")?.parse::<u64>().ok());
        let seen = committed.by_ref().take(5 + round * 3).last().unwrap();
        process.kill().unwrap();
        assert_eq!(process.wait().unwrap().signal(), Some(9));
        let held = log.topic("app-epochs").unwrap().unwrap().partitions[0];
        let entries = read_from(&log, "app-epochs", 0, held.first).unwrap();
        let found: Vec<_> = entries
            .iter()
            .map(|entry| number(entry.key.as_deref().unwrap()) as i64 - 1)
            .collect();
        assert_eq!(found, (held.first..held.end).collect::<Vec<_>>());
        // The last step that counts is a commit or the cut behind it.
        let count = held.end - held.first;
        assert!(held.end < 10 || (10..=11).contains(&count), "{count}");
        last = held.end as u64;
        assert!(last >= seen, "{seen} was confirmed");
        let files = std::fs::read_dir(directory.path().join("log/app-epochs/0")).unwrap();
        assert!(files.count() <= 6);
    }
    assert!(last > 100);
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
