//! What only shows from within: a disk that fails at any step, small segments, frequent checkpoints.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::commits::Commits;
use super::faults::{fail_after, heal};
use super::segment::SEGMENT_BYTES;
use super::{EmbeddedLog, batch, catalog};
use crate::connect::{
    Fetched, Header, Log, NO_TIMESTAMP, NewTopic, SinkRecord, Source, TopicPartition,
    TransactionError, Transactions,
};
use crate::error::LogError;
use proptest::prelude::*;

fn log_with(topics: &[(&str, u32)]) -> (tempfile::TempDir, EmbeddedLog) {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(directory.path()).unwrap();
    for (name, partitions) in topics {
        create(&log, name, *partitions).unwrap();
    }
    (directory, log)
}

fn create(log: &EmbeddedLog, name: &str, partitions: u32) -> Result<(), LogError> {
    log.create_topic(&NewTopic {
        name: name.to_owned(),
        partitions,
        config: BTreeMap::new(),
    })
}

fn valued<'a>(topic: &'a str, partition: u32, value: &'a [u8]) -> SinkRecord<'a> {
    SinkRecord {
        topic,
        partition,
        timestamp: 0,
        key: None,
        value: Some(value),
        headers: &[],
    }
}

/// First bytes of the values, in offset order, up to the end that the source finds.
fn read_on(source: &mut dyn Source) -> Result<Vec<u8>, LogError> {
    let mut read = Vec::new();
    loop {
        match source.poll(Duration::from_secs(20))? {
            Fetched::Batch(batch) => {
                read.extend((0..batch.len()).map(|index| batch.get(index).value.unwrap()[0]))
            }
            Fetched::CaughtUp { .. } => return Ok(read),
            Fetched::Nothing => panic!("neither a record nor the end came"),
        }
    }
}

fn read(log: &EmbeddedLog, topic: &str, partition: u32, offset: i64) -> Result<Vec<u8>, LogError> {
    read_on(
        log.source(&[(TopicPartition::new(topic, partition), offset)], 0)?
            .as_mut(),
    )
}

/// One transaction that puts three records of `number` into each partition, one of them across a segment.
fn transact(
    transactions: &mut dyn Transactions,
    number: u8,
    length: usize,
) -> Result<(), TransactionError> {
    let value = vec![number; length];
    transactions.begin(0)?;
    for _ in 0..3 {
        for (topic, partition) in [("a", 0), ("a", 1), ("b", 0)] {
            transactions.send(0, &valued(topic, partition, &value))?;
        }
    }
    transactions.flush(0)?;
    transactions.commit(0)?;
    transactions.confirm(0)
}

fn state(log: &EmbeddedLog) -> Vec<u8> {
    let state = read(log, "a", 0, 0).unwrap();
    assert_eq!(read(log, "a", 1, 0).unwrap(), state);
    assert_eq!(read(log, "b", 0, 0).unwrap(), state);
    state
}

#[test]
fn wherever_the_disk_becomes_full_a_transaction_is_whole_or_not_there_and_the_redo_works() {
    let (mut doubts, mut failures, mut long_commits) = (0, 0, 0);
    for changes in 0.. {
        let (directory, log) = log_with(&[("a", 2), ("b", 1)]);
        let mut transactions = log
            .transactions("app", &["a".to_owned(), "b".to_owned()])
            .unwrap();
        transact(transactions.as_mut(), 0, 200_000).unwrap();
        let mut expected = vec![0; 3];
        // So many that the third one after them puts a checkpoint in place.
        for _ in 0..10 {
            transact(transactions.as_mut(), 0, 1).unwrap();
            expected.extend([0; 3]);
        }
        fail_after(directory.path(), changes);
        let failed = (1..4).find_map(|number| {
            let result = transact(transactions.as_mut(), number, 50_000);
            if result.is_ok() {
                expected.extend([number; 3]);
            }
            Some((number, result.err()?))
        });
        let Some((number, error)) = failed else {
            // Only a checkpoint that cannot be written fails nothing.
            assert_eq!(state(&log), expected);
            if !heal(directory.path()) {
                break;
            }
            transact(transactions.as_mut(), 4, 1).unwrap();
            long_commits += 1;
            continue;
        };
        let found = state(&log);
        match error {
            TransactionError::Doubt(_) => doubts += 1,
            TransactionError::Failed(LogError::CannotWrite { .. }) => {
                assert_eq!(found, expected, "after {changes} changes");
                failures += 1;
            }
            error => panic!("after {changes} changes: {error}"),
        }
        let _ = transactions.renew();
        heal(directory.path());
        transactions.renew().unwrap();
        if state(&log) == expected {
            transact(transactions.as_mut(), number, 50_000).unwrap();
        }
        expected.extend([number; 3]);
        assert_eq!(state(&log), expected, "after {changes} changes");
        drop(transactions);
        assert_eq!(
            state(&EmbeddedLog::open(directory.path()).unwrap()),
            expected
        );
    }
    assert!(
        doubts == 3 && failures > 20 && long_commits > 2,
        "{doubts} {failures} {long_commits}"
    );
}

