//! Plain sending, and the bytes of a record there and back.

use tiderace::connect::{Fetched, Header, Log, SinkRecord};
use tiderace::error::LogError;

use crate::support::{
    MEMORY, TIME, broker, from_start, header, poll_until, record, topic, topic_with,
};

pub(crate) type Case<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, Vec<Header>);

pub(crate) fn cases() -> Vec<Case<'static>> {
    let headers = vec![
        header("a", Some("1")),
        header("a", Some("")),
        header("b", None),
        header("", Some("x")),
    ];
    vec![
        (Some(b"key"), Some(b"value"), vec![]),
        (None, Some(b"null key"), vec![]),
        (Some(b"tombstone"), None, vec![]),
        (None, None, vec![]),
        (Some(b""), Some(b""), vec![]),
        (Some(&[0, 255, 128]), Some(&[0xc3, 0x28]), headers),
    ]
}

#[test]
fn every_byte_of_a_record_arrives() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let mut writer = log.writer(&name).unwrap();
    for (at, (key, value, headers)) in cases().iter().enumerate() {
        let timestamp = TIME + at as i64;
        let record = SinkRecord {
            topic: &name,
            partition: 0,
            timestamp,
            key: *key,
            value: *value,
            headers,
        };
        writer.send(&record).unwrap();
    }
    writer.flush().unwrap();

    let written = broker.read_committed(&name).remove(0);
    let mut read = Vec::new();
    let mut source = log.source(&from_start(&name, 1), MEMORY).unwrap();
    poll_until(source.as_mut(), |fetched| {
        if let Fetched::Batch(batch) = fetched {
            for index in 0..batch.len() {
                let record = batch.get(index);
                let (key, value) = (
                    record.key.map(<[u8]>::to_vec),
                    record.value.map(<[u8]>::to_vec),
                );
                read.push((
                    record.offset,
                    record.timestamp,
                    key,
                    value,
                    batch.headers(index),
                ));
            }
        }
        read.len() >= cases().len()
    });

    for (at, (key, value, headers)) in cases().into_iter().enumerate() {
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        let pairs: Vec<_> = headers
            .iter()
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect();
        let seen = &written[at];
        assert_eq!(
            (&seen.key, &seen.value, &seen.headers),
            (&key, &value, &pairs),
            "written, case {at}"
        );
        assert_eq!((seen.offset, seen.timestamp), (at as i64, TIME + at as i64));
        assert_eq!(
            read[at],
            (at as i64, TIME + at as i64, key, value, headers),
            "read, case {at}"
        );
    }
}

#[test]
fn records_of_many_codecs_are_read() {
    let (broker, log) = broker!();
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let name = topic_with(broker, &log, 1, &[("compression.type", codec)]);
        crate::support::write(&log, &name, 0, (0..50).map(|n| n.to_string()));
        let mut source = log.source(&from_start(&name, 1), MEMORY).unwrap();
        let read = crate::support::read_to_end(source.as_mut(), 1);
        assert_eq!(
            read,
            [((0..50).map(|n| n.to_string()).collect(), 50)],
            "{codec}"
        );
    }
}

#[test]
fn a_record_that_is_too_large_is_refused_with_the_limit_of_its_topic() {
    let (broker, log) = broker!();
    let name = topic_with(broker, &log, 2, &[("max.message.bytes", "5000")]);
    let mut writer = log.writer(&name).unwrap();
    let error = writer
        .send(&record(&name, 1, &"x".repeat(5_000)))
        .unwrap_err();
    assert!(
        matches!(&error, LogError::TooLarge { topic, partition: 1, bytes: 5_000, limit: 5_000 } if *topic == name)
    );
    // Many that fit one by one: what is batched together fits as well.
    for _ in 0..100 {
        writer.send(&record(&name, 1, &"y".repeat(4_800))).unwrap();
    }
    writer.flush().unwrap();
    assert_eq!(broker.read_committed(&name)[1].len(), 100);
}

#[test]
fn a_record_dated_at_or_before_the_epoch_is_refused() {
    let (broker, log) = broker!();
    assert!(!log.takes_nonpositive_timestamps());
    let name = topic(broker, &log, 1);
    let mut writer = log.writer(&name).unwrap();
    let mut transactions = log
        .transactions(&broker.fresh_name("app"), std::slice::from_ref(&name))
        .unwrap();
    transactions.begin(0).unwrap();
    for timestamp in [0, -1, -5_000] {
        let record = SinkRecord {
            timestamp,
            ..record(&name, 0, "old")
        };
        let error = writer.send(&record).unwrap_err().to_string();
        assert!(
            error.contains(&name) && error.contains(&timestamp.to_string()),
            "{error}"
        );
        assert!(transactions.send(0, &record).is_err());
    }
    writer.flush().unwrap();
    assert!(broker.read_visible(&name)[0].is_empty());
}

#[test]
fn a_record_for_a_partition_that_does_not_exist_is_an_error() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 2);
    let mut writer = log.writer(&name).unwrap();
    // The client may learn of the partitions only after it has queued the record.
    let error = writer
        .send(&record(&name, 2, "nowhere"))
        .and_then(|()| writer.flush())
        .unwrap_err();
    assert!(error.to_string().contains(&name), "{error}");
}

#[test]
fn a_topic_that_does_not_exist_is_named() {
    let (broker, log) = broker!();
    let missing = broker.fresh_name("missing");
    let is_named =
        |error: LogError| matches!(&error, LogError::NoTopic { topic, .. } if *topic == missing);
    assert!(is_named(log.writer(&missing).err().unwrap()));
    assert!(is_named(
        log.source(&from_start(&missing, 1), MEMORY).err().unwrap()
    ));
    assert!(is_named(
        log.transactions(&broker.fresh_name("app"), std::slice::from_ref(&missing))
            .err()
            .unwrap()
    ));
    assert_eq!(log.topic(&missing).unwrap(), None);
}
