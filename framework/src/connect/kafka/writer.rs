//! Sends records: the plain, idempotent [`Writer`], and what it shares with the transactions.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::errors::{code_of, is_unknown_topic, log_error};
use super::ffi::Producer;
use super::log::Cluster;
use super::properties;
use super::reports::{LostRecord, Reports};
use crate::connect::{Records, SinkRecord, Writer};
use crate::error::LogError;

/// Bytes of a record beside key, value and headers, at most.
const RECORD_FRAME: usize = 96;
/// What one batch holds at most, in bytes, where the topics do not take less.
pub(super) const BATCH: usize = 1_000_000;
/// Bytes that wait in a producer.
const QUEUE_KBYTES: &str = "16384";

/// The largest record that each topic takes.
pub(super) struct Limits {
    by_topic: Vec<(CString, usize)>,
}

impl Limits {
    pub(super) fn new(by_topic: BTreeMap<String, usize>) -> Limits {
        let named = |(topic, limit)| {
            let topic =
                CString::new(topic).expect("a topic that a broker knows has no NUL in its name");
            (topic, limit)
        };
        Limits {
            by_topic: by_topic.into_iter().map(named).collect(),
        }
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        let topics = self.by_topic.iter();
        topics.map(|(topic, _)| topic.to_str().expect("it was a string"))
    }

    fn of(&self, topic: &str) -> usize {
        self.find(topic).1
    }

    /// The number of a topic among these, or the one behind the last, and the largest record that it takes. They are few.
    fn find(&self, topic: &str) -> (usize, usize) {
        let is = |of: &CStr| of.to_bytes() == topic.as_bytes();
        let at = self.by_topic.iter().position(|(of, _)| is(of));
        match at {
            Some(at) => (at, self.by_topic[at].1),
            None => (self.by_topic.len(), BATCH),
        }
    }

    /// What a producer into these topics is set to, beside the transaction's properties.
    pub(super) fn apply(&self, config: &mut ClientConfig) {
        let limits = || self.by_topic.iter().map(|(_, limit)| *limit);
        let largest = limits().max().unwrap_or(BATCH);
        let smallest = limits().min().unwrap_or(BATCH);
        // The broker measures a whole batch, and the client does not split one that is refused.
        let batch = smallest.saturating_sub(smallest / 16).clamp(1, BATCH);
        if config
            .get("batch.size")
            .is_none_or(|set| set.parse().is_ok_and(|set: usize| set > batch))
        {
            config.set("batch.size", batch.to_string());
        }
        config.set(
            "message.max.bytes",
            largest.clamp(1_000, 1_000_000_000).to_string(),
        );
        config.set("enable.idempotence", "true").set("acks", "all");
        config
            .set("queue.buffering.max.kbytes", QUEUE_KBYTES)
            .set("queue.buffering.max.messages", "1000000");
        config.set("delivery.report.only.error", "true");
        config.set("log.connection.close", "true");
    }
}

/// Connects a new producer and tells it of its topics. Left to itself, librdkafka looks for both by timers,
/// and the first record waits for a second. False if that was not answered in time; a broker that is away answers none.
pub(super) fn introduce<'a>(
    producer: &BaseProducer<Reports>,
    topics: impl IntoIterator<Item = &'a str>,
) -> bool {
    let mut topics = topics.into_iter();
    topics.all(|topic| {
        let answer = producer
            .client()
            .fetch_metadata(Some(topic), Duration::from_secs(5));
        answer.is_ok()
    })
}

/// A record on its way into a client.
pub(super) enum Outgoing<'a> {
    /// The client copies it.
    Copied(&'a SinkRecord<'a>),
    /// The client reads it where it is, the one of these records at the index.
    InPlace(&'a str, &'a Arc<dyn Records>, usize),
}

impl<'a> Outgoing<'a> {
    pub(super) fn record(&self) -> SinkRecord<'a> {
        match *self {
            Outgoing::Copied(record) => *record,
            Outgoing::InPlace(topic, records, index) => records.get(index, topic),
        }
    }
}

/// Why a record was not queued.
pub(super) enum Refusal {
    /// The queue has no room now.
    Full,
    /// The record cannot be written.
    Record(LogError),
    /// The client failed.
    Client(KafkaError),
}

/// Gives a record to the client; returns its topic's number among the limits, its partition and its bytes.
pub(super) fn enqueue(
    producer: &mut Producer,
    outgoing: &Outgoing<'_>,
    limits: &Limits,
) -> Result<(usize, u32, usize), Refusal> {
    let record = outgoing.record();
    let SinkRecord {
        topic,
        partition,
        timestamp,
        ..
    } = record;
    if timestamp <= 0 {
        // librdkafka takes 0 for "now", and a negative one for no time at all.
        return Err(Refusal::Record(LogError::Refused(format!(
            "topic `{topic}`, partition {partition}: a record dated {timestamp} ms, at or before 1970, cannot be written to Kafka"
        ))));
    }
    let bytes = size(&record);
    let (number, limit) = limits.find(topic);
    if bytes + RECORD_FRAME > limit {
        let topic = topic.to_owned();
        return Err(Refusal::Record(LogError::TooLarge {
            topic,
            partition,
            bytes,
            limit,
        }));
    }
    let sent = match (outgoing, limits.by_topic.get(number)) {
        (Outgoing::InPlace(_, records, index), Some((topic, _))) if record.headers.is_empty() => {
            producer.send_of((number, topic), records, *index)
        }
        _ => send_copy(producer, &record),
    };
    sent.map(|()| (number, partition, bytes))
        .map_err(|error| match code_of(&error) {
            code if code == Code::QueueFull as i32 => Refusal::Full,
            code if code == Code::MessageSizeTooLarge as i32 => {
                Refusal::Record(LogError::TooLarge {
                    topic: topic.to_owned(),
                    partition,
                    bytes,
                    limit,
                })
            }
            code if is_unknown_topic(code) => Refusal::Record(LogError::Refused(format!(
                "topic `{topic}`, partition {partition} does not exist"
            ))),
            _ => Refusal::Client(error),
        })
}

