//! Sends records: the plain, idempotent [`Writer`], and what it shares with the transactions.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::errors::{code_of, is_unknown_topic, log_error};
use super::log::Cluster;
use super::reports::{LostRecord, Reports};
use super::{ffi, properties};
use crate::connect::{SinkRecord, Writer};
use crate::error::LogError;

/// Bytes of a record beside key, value and headers, at most.
const RECORD_FRAME: usize = 96;
/// What one batch holds at most, in bytes, where the topics do not take less.
pub(super) const BATCH: usize = 1_000_000;
/// Bytes that wait in a producer.
const QUEUE_KBYTES: &str = "16384";

/// The largest record that each topic takes.
pub(super) struct Limits {
    by_topic: Vec<(String, usize)>,
}

impl Limits {
    pub(super) fn new(by_topic: BTreeMap<String, usize>) -> Limits {
        Limits {
            by_topic: by_topic.into_iter().collect(),
        }
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &String> {
        self.by_topic.iter().map(|(topic, _)| topic)
    }

    fn of(&self, topic: &str) -> usize {
        self.find(topic).1
    }

    /// The number of a topic among these, or the one behind the last, and the largest record that it takes. They are few.
    fn find(&self, topic: &str) -> (usize, usize) {
        let at = self.by_topic.iter().position(|(of, _)| of == topic);
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
    topics: impl IntoIterator<Item = &'a String>,
) -> bool {
    let mut topics = topics.into_iter();
    topics.all(|topic| {
        let answer = producer
            .client()
            .fetch_metadata(Some(topic), Duration::from_secs(5));
        answer.is_ok()
    })
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

/// Gives a record to the client; returns its topic's number among the limits and its bytes.
pub(super) fn enqueue(
    producer: &BaseProducer<Reports>,
    record: &SinkRecord<'_>,
    limits: &Limits,
) -> Result<(usize, usize), Refusal> {
    let SinkRecord {
        topic,
        partition,
        timestamp,
        ..
    } = *record;
    if timestamp <= 0 {
        // librdkafka takes 0 for "now", and a negative one for no time at all.
        return Err(Refusal::Record(LogError::Refused(format!(
            "topic `{topic}`, partition {partition}: a record dated {timestamp} ms, at or before 1970, cannot be written to Kafka"
        ))));
    }
    let bytes = size(record);
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
    let mut message = BaseRecord::<[u8], [u8]>::to(topic)
        .partition(partition as i32)
        .timestamp(timestamp);
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
    producer
        .send(message)
        .map(|()| (number, bytes))
        .map_err(|(error, _)| match code_of(&error) {
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
    producer: BaseProducer<Reports>,
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
        let producer = config
            .create_with_context(Reports::default())
            .map_err(properties::refused)?;
        introduce(&producer, limits.topics());
        Ok(KafkaWriter {
            producer,
            limits,
            location: cluster.properties.location(),
            patience,
        })
    }

    fn check(&self) -> Result<(), LogError> {
        ffi::serve(&self.producer);
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
}

impl Writer for KafkaWriter {
    fn send(&mut self, record: &SinkRecord<'_>) -> Result<(), LogError> {
        let started = crate::clock::instant();
        loop {
            match enqueue(&self.producer, record, &self.limits) {
                Ok(_) => return Ok(()),
                Err(Refusal::Full) => {
                    ffi::flush(&self.producer, Duration::from_millis(1));
                    self.check()?;
                    if started.elapsed() > self.patience {
                        return Err(self.unreachable("the queue stays full"));
                    }
                }
                Err(Refusal::Record(error)) => return Err(error),
                Err(Refusal::Client(error)) => {
                    self.check()?;
                    let what = format!("topic `{}`, partition {}", record.topic, record.partition);
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

    fn flush(&mut self) -> Result<(), LogError> {
        let started = crate::clock::instant();
        while !ffi::flush(&self.producer, Duration::from_millis(20)) {
            self.check()?;
            // Each record is given up by the client itself after `patience`.
            if started.elapsed() > self.patience * 2 {
                return Err(self.unreachable("records stay unacknowledged"));
            }
        }
        self.check()
    }
}
