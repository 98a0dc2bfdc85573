//! The client that asks: metadata, offsets, times. It reads no record and writes none.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use super::errors::{code_of, is_passing, is_unknown_topic, log_error};
use super::ffi;
use super::properties::{self, Properties};
use super::reports::Reports;
use crate::connect::{PartitionOffsets, TopicPartition};
use crate::error::LogError;

/// How long a cluster that does not answer is waited for at the start.
const CONNECT_LIMIT: Duration = Duration::from_secs(8);
/// How long, once every broker has refused the connection.
const REFUSED_LIMIT: Duration = Duration::from_secs(3);
/// How long a question may take.
pub(super) const QUESTION_LIMIT: Duration = Duration::from_secs(10);
/// More than the client reports between two questions.
const REPORTS: usize = 32;

/// Asks one cluster.
pub(super) struct QueryClient {
    client: BaseConsumer<Reports>,
    brokers: String,
    location: String,
}

impl QueryClient {
    /// Returns when the cluster has answered.
    pub(super) fn connect(properties: &Properties) -> Result<QueryClient, LogError> {
        let mut config = properties.base();
        // Asked with `read_committed`, a broker answers with the last stable offset for the end.
        config
            .set("isolation.level", "read_uncommitted")
            .set("allow.auto.create.topics", "false");
        let client = config
            .create_with_context(Reports::default())
            .map_err(properties::refused)?;
        let client = QueryClient {
            client,
            brokers: properties.brokers().to_owned(),
            location: properties.location(),
        };
        client.wait_for_cluster()?;
        Ok(client)
    }

    fn wait_for_cluster(&self) -> Result<(), LogError> {
        let started = crate::clock::instant();
        while self
            .client
            .client()
            .fetch_cluster_id(Duration::from_millis(100))
            .is_none()
        {
            self.serve();
            let reported = self.client.context().now();
            if let Some(reason) = reported.credentials {
                return Err(LogError::Credentials {
                    location: self.location.clone(),
                    reason,
                });
            }
            let refused = reported
                .down_since
                .is_some_and(|since| since.elapsed() >= REFUSED_LIMIT);
            if refused || started.elapsed() >= CONNECT_LIMIT {
                let waited = started.elapsed().as_secs();
                let reason = reported
                    .last
                    .unwrap_or_else(|| format!("no answer for {waited} s"));
                return Err(LogError::Unreachable {
                    location: self.location.clone(),
                    reason,
                });
            }
        }
        Ok(())
    }

    /// Takes what the client has reported meanwhile, a poll for each report.
    fn serve(&self) {
        for _ in 0..REPORTS {
            self.client.poll(Duration::ZERO);
        }
    }

    /// The client, for a question; one that says that it can reach no broker has them named anew.
    fn client(&self) -> &BaseConsumer<Reports> {
        self.serve();
        if self.client.context().lock().lost_all.take().is_some() {
            ffi::name_brokers(self.client.client(), &self.brokers);
        }
        &self.client
    }

    /// Names of all topics.
    pub(super) fn topics(&self) -> Result<Vec<String>, LogError> {
        let metadata = self.client().fetch_metadata(None, QUESTION_LIMIT);
        let metadata = metadata.map_err(|error| self.failed("listing the topics", &error))?;
        Ok(metadata
            .topics()
            .iter()
            .map(|topic| topic.name().to_owned())
            .collect())
    }

    /// How many partitions a topic has; `None` if there is no such topic, or not on every broker yet.
    pub(super) fn partitions(&self, topic: &str) -> Result<Option<u32>, LogError> {
        let what = format!("topic `{topic}`");
        let metadata = self.client().fetch_metadata(Some(topic), QUESTION_LIMIT);
        let metadata = metadata.map_err(|error| self.failed(&what, &error))?;
        let Some(found) = metadata.topics().first() else {
            return Ok(None);
        };
        let partitions = found.partitions().len() as u32;
        match found.error().map(|error| error as i32) {
            Some(code) if is_unknown_topic(code) => Ok(None),
            Some(code) if code == Code::LeaderNotAvailable as i32 => {
                Ok((partitions > 0).then_some(partitions))
            }
            Some(code) => {
                let reason = Code::from(found.error().expect("matched")).to_string();
                Err(log_error(&self.location, &what, code, &reason))
            }
            None => Ok((partitions > 0).then_some(partitions)),
        }
    }

    /// The id of a topic that is there; `None` from brokers that give none.
    pub(super) fn topic_id(&self, topic: &str) -> Result<Option<String>, LogError> {
        let id = ffi::topic_id(self.client().client(), topic, QUESTION_LIMIT);
        id.map_err(|(code, reason)| {
            let what = format!("topic `{topic}`: asking for its id");
            log_error(&self.location, &what, code, &reason)
        })
    }