fn send_copy(producer: &BaseProducer<Reports>, record: &SinkRecord<'_>) -> Result<(), KafkaError> {
    let mut message = BaseRecord::<[u8], [u8]>::to(record.topic)
        .partition(record.partition as i32)
        .timestamp(record.timestamp);
    message.key = record.key;
    message.payload = record.value;
    if !record.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        message.headers = Some(record.headers.iter().fold(headers, |headers, header| {
            headers.insert(KafkaHeader {
                key: &header.name,
                value: header.value.as_deref(),
            })
        }));
    }
    producer.send(message).map_err(|(error, _)| error)
}

fn size(record: &SinkRecord<'_>) -> usize {
    let header = |header: &crate::connect::Header| {
        header.name.len() + header.value.as_ref().map_or(0, Vec::len) + 10
    };
    record.key.map_or(0, <[u8]>::len)
        + record.value.map_or(0, <[u8]>::len)
        + record.headers.iter().map(header).sum::<usize>()
}

/// The error for a record that the client gave up.
pub(super) fn lost_record(lost: &LostRecord, limits: &Limits, location: &str) -> LogError {
    let LostRecord {
        topic,
        partition,
        bytes,
        code,
        reason,
    } = lost.clone();
    if code == Code::MessageSizeTooLarge as i32 || code == Code::MessageBatchTooLarge as i32 {
        let limit = limits.of(&topic);
        return LogError::TooLarge {
            topic,
            partition,
            bytes,
            limit,
        };
    }
    if is_unknown_topic(code) {
        return LogError::NoTopic {
            topic,
            location: location.to_owned(),
        };
    }
    log_error(
        location,
        &format!("topic `{topic}`, partition {partition}"),
        code,
        &reason,
    )
}

/// Sends to one topic, outside any transaction.
pub(super) struct KafkaWriter {
    producer: Producer,
    limits: Limits,
    location: String,
    patience: Duration,
}

impl KafkaWriter {
    pub(super) fn open(cluster: &Cluster, topic: &str) -> Result<KafkaWriter, LogError> {
        cluster.require(topic)?;
        let limits = Limits::new(cluster.admin.record_limits(&[topic])?);
        let mut config = cluster.properties.base();
        cluster.properties.suggest(&mut config, "linger.ms", "5");
        limits.apply(&mut config);
        // Longer than an election of leaders, shorter than anybody waits for a command.
        let patience = Duration::from_secs(60);
        config.set("message.timeout.ms", patience.as_millis().to_string());
        let producer: BaseProducer<Reports> = config
            .create_with_context(Reports::default())
            .map_err(properties::refused)?;
        introduce(&producer, limits.topics());
        Ok(KafkaWriter {
            producer: Producer::new(producer),
            limits,
            location: cluster.properties.location(),
            patience,
        })
    }

    fn check(&self) -> Result<(), LogError> {
        self.producer.serve();
        let reported = self.producer.context().now();
        if let Some(lost) = reported.lost {
            return Err(lost_record(&lost, &self.limits, &self.location));
        }
        match reported.credentials {
            Some(reason) => Err(LogError::Credentials {
                location: self.location.clone(),
                reason,
            }),
            None => Ok(()),
        }
    }

    fn unreachable(&self, what: &str) -> LogError {
        let reason = self
            .producer
            .context()
            .now()
            .last
            .unwrap_or_else(|| what.to_owned());
        LogError::Unreachable {
            location: self.location.clone(),
            reason,
        }
    }

    /// Queues a record; waits while the queue is full.
    fn queue(&mut self, outgoing: &Outgoing<'_>) -> Result<(), LogError> {
        let started = crate::clock::instant();
        loop {
            match enqueue(&mut self.producer, outgoing, &self.limits) {
                Ok(_) => return Ok(()),
                Err(Refusal::Full) => {
                    self.producer.flush(Duration::from_millis(1));
                    self.check()?;
                    if started.elapsed() > self.patience {
                        return Err(self.unreachable("the queue stays full"));
                    }
                }
                Err(Refusal::Record(error)) => return Err(error),
                Err(Refusal::Client(error)) => {
                    self.check()?;
                    let SinkRecord {
                        topic, partition, ..
                    } = outgoing.record();
                    let what = format!("topic `{topic}`, partition {partition}");
                    return Err(log_error(
                        &self.location,
                        &what,
                        code_of(&error),
                        &error.to_string(),
                    ));
                }
            }
        }
    }
}

impl Writer for KafkaWriter {
    fn send(&mut self, record: &SinkRecord<'_>) -> Result<(), LogError> {
        self.queue(&Outgoing::Copied(record))
    }

    fn send_of(
        &mut self,
        topic: &str,
        records: &Arc<dyn Records>,
        index: usize,
    ) -> Result<(), LogError> {
        self.queue(&Outgoing::InPlace(topic, records, index))
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let started = crate::clock::instant();
        while !self.producer.flush(Duration::from_millis(20)) {
            self.check()?;
            // Each record is given up by the client itself after `patience`.
            if started.elapsed() > self.patience * 2 {
                return Err(self.unreachable("records stay unacknowledged"));
            }
        }
        self.check()
    }
}
