//! What the tests share: a log on the shared broker, fresh topics, reading until an end.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{
    Fetched, Header, Log, NewTopic, RecordBatch, SinkRecord, Source, TopicPartition, Transactions,
};
use tiderace_testing::kafka::{Kafka, Record};

/// How long a test waits for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
pub(crate) const MEMORY: usize = 8 << 20;
/// An event time.
pub(crate) const TIME: i64 = 1_593_561_600_000;

/// The broker and a log on it; tests return where there is no broker.
macro_rules! broker {
    () => {{
        let Some(broker) = tiderace_testing::kafka::Kafka::shared() else {
            return;
        };
        (broker, crate::support::connect(broker))
    }};
}
pub(crate) use broker;

pub(crate) fn connect(broker: &Kafka) -> KafkaLog {
    KafkaLog::connect(broker.bootstrap(), &BTreeMap::new()).unwrap()
}

/// A fresh topic without retention by time: test records are old.
pub(crate) fn topic(broker: &Kafka, log: &KafkaLog, partitions: u32) -> String {
    topic_with(broker, log, partitions, &[])
}

pub(crate) fn topic_with(
    broker: &Kafka,
    log: &KafkaLog,
    partitions: u32,
    config: &[(&str, &str)],
) -> String {
    let name = broker.fresh_name("topic");
    let config = [("retention.ms", "-1")].iter().chain(config);
    let config = config
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    log.create_topic(&NewTopic {
        name: name.clone(),
        partitions,
        config,
    })
    .unwrap();
    name
}

pub(crate) fn record<'a>(topic: &'a str, partition: u32, value: &'a str) -> SinkRecord<'a> {
    SinkRecord {
        topic,
        partition,
        timestamp: TIME,
        key: None,
        value: Some(value.as_bytes()),
        headers: &[],
    }
}

pub(crate) fn write(
    log: &KafkaLog,
    topic: &str,
    partition: u32,
    values: impl IntoIterator<Item = String>,
) {
    let mut writer = log.writer(topic).unwrap();
    for value in values {
        writer.send(&record(topic, partition, &value)).unwrap();
    }
    writer.flush().unwrap();
}

/// A transaction from begin to confirmed commit.
pub(crate) fn transact(
    transactions: &mut dyn Transactions,
    turn: usize,
    records: &[SinkRecord<'_>],
) {
    transactions.begin(turn).unwrap();
    for record in records {
        transactions.send(turn, record).unwrap();
    }
    transactions.flush(turn).unwrap();
    transactions.commit(turn).unwrap();
    transactions.confirm(turn).unwrap();
}

/// An entry of the epoch log.
pub(crate) fn entry<'a>(topic: &'a str, key: &'a [u8; 8], value: &'a str) -> SinkRecord<'a> {
    SinkRecord {
        key: Some(key),
        ..record(topic, 0, value)
    }
}

/// The values of each partition as the independent reader sees them.
pub(crate) fn values(records: &[Vec<Record>]) -> Vec<Vec<String>> {
    let text = |record: &Record| String::from_utf8(record.value.clone().unwrap()).unwrap();
    records
        .iter()
        .map(|records| records.iter().map(text).collect())
        .collect()
}

pub(crate) fn from_start(topic: &str, partitions: u32) -> Vec<(TopicPartition, i64)> {
    (0..partitions)
        .map(|partition| (TopicPartition::new(topic, partition), 0))
        .collect()
}

/// Polls until `done` is content with what came; panics after half a minute.
pub(crate) fn poll_until(source: &mut dyn Source, mut done: impl FnMut(Fetched) -> bool) {
    let started = Instant::now();
    while !done(source.poll(Duration::from_millis(50)).unwrap()) {
        assert!(
            started.elapsed() < LIMIT,
            "what was waited for did not come"
        );
    }
}

/// Everything up to the end of each of `slots` partitions: values in order, and the end.
pub(crate) fn read_to_end(source: &mut dyn Source, slots: usize) -> Vec<(Vec<String>, i64)> {
    let mut read = vec![(Vec::new(), -1); slots];
    poll_until(source, |fetched| {
        match fetched {
            Fetched::Batch(batch) => read[batch.slot()].0.extend(texts(batch.as_ref())),
            Fetched::CaughtUp { slot, position } => read[slot].1 = position,
            Fetched::Nothing => {}
        }
        read.iter().all(|(_, end)| *end >= 0)
    });
    read
}

pub(crate) fn texts(batch: &dyn RecordBatch) -> Vec<String> {
    let text = |index| String::from_utf8(batch.get(index).value.unwrap().to_vec()).unwrap();
    (0..batch.len()).map(text).collect()
}

pub(crate) fn header(name: &str, value: Option<&str>) -> Header {
    Header {
        name: name.to_owned(),
        value: value.map(|value| value.as_bytes().to_vec()),
    }
}

/// Deletes the records of a partition below an offset, as retention would.
pub(crate) fn delete_records(broker: &Kafka, topic: &str, partition: i32, before: i64) {
    use rdkafka::admin::{AdminClient, AdminOptions};
    use rdkafka::client::DefaultClientContext;
    let mut config = rdkafka::ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> = config
        .set("bootstrap.servers", broker.bootstrap())
        .create()
        .unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(before))
        .unwrap();
    let deleted = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    deleted
        .block_on(admin.delete_records(&list, &AdminOptions::new()))
        .unwrap();
}
