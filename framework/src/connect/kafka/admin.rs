//! Creates, grows and deletes topics, deletes records, and reads their configuration.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewPartitions, NewTopic as KafkaTopic,
    ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{QUESTION_LIMIT, QueryClient};
use super::errors::{code_of, is_unknown_topic, log_error};
use super::properties::{self, Properties};
use super::reports::Reports;
use crate::connect::{NewTopic, TopicPartition};
use crate::error::LogError;

/// What Kafka's brokers take when a topic does not say: `max.message.bytes`.
const DEFAULT_RECORD_LIMIT: usize = 1_048_588;

/// Settings that count for a topic where only its brokers say so, too: whether records of it may vanish.
const OF_BROKERS: [&str; 2] = ["cleanup.policy", "min.compaction.lag.ms"];

/// Changes one cluster.
pub(super) struct Admin {
    client: AdminClient<Reports>,
    location: String,
}

impl Admin {
    pub(super) fn new(properties: &Properties) -> Result<Admin, LogError> {
        let client = properties
            .base()
            .create_with_context(Reports::default())
            .map_err(properties::refused)?;
        Ok(Admin {
            client,
            location: properties.location(),
        })
    }

    /// Creates a topic and waits until `metadata` shows it with a leader for each partition.
    pub(super) fn create(&self, topic: &NewTopic, metadata: &QueryClient) -> Result<(), LogError> {
        let answer = self.ask_to_create(topic);
        self.one(&asked(topic, &answer), answer)?;
        self.wait_for_leaders(&topic.name, topic.partitions, metadata)
    }

    /// As [`create`](Self::create), content if somebody else has created the topic at the same moment.
    pub(super) fn create_unless_there(
        &self,
        topic: &NewTopic,
        metadata: &QueryClient,
    ) -> Result<(), LogError> {
        let answer = self.ask_to_create(topic);
        if !matches!(answer.as_deref(), Ok([Err((_, Code::TopicAlreadyExists))])) {
            self.one(&format!("topic `{}`", topic.name), answer)?;
        }
        self.wait_for_leaders(&topic.name, topic.partitions, metadata)
    }

    fn ask_to_create(&self, topic: &NewTopic) -> Result<Vec<TopicResult>, KafkaError> {
        // -1: as the broker is configured.
        let mut wanted = KafkaTopic::new(
            &topic.name,
            topic.partitions as i32,
            TopicReplication::Fixed(-1),
        );
        for (name, value) in &topic.config {
            wanted = wanted.set(name, value);
        }
        wait_for(self.client.create_topics([&wanted], &options()))
    }

    /// Adds partitions to a topic and waits until `metadata` shows all of them with a leader.
    pub(super) fn add_partitions(
        &self,
        topic: &str,
        total: u32,
        metadata: &QueryClient,
    ) -> Result<(), LogError> {
        let wanted = NewPartitions::new(topic, total as usize);
        let answer = wait_for(self.client.create_partitions([&wanted], &options()));
        self.one(&format!("topic `{topic}`"), answer)?;
        self.wait_for_leaders(topic, total, metadata)
    }

    fn wait_for_leaders(
        &self,
        topic: &str,
        partitions: u32,
        metadata: &QueryClient,
    ) -> Result<(), LogError> {
        self.wait_until(
            || metadata.is_ready(topic, partitions),
            || {
                format!(
                    "topic `{topic}` was given {partitions} partitions, but not each has a leader"
                )
            },
        )
    }

