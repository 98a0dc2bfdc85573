//! [`KafkaLog`]: the door to one cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::admin::Admin;
use super::client::QueryClient;
use super::properties::Properties;
use super::source::KafkaSource;
use super::transactions::KafkaTransactions;
use super::writer::KafkaWriter;
use crate::connect::{
    Log, NewTopic, Source, TopicDescription, TopicPartition, Transactions, Writer, has_partitions,
};
use crate::error::LogError;

/// How long a fetch waits for records where none are: a request that waits holds back what other partitions of the
/// broker ask for.
const FETCH_WAIT: Duration = Duration::from_millis(20);

/// A Kafka cluster.
pub struct KafkaLog {
    cluster: Arc<Cluster>,
}

/// What the readers and writers of one log share.
pub(super) struct Cluster {
    pub(super) properties: Properties,
    pub(super) client: QueryClient,
    pub(super) admin: Admin,
}

impl fmt::Debug for KafkaLog {
    /// Says where, and nothing of the properties, which hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KafkaLog").field(&self.location()).finish()
    }
}

impl KafkaLog {
    /// Connects to the cluster at `brokers` (`HOST:PORT,...`) with the client's `properties`, names without
    /// the `kafka.` prefix, and returns when it has answered.
    ///
    /// # Errors
    /// A property is unknown or belongs to the engine; no broker answers within ten seconds; the credentials
    /// are refused.
    pub fn connect(
        brokers: &str,
        properties: &BTreeMap<String, String>,
    ) -> Result<KafkaLog, LogError> {
        let properties = Properties::new(brokers, properties)?;
        if properties.is_exposed() {
            tracing::warn!(
                "{}: records and passwords travel unencrypted to another machine; set kafka.security.protocol",
                properties.location()
            );
        }
        let client = QueryClient::connect(&properties)?;
        let admin = Admin::new(&properties)?;
        Ok(KafkaLog {
            cluster: Arc::new(Cluster {
                properties,
                client,
                admin,
            }),
        })
    }
}

impl Cluster {
    /// How many partitions a topic has.
    pub(super) fn require(&self, topic: &str) -> Result<u32, LogError> {
        let missing = || LogError::NoTopic {
            topic: topic.to_owned(),
            location: self.properties.location(),
        };
        self.client.partitions(topic)?.ok_or_else(missing)
    }
}

impl Log for KafkaLog {
    fn location(&self) -> String {
        self.cluster.properties.location()
    }

    fn topics(&self) -> Result<Vec<String>, LogError> {
        let mut topics = self.cluster.client.topics()?;
        topics.retain(|name| !name.starts_with("__"));
        topics.sort_unstable();
        Ok(topics)
    }

    fn topic(&self, name: &str) -> Result<Option<TopicDescription>, LogError> {
        let Some(count) = self.cluster.client.partitions(name)? else {
            return Ok(None);
        };
        let partitions = self.cluster.client.all_offsets(name, count)?;
        let config = self.cluster.admin.config(name)?;
        let id = self.cluster.client.topic_id(name)?;
        Ok(Some(TopicDescription {
            name: name.to_owned(),
            id,
            partitions,
            config,
        }))
    }

    fn partitions(&self, name: &str) -> Result<Option<usize>, LogError> {
        let count = self.cluster.client.partitions(name)?;
        Ok(count.map(|count| count as usize))
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        self.cluster.admin.create(topic, &self.cluster.client)
    }

    fn delete_topic(&self, name: &str) -> Result<(), LogError> {
        self.cluster.admin.delete(name, &self.cluster.client)
    }

    fn add_partitions(&self, topic: &str, total: u32) -> Result<(), LogError> {
        let count = self.cluster.require(topic)?;
        if total <= count {
            return Err(has_partitions(topic, count, total));
        }
        let (admin, client) = (&self.cluster.admin, &self.cluster.client);
        admin.add_partitions(topic, total, client)
    }

    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<(), LogError> {
        let count = self.cluster.require(&partition.topic)?;
        if partition.partition >= count {
            let location = self.location();
            return Err(LogError::Refused(format!(
                "{partition}: there are {count} partitions in {location}"
            )));
        }
        let (client, number) = (&self.cluster.client, partition.partition);
        let held = client.offsets(&partition.topic, number)?;
        if before > held.end {
            return Err(LogError::Beyond {
                partition: partition.clone(),
                wanted: before,
                end: held.end,
            });
        }
        if before <= held.first {
            return Ok(());
        }
        self.cluster.admin.delete_records(partition, before)
    }

    fn offset_for_time(
        &self,
        partition: &TopicPartition,
        timestamp: i64,
    ) -> Result<Option<i64>, LogError> {
        self.cluster.client.offset_for_time(partition, timestamp)
    }

    fn source(
        &self,
        assignment: &[(TopicPartition, i64)],
        memory: usize,
    ) -> Result<Box<dyn Source>, LogError> {
        Ok(Box::new(KafkaSource::open(
            self.cluster.clone(),
            assignment,
            memory,
            FETCH_WAIT,
        )?))
    }

    fn transactions(
        &self,
        application_id: &str,
        outputs: &[String],
    ) -> Result<Box<dyn Transactions>, LogError> {
        Ok(Box::new(KafkaTransactions::open(
            self.cluster.clone(),
            application_id,
            outputs,
        )?))
    }

    fn writer(&self, topic: &str) -> Result<Box<dyn Writer>, LogError> {
        Ok(Box::new(KafkaWriter::open(&self.cluster, topic)?))
    }

    fn takes_nonpositive_timestamps(&self) -> bool {
        false
    }
}
