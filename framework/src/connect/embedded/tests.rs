//! What only shows from within: small segments, frequent checkpoints, a disk that fails at any step.

mod encoding;
mod full_disk;
mod retention;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::EmbeddedLog;
use super::commits::Commits;
use super::segment::SEGMENT_BYTES;
use crate::connect::{Fetched, Log, NewTopic, SinkRecord, Source, TopicPartition};
use crate::error::LogError;

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
    // Held open, so that no later file gets its number.
    let first = std::fs::File::open(&path).unwrap();
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
    let first = first.metadata().unwrap().ino();
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
