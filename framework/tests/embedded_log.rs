//! The embedded log through the seam: what is sent comes back, to whom and when.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::{log_with, new_topic, next, read_all, read_from, valued, values};
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{
    Fetched, Header, Log, NO_TIMESTAMP, NewTopic, PartitionOffsets, SinkRecord, TopicPartition,
};
use tiderace::error::LogError;

fn header(name: &str, value: Option<&[u8]>) -> Header {
    Header {
        name: name.to_owned(),
        value: value.map(<[u8]>::to_vec),
    }
}

#[test]
fn a_record_comes_back_with_every_null_and_every_empty_part_as_it_was() {
    let (_directory, log) = log_with(&[("t", 1)]);
    let headers = [
        header("a", Some(b"1")),
        header("a", None),
        header("", Some(b"")),
    ];
    let sent = [
        (i64::MIN, None, None, &headers[..]),
        (-2, Some(&b""[..]), Some(&b""[..]), &[]),
        (NO_TIMESTAMP, None, Some(b"value"), &headers[1..]),
        (i64::MAX, Some(b"key"), None, &[]),
    ];
    let mut writer = log.writer("t").unwrap();
    for (timestamp, key, value, headers) in sent {
        writer
            .send(&SinkRecord {
                topic: "t",
                partition: 0,
                timestamp,
                key,
                value,
                headers,
            })
            .unwrap();
    }
    writer.flush().unwrap();
    let read = read_all(&log, "t", 0).unwrap();
    assert_eq!(read.len(), sent.len());
    for (offset, (record, (timestamp, key, value, headers))) in read.iter().zip(sent).enumerate() {
        assert_eq!(record.offset, offset as i64);
        assert_eq!(record.timestamp, timestamp);
        assert_eq!(record.key.as_deref(), key);
        assert_eq!(record.value.as_deref(), value);
        assert_eq!(record.headers, headers);
    }
}

#[test]
fn records_are_invisible_until_the_flush_and_visible_to_an_open_source_after_it() {
    let (_directory, log) = log_with(&[("t", 1)]);
    let mut source = log
        .source(&[(TopicPartition::new("t", 0), 0)], 1 << 20)
        .unwrap();
    assert!(matches!(
        source.poll(Duration::ZERO).unwrap(),
        Fetched::CaughtUp {
            slot: 0,
            position: 0
        }
    ));
    assert!(matches!(
        source.poll(Duration::ZERO).unwrap(),
        Fetched::Nothing
    ));
    let mut writer = log.writer("t").unwrap();
    for round in 0..3 {
        for _ in 0..1500 {
            writer.send(&valued("t", 0, &[7; 400])).unwrap();
        }
        assert!(matches!(
            source.poll(Duration::ZERO).unwrap(),
            Fetched::Nothing
        ));
        writer.flush().unwrap();
        let mut read = 0;
        while let Some((_, records)) = next(source.as_mut()).unwrap() {
            read += records.len();
        }
        assert_eq!(read, 1500);
        assert_eq!(
            log.topic("t").unwrap().unwrap().partitions,
            [PartitionOffsets {
                first: 0,
                end: 1500 * (round + 1)
            }]
        );
        assert!(matches!(
            source.poll(Duration::ZERO).unwrap(),
            Fetched::Nothing
        ));
    }
}

#[test]
fn reading_starts_at_any_offset_even_within_a_batch() {
    let (_directory, log) = log_with(&[("t", 1)]);
    let mut writer = log.writer("t").unwrap();
    for number in 0..5000_u32 {
        writer.send(&valued("t", 0, &number.to_be_bytes())).unwrap();
        if number % 1700 == 0 {
            writer.flush().unwrap();
        }
    }
    writer.flush().unwrap();
    for start in [0, 1, 999, 1000, 1001, 1700, 1701, 2500, 4998, 4999, 5000] {
        let read = read_from(&log, "t", 0, start).unwrap();
        assert_eq!(read.len() as i64, 5000 - start, "from {start}");
        for (offset, record) in (start..).zip(read) {
            assert_eq!(record.offset, offset);
            assert_eq!(record.value.unwrap(), (offset as u32).to_be_bytes());
        }
    }
    assert!(matches!(
        read_from(&log, "t", 0, -1),
        Err(LogError::Gone {
            wanted: -1,
            first: 0,
            ..
        })
    ));
    assert!(matches!(
        read_from(&log, "t", 0, 5001),
        Err(LogError::Beyond {
            wanted: 5001,
            end: 5000,
            ..
        })
    ));
}

