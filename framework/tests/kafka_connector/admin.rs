//! Topics and offsets.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeMap;

use tiderace::connect::partition_for;
use tiderace::connect::{Log, NewTopic, PartitionOffsets, SinkRecord, TopicPartition};
use tiderace::error::LogError;

use crate::support::{TIME, broker, record, topic, topic_with, transact, values, write};

#[test]
fn a_topic_is_listed_and_described_from_its_creation_to_its_end() {
    let (broker, log) = broker!();
    let name = topic_with(broker, &log, 3, &[("max.message.bytes", "200000")]);
    let described = log.topic(&name).unwrap().unwrap();
    assert_eq!(
        described.partitions,
        vec![PartitionOffsets { first: 0, end: 0 }; 3]
    );
    let config = [("max.message.bytes", "200000"), ("retention.ms", "-1")];
    assert_eq!(
        described.config,
        config
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    );
    assert!(log.topics().unwrap().contains(&name));
    log.delete_topic(&name).unwrap();
    assert!(matches!(
        log.delete_topic(&name),
        Err(LogError::NoTopic { .. })
    ));
    assert_eq!(log.topic(&name).unwrap(), None);
}

#[test]
fn internal_topics_are_not_listed() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let mut transactions = log
        .transactions(&broker.fresh_name("app"), std::slice::from_ref(&name))
        .unwrap();
    transact(
        transactions.as_mut(),
        0,
        &[record(&name, 0, "makes the broker create its own topics")],
    );
    assert_eq!(
        log.topics()
            .unwrap()
            .iter()
            .find(|name| name.starts_with("__")),
        None
    );
}

#[test]
fn a_topic_that_exists_or_has_a_bad_name_is_refused() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    for name in [name.as_str(), "no/such name"] {
        let wanted = NewTopic {
            name: name.to_owned(),
            partitions: 1,
            config: BTreeMap::new(),
        };
        let error = log.create_topic(&wanted).unwrap_err();
        assert!(matches!(error, LogError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(name));
    }
    let config = BTreeMap::from([("retention.millis".to_owned(), "1".to_owned())]);
    let wanted = NewTopic {
        name: broker.fresh_name("topic"),
        partitions: 1,
        config,
    };
    let error = log.create_topic(&wanted).unwrap_err();
    assert!(matches!(error, LogError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains("retention.millis=1"), "{error}");
}

#[test]
fn the_end_of_a_partition_counts_records_of_open_transactions() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let mut transactions = log
        .transactions(&broker.fresh_name("app"), std::slice::from_ref(&name))
        .unwrap();
    transactions.begin(0).unwrap();
    transactions.send(0, &record(&name, 0, "open")).unwrap();
    transactions.flush(0).unwrap();
    assert_eq!(
        log.topic(&name).unwrap().unwrap().partitions,
        [PartitionOffsets { first: 0, end: 1 }]
    );
}

#[test]
fn an_offset_is_found_by_time() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let mut writer = log.writer(&name).unwrap();
    for second in [0, 10, 20] {
        writer
            .send(&SinkRecord {
                timestamp: TIME + second * 1000,
                ..record(&name, 0, "")
            })
            .unwrap();
    }
    writer.flush().unwrap();
    let partition = TopicPartition::new(name, 0);
    let at = |timestamp| log.offset_for_time(&partition, timestamp).unwrap();
    assert_eq!(
        [at(0), at(TIME + 1), at(TIME + 20_000), at(TIME + 20_001)],
        [Some(0), Some(1), Some(2), None]
    );
    assert_eq!(at(-1), Some(0));
}

#[test]
fn keys_are_partitioned_as_kafka_does() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 7);
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    let mut config = rdkafka::ClientConfig::new();
    config
        .set("bootstrap.servers", broker.bootstrap())
        .set("partitioner", "murmur2");
    let producer: BaseProducer = config.create().unwrap();
    let keys: Vec<String> = (0..300)
        .map(|n| "k".repeat(n % 9) + &n.to_string())
        .collect();
    for key in &keys {
        producer
            .send(
                BaseRecord::<str, str>::to(&name)
                    .key(key.as_str())
                    .payload(key.as_str()),
            )
            .unwrap();
    }
    producer.flush(crate::support::LIMIT).unwrap();
    let read = values(&broker.read_committed(&name));
    assert_eq!(read.iter().map(Vec::len).sum::<usize>(), keys.len());
    for (partition, keys) in read.iter().enumerate() {
        for key in keys {
            assert_eq!(
                partition_for(key.as_bytes(), 7),
                partition as u32,
                "key {key}"
            );
        }
    }
}

#[test]
fn deleted_records_are_gone_and_the_rest_stays() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 2);
    write(&log, &name, 1, (0..10).map(|number| number.to_string()));
    let partition = TopicPartition::new(&*name, 1);
    let held = || log.topic(&name).unwrap().unwrap().partitions;
    for (before, first) in [(0, 0), (4, 4), (2, 4), (10, 10)] {
        log.delete_records(&partition, before).unwrap();
        let expected = [
            PartitionOffsets { first: 0, end: 0 },
            PartitionOffsets { first, end: 10 },
        ];
        assert_eq!(held(), expected, "before {before}");
        let left = (first..10).map(|number| number.to_string());
        assert_eq!(
            values(&broker.read_committed(&name))[1],
            left.collect::<Vec<_>>()
        );
    }
    let error = log.delete_records(&partition, 11).unwrap_err();
    assert!(
        matches!(
            error,
            LogError::Beyond {
                wanted: 11,
                end: 10,
                ..
            }
        ),
        "{error}"
    );
    let missing = log.delete_records(&TopicPartition::new(&*name, 2), 0);
    assert!(matches!(missing, Err(LogError::Refused(_))), "{missing:?}");
}

#[test]
fn a_topic_keeps_its_id_until_it_is_deleted() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let id = || log.topic(&name).unwrap().unwrap().id.unwrap();
    let first = id();
    assert_eq!(first.len(), 22, "{first}");
    write(&log, &name, 0, ["x".to_owned()]);
    assert_eq!(
        crate::support::connect(broker)
            .topic(&name)
            .unwrap()
            .unwrap()
            .id,
        Some(first.clone())
    );
    log.delete_topic(&name).unwrap();
    let wanted = NewTopic {
        name: name.clone(),
        partitions: 1,
        config: BTreeMap::new(),
    };
    // The broker takes a moment to forget the old one.
    let started = std::time::Instant::now();
    while let Err(error) = log.create_topic(&wanted) {
        assert!(started.elapsed() < crate::support::LIMIT, "{error}");
    }
    assert_ne!(id(), first);
}

#[test]
fn a_topic_grows_and_its_new_partitions_can_be_written_at_once() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    write(&log, &name, 0, ["old".to_owned()]);
    log.add_partitions(&name, 3).unwrap();
    write(&log, &name, 2, ["new".to_owned()]);
    assert_eq!(
        values(&broker.read_committed(&name)),
        [vec!["old".to_owned()], vec![], vec!["new".to_owned()]]
    );
    for total in [3, 1] {
        let error = log.add_partitions(&name, total).unwrap_err();
        assert!(
            error.to_string().contains("has 3 partitions"),
            "{total}: {error}"
        );
    }
    let missing = log.add_partitions("no-such-topic", 2);
    assert!(
        matches!(missing, Err(LogError::NoTopic { .. })),
        "{missing:?}"
    );
}