    /// Whether every partition of a topic of `partitions` partitions has a leader.
    pub(super) fn is_ready(&self, topic: &str, partitions: u32) -> Result<bool, LogError> {
        let metadata = self.client().fetch_metadata(Some(topic), QUESTION_LIMIT);
        let metadata =
            metadata.map_err(|error| self.failed(&format!("topic `{topic}`"), &error))?;
        Ok(metadata.topics().first().is_some_and(|found| {
            found.partitions().len() as u32 == partitions
                && found.partitions().iter().all(|one| one.leader() >= 0)
        }))
    }

    /// First offset and high watermark of each partition of a topic: two questions to each broker, however many
    /// partitions there are.
    pub(super) fn all_offsets(
        &self,
        topic: &str,
        partitions: u32,
    ) -> Result<Vec<PartitionOffsets>, LogError> {
        let first = self.places(topic, partitions, Offset::Beginning)?;
        let end = self.places(topic, partitions, Offset::End)?;
        let both = first.into_iter().zip(end);
        Ok(both
            .map(|(first, end)| PartitionOffsets { first, end })
            .collect())
    }

    /// Where the first record, or the end, of each partition of a topic lies.
    fn places(&self, topic: &str, partitions: u32, of: Offset) -> Result<Vec<i64>, LogError> {
        let mut wanted = TopicPartitionList::with_capacity(partitions as usize);
        for partition in 0..partitions {
            let added = wanted.add_partition_offset(topic, partition as i32, of);
            added.map_err(|error| self.failed(&format!("topic `{topic}`"), &error))?;
        }
        self.ask_again(|| {
            // What is asked in place of a time is asked for as it is.
            let client = self.client();
            let found = client.offsets_for_times(wanted.clone(), QUESTION_LIMIT);
            let found = found.map_err(|error| (format!("topic `{topic}`"), error))?;
            let place = |partition: u32| {
                let found = found.find_partition(topic, partition as i32);
                let found = found.expect("the answer holds what was asked");
                let name = |error| (TopicPartition::new(topic, partition).to_string(), error);
                found.error().map_err(name)?;
                Ok(found.offset().to_raw().unwrap_or_default())
            };
            (0..partitions).map(place).collect()
        })
    }

    /// First offset and high watermark of a partition.
    pub(super) fn offsets(
        &self,
        topic: &str,
        partition: u32,
    ) -> Result<PartitionOffsets, LogError> {
        let name = |error| (TopicPartition::new(topic, partition).to_string(), error);
        let (first, end) = self.ask_again(|| {
            let client = self.client();
            let found = client.fetch_watermarks(topic, partition as i32, QUESTION_LIMIT);
            found.map_err(name)
        })?;
        Ok(PartitionOffsets { first, end })
    }

    /// Asks until each partition has a leader that answers: one that was just created, or whose leader has just
    /// changed, is not known to every broker at once. An error comes with the name of what it is of.
    fn ask_again<T>(
        &self,
        ask: impl Fn() -> Result<T, (String, KafkaError)>,
    ) -> Result<T, LogError> {
        let started = crate::clock::instant();
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err((_, error))
                    if is_passing(code_of(&error)) && started.elapsed() < QUESTION_LIMIT =>
                {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                Err((what, error)) => return Err(self.failed(&what, &error)),
            }
        }
    }

    /// Offset of the first record with at least this timestamp.
    pub(super) fn offset_for_time(
        &self,
        partition: &TopicPartition,
        timestamp: i64,
    ) -> Result<Option<i64>, LogError> {
        let number = partition.partition as i32;
        let ask = || {
            let mut wanted = TopicPartitionList::new();
            // The client takes small negative numbers for names of offsets; no record is dated before 0.
            wanted.add_partition_offset(
                &partition.topic,
                number,
                Offset::Offset(timestamp.max(0)),
            )?;
            let found = self.client().offsets_for_times(wanted, QUESTION_LIMIT)?;
            let found = found.find_partition(&partition.topic, number);
            let found = found.expect("the answer holds what was asked");
            found.error().map(|()| found.offset())
        };
        let found = self.ask_again(|| ask().map_err(|error| (partition.to_string(), error)))?;
        Ok(match found {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
    }

    fn failed(&self, what: &str, error: &KafkaError) -> LogError {
        self.serve();
        let reported = self.client.context().now();
        if let Some(reason) = reported.credentials {
            return LogError::Credentials {
                location: self.location.clone(),
                reason,
            };
        }
        log_error(&self.location, what, code_of(error), &error.to_string())
    }
}