#[test]
fn partitions_take_turns_and_a_paused_one_says_nothing() {
    let (_directory, log) = log_with(&[("t", 3)]);
    let mut writer = log.writer("t").unwrap();
    for number in 0..9000_u32 {
        writer
            .send(&valued("t", number % 3, &number.to_be_bytes()))
            .unwrap();
    }
    writer.flush().unwrap();
    let assignment: Vec<_> = (0..3)
        .map(|partition| (TopicPartition::new("t", partition), 0))
        .collect();
    let mut source = log.source(&assignment, 1 << 20).unwrap();
    source.pause(1).unwrap();
    let mut slots = Vec::new();
    while let Fetched::Batch(batch) = source.poll(Duration::ZERO).unwrap() {
        slots.push(batch.slot());
    }
    assert_eq!(slots, [0, 2, 0, 2, 0, 2]);
    while !matches!(source.poll(Duration::ZERO).unwrap(), Fetched::Nothing) {}
    source.resume(1).unwrap();
    let (slot, records) = next(source.as_mut()).unwrap().unwrap();
    assert_eq!((slot, records[0].offset), (1, 0));
    assert!(matches!(source.pause(3), Err(LogError::Refused(_))));
}

#[test]
fn a_batch_outlives_its_source_and_the_next_fetches() {
    let (_directory, log) = log_with(&[("t", 1)]);
    let mut writer = log.writer("t").unwrap();
    for number in 0..20_000_u32 {
        writer
            .send(&SinkRecord {
                key: Some(&[1; 300]),
                ..valued("t", 0, &number.to_be_bytes())
            })
            .unwrap();
    }
    writer.flush().unwrap();
    let mut source = log
        .source(&[(TopicPartition::new("t", 0), 0)], 1 << 20)
        .unwrap();
    let mut kept = Vec::new();
    let (mut fetches, mut number) = (0, 0);
    while let Fetched::Batch(batch) = source.poll(Duration::ZERO).unwrap() {
        assert!(batch.len() <= 1000 && batch.memory() >= 304 * batch.len());
        fetches += 1;
        if fetches % 3 != 0 {
            kept.push(batch);
        }
    }
    drop(source);
    for batch in kept {
        for index in 0..batch.len() {
            let record = batch.get(index);
            assert_eq!(record.value.unwrap(), (record.offset as u32).to_be_bytes());
            number += 1;
        }
    }
    assert!(number > 5000);
}

#[test]
fn a_record_as_large_as_the_topic_takes_goes_through_and_one_byte_more_is_refused() {
    let (_directory, log) = log_with(&[("plain", 1)]);
    let config = BTreeMap::from([("max.message.bytes".to_owned(), "3000000".to_owned())]);
    log.create_topic(&NewTopic {
        config,
        ..new_topic("large", 1)
    })
    .unwrap();
    for (topic, limit) in [("plain", 1_048_588), ("large", 3_000_000)] {
        let mut writer = log.writer(topic).unwrap();
        writer.send(&valued(topic, 0, b"before")).unwrap();
        let fits = vec![7; limit - 20];
        writer.send(&valued(topic, 0, &fits)).unwrap();
        let refused = writer
            .send(&valued(topic, 0, &vec![7; limit - 19]))
            .unwrap_err();
        assert!(
            matches!(refused, LogError::TooLarge { bytes, limit: said, .. } if bytes == limit + 1 && said == limit)
        );
        writer.send(&valued(topic, 0, b"after")).unwrap();
        writer.flush().unwrap();
        assert_eq!(
            values(&log, topic, 0),
            [b"before".to_vec(), fits, b"after".to_vec()]
        );
    }
    let config = BTreeMap::from([("max.message.bytes".to_owned(), "much".to_owned())]);
    let refused = log
        .create_topic(&NewTopic {
            config,
            ..new_topic("wrong", 1)
        })
        .unwrap_err();
    assert!(
        refused.to_string().contains("max.message.bytes=much"),
        "{refused}"
    );
}

#[test]
fn topics_are_listed_described_and_deleted() {
    let (_directory, log) = log_with(&[("b", 2), ("a.b_c-D", 1)]);
    let config = BTreeMap::from([
        ("retention.ms".to_owned(), "-1".to_owned()),
        ("tiderace.load".into(), "{}".into()),
    ]);
    log.create_topic(&NewTopic {
        config: config.clone(),
        ..new_topic("loaded", 1)
    })
    .unwrap();
    assert_eq!(log.topics().unwrap(), ["a.b_c-D", "b", "loaded"]);
    assert_eq!(log.topic("loaded").unwrap().unwrap().config, config);
    assert_eq!(
        log.topic("b").unwrap().unwrap().partitions,
        [PartitionOffsets { first: 0, end: 0 }; 2]
    );
    assert_eq!(log.topic("nowhere").unwrap(), None);
    let again = log.create_topic(&new_topic("b", 2)).unwrap_err();
    assert!(again.to_string().contains("exists already"), "{again}");
    log.delete_topic("b").unwrap();
    assert_eq!(log.topics().unwrap(), ["a.b_c-D", "loaded"]);
    assert!(matches!(
        log.delete_topic("b"),
        Err(LogError::NoTopic { .. })
    ));
    assert!(matches!(log.writer("b"), Err(LogError::NoTopic { .. })));
    assert!(matches!(
        read_all(&log, "b", 0),
        Err(LogError::NoTopic { .. })
    ));
    assert!(matches!(
        read_all(&log, "loaded", 1),
        Err(LogError::Refused(_))
    ));
    for name in [
        "",
        ".",
        "..",
        "a b",
        "a/b",
        "ü",
        "commits",
        &"x".repeat(250),
    ] {
        assert!(
            matches!(
                log.create_topic(&new_topic(name, 1)),
                Err(LogError::Refused(_))
            ),
            "{name}"
        );
    }
    log.create_topic(&new_topic(&"x".repeat(249), 1)).unwrap();
    assert!(matches!(
        log.create_topic(&new_topic("none", 0)),
        Err(LogError::Refused(_))
    ));
}