#[test]
fn wherever_the_disk_becomes_full_a_topic_is_there_or_not_and_can_be_created_or_deleted_then() {
    for changes in 0.. {
        let (directory, log) = log_with(&[("old", 2)]);
        fail_after(directory.path(), changes);
        let created = create(&log, "new", 2);
        let deleted = log.delete_topic("old");
        let was_full = heal(directory.path());
        let topics = log.topics().unwrap();
        for (name, there, done) in [
            ("new", true, created.is_ok()),
            ("old", false, deleted.is_ok()),
        ] {
            assert!(
                !done || topics.contains(&name.to_owned()) == there,
                "{name} after {changes} changes"
            );
        }
        if !topics.contains(&"new".to_owned()) {
            create(&log, "new", 2).unwrap();
        }
        if !topics.contains(&"old".to_owned()) {
            create(&log, "old", 1).unwrap();
        }
        for topic in ["new", "old"] {
            assert!(read(&log, topic, 0, 0).unwrap().is_empty());
            log.writer(topic).unwrap().flush().unwrap();
        }
        if !was_full {
            return;
        }
    }
}

#[test]
fn a_dropped_writer_leaves_no_torn_tail() {
    let (directory, log) = log_with(&[("t", 1)]);
    let mut writer = log.writer("t").unwrap();
    writer.send(&valued("t", 0, b"kept")).unwrap();
    writer.flush().unwrap();
    let segment = directory
        .path()
        .join("log/t/0/00000000000000000000.segment");
    let length = std::fs::metadata(&segment).unwrap().len();
    for _ in 0..10 {
        writer.send(&valued("t", 0, &[7; 90_000])).unwrap();
    }
    assert!(std::fs::metadata(&segment).unwrap().len() > length);
    drop(writer);
    assert_eq!(std::fs::metadata(&segment).unwrap().len(), length);
}