    /// Asks again and again until it is so; `otherwise` says what is the matter if it never is.
    fn wait_until(
        &self,
        is_so: impl Fn() -> Result<bool, LogError>,
        otherwise: impl Fn() -> String,
    ) -> Result<(), LogError> {
        let started = crate::clock::instant();
        while !is_so()? {
            if started.elapsed() >= QUESTION_LIMIT {
                return Err(LogError::Client {
                    location: self.location.clone(),
                    reason: format!("{} after {} s", otherwise(), QUESTION_LIMIT.as_secs()),
                });
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Deletes a topic and waits until `metadata` does not show it any more, so that one of its name may be created.
    pub(super) fn delete(&self, topic: &str, metadata: &QueryClient) -> Result<(), LogError> {
        let id = metadata.topic_id(topic).ok().flatten();
        let answer = wait_for(self.client.delete_topics(&[topic], &options()));
        if let Ok([Err((_, code))]) = answer.as_deref()
            && is_unknown_topic(*code as i32)
        {
            return Err(LogError::NoTopic {
                topic: topic.to_owned(),
                location: self.location.clone(),
            });
        }
        self.one(&format!("topic `{topic}`"), answer)?;
        // Somebody may have created another one of that name.
        let is_another = || {
            let now = metadata.topic_id(topic);
            id.is_some() && now.is_ok_and(|now| now != id)
        };
        // It is deleted: that the cluster cannot be asked just now is no failure.
        let is_gone = || match metadata.partitions(topic) {
            Ok(None) => Ok(true),
            Ok(Some(_)) => Ok(is_another()),
            Err(LogError::Unreachable { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        self.wait_until(is_gone, || {
            format!("topic `{topic}` was deleted, but the cluster shows one of this name")
        })
    }

    /// Deletes the records of a partition below an offset that lies between its first one and its end.
    pub(super) fn delete_records(
        &self,
        partition: &TopicPartition,
        before: i64,
    ) -> Result<(), LogError> {
        let failed = |error: &KafkaError| {
            let what = format!("{partition}: deleting the records below offset {before}");
            log_error(&self.location, &what, code_of(error), &error.to_string())
        };
        let number = partition.partition as i32;
        let mut wanted = TopicPartitionList::new();
        wanted
            .add_partition_offset(&partition.topic, number, Offset::Offset(before))
            .map_err(|error| failed(&error))?;
        let answer = wait_for(self.client.delete_records(&wanted, &options()))
            .map_err(|error| failed(&error))?;
        let found = answer.find_partition(&partition.topic, number);
        let found = found.expect("the answer holds what was asked");
        found.error().map_err(|error| failed(&error))
    }

    fn one(
        &self,
        what: &str,
        answer: Result<Vec<TopicResult>, KafkaError>,
    ) -> Result<(), LogError> {
        let answer = answer.map_err(|error| {
            log_error(&self.location, what, code_of(&error), &error.to_string())
        })?;
        match answer.into_iter().next() {
            Some(Err((_, code))) => Err(log_error(
                &self.location,
                what,
                code as i32,
                &code.to_string(),
            )),
            _ => Ok(()),
        }
    }

    /// What a topic was given beside the broker's defaults.
    pub(super) fn config(&self, topic: &str) -> Result<BTreeMap<String, String>, LogError> {
        let entries = self.entries(&[topic])?.pop().unwrap_or_default();
        let own = entries.into_iter().filter(|entry| match entry.source {
            ConfigSource::DynamicTopic => true,
            ConfigSource::Default | ConfigSource::Unknown => false,
            _ => OF_BROKERS.contains(&&*entry.name),
        });
        Ok(own
            .filter_map(|entry| Some((entry.name, entry.value?)))
            .collect())
    }

    /// The largest record that each of these topics takes, in bytes.
    pub(super) fn record_limits(
        &self,
        topics: &[&str],
    ) -> Result<BTreeMap<String, usize>, LogError> {
        let found = match self.entries(topics) {
            // Reading a configuration needs a permission of its own; writing goes without it.
            Err(LogError::Credentials { .. }) => Vec::new(),
            found => found?,
        };
        let limit = |index: usize| {
            let entry = found
                .get(index)?
                .iter()
                .find(|entry| entry.name == "max.message.bytes")?;
            entry.value.as_ref()?.parse().ok()
        };
        let limits = topics.iter().enumerate();
        Ok(limits
            .map(|(at, topic)| {
                (
                    (*topic).to_owned(),
                    limit(at).unwrap_or(DEFAULT_RECORD_LIMIT),
                )
            })
            .collect())
    }

    fn entries(&self, topics: &[&str]) -> Result<Vec<Vec<rdkafka::admin::ConfigEntry>>, LogError> {
        let wanted: Vec<_> = topics
            .iter()
            .map(|topic| ResourceSpecifier::Topic(topic))
            .collect();
        let failed = |code, reason: &str| {
            log_error(&self.location, "reading topic configurations", code, reason)
        };
        let answer = wait_for(self.client.describe_configs(&wanted, &options()));
        let answer = answer.map_err(|error| failed(code_of(&error), &error.to_string()))?;
        let entries = |one: Result<rdkafka::admin::ConfigResource, Code>| {
            one.map(|resource| resource.entries)
                .map_err(|code| failed(code as i32, &code.to_string()))
        };
        answer.into_iter().map(entries).collect()
    }
}

/// What was asked for, for an error: with its configuration, if that is what the broker refuses. Which part of it and
/// why, the client does not pass on.
fn asked(topic: &NewTopic, answer: &Result<Vec<TopicResult>, KafkaError>) -> String {
    let name = &topic.name;
    if !matches!(answer.as_deref(), Ok([Err((_, Code::InvalidConfig))])) {
        return format!("topic `{name}`");
    }
    let given = topic.config.iter();
    let given: Vec<String> = given
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("topic `{name}` with {}", given.join(", "))
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(QUESTION_LIMIT))
        .operation_timeout(Some(QUESTION_LIMIT))
}

/// Waits for an answer that the client's own thread brings.
fn wait_for<T>(answer: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut answer = pin!(answer);
    loop {
        if let Poll::Ready(answer) = answer.as_mut().poll(&mut Context::from_waker(&waker)) {
            return answer;
        }
        std::thread::park();
    }
}