#[test]
fn a_topic_created_again_is_another_one_and_readers_of_the_first_are_told() {
    let (_directory, log) = log_with(&[("t", 1)]);
    let id = || log.topic("t").unwrap().unwrap().id.unwrap();
    let first = id();
    let mut writer = log.writer("t").unwrap();
    writer.send(&valued("t", 0, b"old")).unwrap();
    writer.flush().unwrap();
    assert!(matches!(log.delete_topic("t"), Err(LogError::InUse { .. })));
    drop(writer);
    let mut source = log
        .source(&[(TopicPartition::new("t", 0), 0)], 1 << 20)
        .unwrap();
    assert_eq!(id(), first);
    log.delete_topic("t").unwrap();
    log.create_topic(&new_topic("t", 1)).unwrap();
    assert_ne!(id(), first);
    let (_, read) = next(source.as_mut()).unwrap().unwrap();
    assert_eq!(read[0].value.as_deref(), Some(&b"old"[..]));
    assert!(matches!(
        next(source.as_mut()),
        Err(LogError::NoTopic { .. })
    ));
    assert_eq!(values(&log, "t", 0), Vec::<Vec<u8>>::new());
    log.writer("t").unwrap().flush().unwrap();
}

#[test]
fn the_first_offset_of_a_time_is_found_across_batches_and_records_without_one_are_passed() {
    let (_directory, log) = log_with(&[("t", 1), ("empty", 1)]);
    let mut writer = log.writer("t").unwrap();
    for timestamp in [-5, NO_TIMESTAMP, 10, 7, 30, NO_TIMESTAMP, 20] {
        writer
            .send(&SinkRecord {
                timestamp,
                ..valued("t", 0, b"")
            })
            .unwrap();
        writer.flush().unwrap();
    }
    let partition = TopicPartition::new("t", 0);
    let expected = [
        (i64::MIN, Some(0)),
        (-5, Some(0)),
        (-4, Some(2)),
        (10, Some(2)),
        (11, Some(4)),
        (30, Some(4)),
        (31, None),
    ];
    for (time, offset) in expected {
        assert_eq!(
            log.offset_for_time(&partition, time).unwrap(),
            offset,
            "{time}"
        );
    }
    assert_eq!(
        log.offset_for_time(&TopicPartition::new("empty", 0), 0)
            .unwrap(),
        None
    );
}

#[test]
fn a_log_that_somebody_is_about_to_create_is_not_there_yet() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("log")).unwrap();
    let early = EmbeddedLog::open_read_only(directory.path()).unwrap_err();
    assert!(
        early.to_string().contains("there is no embedded log"),
        "{early}"
    );
    std::fs::create_dir(directory.path().join("log/rides")).unwrap();
    let damaged = EmbeddedLog::open_read_only(directory.path()).unwrap_err();
    assert!(
        damaged.to_string().contains("the file is missing"),
        "{damaged}"
    );
}

#[test]
fn opening_to_read_creates_nothing_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let missing = EmbeddedLog::open_read_only(directory.path().join("none")).unwrap_err();
    assert!(
        missing.to_string().contains("there is no embedded log"),
        "{missing}"
    );
    assert!(!directory.path().join("none").exists());
    EmbeddedLog::open(directory.path())
        .unwrap()
        .create_topic(&new_topic("t", 1))
        .unwrap();
    let log = EmbeddedLog::open_read_only(directory.path()).unwrap();
    assert_eq!(log.topics().unwrap(), ["t"]);
    assert!(matches!(
        log.create_topic(&new_topic("u", 1)),
        Err(LogError::Refused(_))
    ));
    assert!(matches!(log.delete_topic("t"), Err(LogError::Refused(_))));
    assert!(matches!(log.writer("t"), Err(LogError::Refused(_))));
    assert!(matches!(
        log.transactions("app", &[]),
        Err(LogError::Refused(_))
    ));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("log"), b"a file").unwrap();
    let error = EmbeddedLog::open(directory.path()).unwrap_err();
    assert!(
        matches!(&error, LogError::CannotWrite { file, .. } if file.ends_with("log")),
        "{error}"
    );
    assert_eq!(error.exit_code(), 73);
}