fn segments(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(directory.join("log/t/0"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn a_partition_of_many_segments_is_read_from_anywhere_and_misses_none_silently() {
    let (directory, log) = log_with(&[("t", 1)]);
    let mut source = log.source(&[(TopicPartition::new("t", 0), 0)], 0).unwrap();
    let mut writer = log.writer("t").unwrap();
    let expected: Vec<u8> = (0..200).collect();
    let mut followed = Vec::new();
    for number in &expected {
        let length = if *number == 150 {
            900_000
        } else {
            10_000 * (1 + usize::from(*number) % 4)
        };
        writer
            .send(&SinkRecord {
                timestamp: i64::from(*number),
                ..valued("t", 0, &vec![*number; length])
            })
            .unwrap();
        if number % 7 == 0 {
            writer.flush().unwrap();
            followed.extend(read_on(source.as_mut()).unwrap());
        }
    }
    writer.flush().unwrap();
    followed.extend(read_on(source.as_mut()).unwrap());
    assert_eq!(followed, expected);
    drop(writer);
    let segments = segments(directory.path());
    assert!(segments.len() > 5);
    assert!(
        segments
            .iter()
            .all(|segment| segment.metadata().unwrap().len() < SEGMENT_BYTES + 1_000_000)
    );
    let partition = TopicPartition::new("t", 0);
    for offset in 0..200_u8 {
        assert_eq!(
            read(&log, "t", 0, i64::from(offset)).unwrap(),
            expected[usize::from(offset)..]
        );
        assert_eq!(
            log.offset_for_time(&partition, i64::from(offset)).unwrap(),
            Some(i64::from(offset))
        );
    }
    for segment in &segments {
        let bytes = std::fs::read(segment).unwrap();
        let damaged = |what: &str| {
            let error = read(&log, "t", 0, 0).unwrap_err();
            assert!(
                matches!(&error, LogError::Damaged { file, .. } if file == segment),
                "{what}: {error}"
            );
        };
        std::fs::write(segment, &bytes[..bytes.len() - 1]).unwrap();
        damaged("cut");
        std::fs::write(segment, &bytes[..40]).unwrap();
        damaged("cut to its head");
        std::fs::remove_file(segment).unwrap();
        damaged("removed");
        std::fs::write(segment, &bytes).unwrap();
    }
    assert_eq!(read(&log, "t", 0, 0).unwrap(), expected);
}

#[test]
fn records_before_a_damaged_batch_are_delivered_and_the_error_stays() {
    let (directory, log) = log_with(&[("t", 1)]);
    let mut writer = log.writer("t").unwrap();
    for number in 0..3 {
        writer.send(&valued("t", 0, &[number])).unwrap();
        writer.flush().unwrap();
    }
    let segment = segments(directory.path()).remove(0);
    let mut bytes = std::fs::read(&segment).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let mut source = log.source(&[(TopicPartition::new("t", 0), 0)], 0).unwrap();
    let Fetched::Batch(batch) = source.poll(Duration::ZERO).unwrap() else {
        panic!("no batch")
    };
    assert_eq!(batch.len(), 2);
    for _ in 0..2 {
        assert!(matches!(
            source.poll(Duration::ZERO),
            Err(LogError::Damaged { .. })
        ));
    }
}

#[test]
fn the_commits_file_stays_short_and_followers_and_appenders_pass_its_checkpoints() {
    let (directory, log) = log_with(&[("t", 1), ("u", 1)]);
    let path = directory.path().join("log/commits");
    let first = std::fs::metadata(&path).unwrap().ino();
    let mut source = log.source(&[(TopicPartition::new("t", 0), 0)], 0).unwrap();
    let mut follower = Commits::open(&directory.path().join("log")).unwrap();
    let mut writers = [
        ("t", log.writer("t").unwrap()),
        ("u", log.writer("u").unwrap()),
    ];
    let mut followed = Vec::new();
    for number in 0..200 {
        for (topic, writer) in &mut writers {
            writer.send(&valued(topic, 0, &[number])).unwrap();
            writer.flush().unwrap();
        }
        if number % 10 == 0 {
            followed.extend(read_on(source.as_mut()).unwrap());
            follower.poll().unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() < 4096);
    }
    followed.extend(read_on(source.as_mut()).unwrap());
    assert_eq!(followed, (0..200).collect::<Vec<_>>());
    assert_ne!(std::fs::metadata(&path).unwrap().ino(), first);
    follower.refresh().unwrap();
    assert!(
        *follower.catalog()
            == *Commits::open(&directory.path().join("log"))
                .unwrap()
                .catalog()
    );
    assert_eq!(read(&log, "u", 0, 0).unwrap(), followed);
}

#[test]
fn followers_in_other_threads_see_every_record_once_while_two_writers_append() {
    let (_directory, log) = log_with(&[("t", 1), ("u", 1)]);
    std::thread::scope(|scope| {
        for topic in ["t", "u"] {
            let log = &log;
            scope.spawn(move || {
                let mut writer = log.writer(topic).unwrap();
                for number in 0..250 {
                    writer.send(&valued(topic, 0, &[number])).unwrap();
                    writer.flush().unwrap();
                }
            });
            scope.spawn(move || {
                let mut source = log
                    .source(&[(TopicPartition::new(topic, 0), 0)], 0)
                    .unwrap();
                let mut followed = Vec::new();
                while followed.len() < 250 {
                    followed.extend(read_on(source.as_mut()).unwrap());
                }
                assert_eq!(followed, (0..250).collect::<Vec<_>>());
            });
        }
    });
}

#[test]
fn a_commits_file_that_shrinks_under_a_follower_is_damaged() {
    let (directory, log) = log_with(&[("t", 1)]);
    let mut source = log.source(&[(TopicPartition::new("t", 0), 0)], 0).unwrap();
    assert!(read_on(source.as_mut()).unwrap().is_empty());
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(directory.path().join("log/commits"))
        .unwrap();
    file.set_len(50).unwrap();
    assert!(matches!(
        source.poll(Duration::from_secs(5)),
        Err(LogError::Damaged { .. })
    ));
}

#[test]
fn the_catalog_and_its_changes_survive_their_encoding_and_refuse_every_shorter_one() {
    let extent = catalog::Extent {
        first: 1,
        end: i64::MAX,
        segment: 3,
        bytes: u64::MAX,
    };
    let mut whole = catalog::Catalog::default();
    for change in [
        catalog::Change::Create {
            id: 0,
            name: "a".to_owned(),
            partitions: 2,
        },
        catalog::Change::Create {
            id: 1,
            name: "b".to_owned(),
            partitions: 1,
        },
        catalog::Change::Commit(vec![(0, 1, extent), (1, 0, extent)]),
        catalog::Change::Delete { id: 0 },
    ] {
        let bytes = change.encode();
        assert_eq!(catalog::Change::decode(&bytes), Some(change.clone()));
        assert!((0..bytes.len()).all(|length| catalog::Change::decode(&bytes[..length]).is_none()));
        whole.apply(change).unwrap();
    }
    let bytes = whole.encode();
    assert_eq!(catalog::Catalog::decode(&bytes), Some(whole.clone()));
    assert!((0..bytes.len()).all(|length| catalog::Catalog::decode(&bytes[..length]).is_none()));
    assert!(whole.apply(catalog::Change::Delete { id: 0 }).is_err());
    assert!(
        whole
            .apply(catalog::Change::Commit(vec![(0, 0, extent)]))
            .is_err()
    );
    assert!(
        whole
            .apply(catalog::Change::Create {
                id: 1,
                name: "c".to_owned(),
                partitions: 1
            })
            .is_err()
    );
    assert!(
        whole
            .apply(catalog::Change::Commit(vec![(
                1,
                0,
                catalog::Extent::default()
            )]))
            .is_err()
    );
}

/// Key, value, timestamp and headers.
type Parts = (
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    i64,
    Vec<(String, Option<Vec<u8>>)>,
);

fn parts() -> impl Strategy<Value = Parts> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
    let timestamp = prop_oneof![Just(NO_TIMESTAMP), any::<i64>()];
    (
        bytes(),
        bytes(),
        timestamp,
        prop::collection::vec((".{0,5}", bytes()), 0..4),
    )
}

proptest! {
    #[test]
    fn any_records_come_back_from_a_batch_as_they_were(records in prop::collection::vec(parts(), 1..20), base in 0..i64::MAX / 2) {
        let headers: Vec<Vec<Header>> = records.iter()
            .map(|parts| parts.3.iter().map(|(name, value)| Header { name: name.clone(), value: value.clone() }).collect())
            .collect();
        let mut open = batch::OpenBatch::default();
        for ((key, value, timestamp, _), headers) in records.iter().zip(&headers) {
            let (key, value) = (key.as_deref(), value.as_deref());
            open.push(&SinkRecord { topic: "", partition: 0, timestamp: *timestamp, key, value, headers });
        }
        let bytes = open.seal(base).to_vec();
        let head = batch::BatchHead::read(&bytes).unwrap();
        prop_assert_eq!((head.base, head.end(), head.total()), (base, base + records.len() as i64, bytes.len() as u64));
        let latest = records.iter().map(|parts| parts.2).filter(|at| *at != NO_TIMESTAMP).max();
        prop_assert_eq!(head.latest, latest.unwrap_or(i64::MIN));
        let mut starts = Vec::new();
        head.index(&bytes, batch::BATCH_HEAD, 0, &mut starts).unwrap();
        for (start, ((key, value, timestamp, _), headers)) in starts.iter().zip(records.iter().zip(&headers)) {
            let record = batch::StoredRecord::read(&bytes, *start as usize);
            prop_assert_eq!((record.key, record.value, record.timestamp), (key.as_deref(), value.as_deref(), *timestamp));
            prop_assert_eq!(&record.headers(), headers);
        }
    }
}
