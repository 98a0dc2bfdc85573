//! The transactions of one application: two producers that take turns, so that an epoch is produced while
//! the one before it commits. A producer cannot begin again before the markers of its last transaction are
//! written.

use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::log::Cluster;
use super::turn::Turn;
use super::writer::Limits;
use super::{epochs, properties};
use crate::connect::{
    EpochRecord, NewTopic, SinkRecord, TopicPartition, TransactionError, Transactions,
};
use crate::error::LogError;

const TURNS: usize = 2;

pub(super) struct KafkaTransactions {
    cluster: Arc<Cluster>,
    application_id: String,
    limits: Arc<Limits>,
    group: ConsumerGroupMetadata,
    /// Empty only between a doubt and a [`renew`](Transactions::renew) that succeeds.
    turns: Vec<Turn>,
}

impl KafkaTransactions {
    pub(super) fn open(
        cluster: Arc<Cluster>,
        application_id: &str,
        outputs: &[String],
    ) -> Result<Self, LogError> {
        for topic in outputs {
            cluster.require(topic)?;
        }
        let epochs = epochs::topic_of(application_id);
        create_epoch_log(&cluster, &epochs)?;
        let topics: Vec<&str> = outputs
            .iter()
            .chain([&epochs])
            .map(String::as_str)
            .collect();
        let limits = Arc::new(Limits::new(cluster.admin.record_limits(&topics)?));
        let group = group_metadata(&cluster, application_id)?;
        let mut transactions = KafkaTransactions {
            cluster,
            application_id: application_id.to_owned(),
            limits,
            group,
            turns: Vec::new(),
        };
        transactions.turns = transactions.fence().map_err(|error| match error {
            TransactionError::Failed(error) => error,
            TransactionError::Fenced(reason) => LogError::Fenced(reason),
            TransactionError::Doubt(reason) => LogError::Client {
                location: transactions.cluster.properties.location(),
                reason,
            },
        })?;
        Ok(transactions)
    }

    /// New producers under the same ids: older ones are fenced, their transactions ended.
    fn fence(&self) -> Result<Vec<Turn>, TransactionError> {
        let open = |turn| {
            let config = self.config(turn);
            Turn::open(
                &config,
                self.limits.clone(),
                self.cluster.properties.location(),
            )
        };
        (0..TURNS).map(open).collect()
    }

    fn config(&self, turn: usize) -> ClientConfig {
        let properties = &self.cluster.properties;
        let mut config = properties.base();
        // Readers of what an instance left behind wait this long at most; a frozen one is fenced after it.
        properties.suggest(&mut config, "transaction.timeout.ms", "10000");
        properties.suggest(&mut config, "linger.ms", "1");
        // Between the steps of a transaction the client waits this long when the broker is not ready for it.
        properties.suggest(&mut config, "retry.backoff.ms", "5");
        self.limits.apply(&mut config);
        config.set(
            "transactional.id",
            format!("{}-{turn}", self.application_id),
        );
        config
    }

    fn turn(&mut self, turn: usize) -> Result<&mut Turn, TransactionError> {
        let renew = || TransactionError::Doubt("the producers have been thrown away".to_owned());
        self.turns.get_mut(turn).ok_or_else(renew)
    }
}

impl Transactions for KafkaTransactions {
    fn turns(&self) -> usize {
        TURNS
    }

    fn begin(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.turn(turn)?.begin()
    }

    fn send(&mut self, turn: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        self.turn(turn)?.send(record)
    }

    fn flush(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.turn(turn)?.flush()
    }

    fn send_offsets(
        &mut self,
        turn: usize,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), TransactionError> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            let added = list.add_partition_offset(
                &partition.topic,
                partition.partition as i32,
                Offset::Offset(*offset),
            );
            added.map_err(|_| {
                LogError::Refused(format!("{partition}: {offset} is not an offset"))
            })?;
        }
        let Some(producer) = self.turns.get_mut(turn) else {
            return self.turn(turn).map(drop);
        };
        producer.send_offsets(&list, &self.group)
    }

    fn commit(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.turn(turn)?.commit()
    }

    fn confirm(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.turn(turn)?.confirm()
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        // The old ones take up to half a second to end; nothing depends on when, they are fenced.
        let old = std::mem::take(&mut self.turns);
        std::thread::spawn(move || drop(old));
        self.turns = self.fence()?;
        Ok(())
    }

    fn read_epochs(&mut self, offset: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        epochs::read(
            &self.cluster,
            &epochs::topic_of(&self.application_id),
            offset,
        )
    }
}

fn create_epoch_log(cluster: &Cluster, topic: &str) -> Result<(), LogError> {
    match cluster.client.partitions(topic)? {
        Some(1) => Ok(()),
        Some(count) => Err(LogError::Refused(format!(
            "topic `{topic}` is an epoch log, yet has {count} partitions"
        ))),
        None => {
            // Entries carry wall-clock time, and none may expire before the snapshots that need it.
            let config = [
                ("cleanup.policy", "delete"),
                ("retention.ms", "-1"),
                ("retention.bytes", "-1"),
            ];
            let config = config
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
            cluster.admin.create_unless_there(
                &NewTopic {
                    name: topic.to_owned(),
                    partitions: 1,
                    config,
                },
                &cluster.client,
            )
        }
    }
}

/// The group that an application's offsets are shown under. A consumer that never joins it is enough.
fn group_metadata(
    cluster: &Cluster,
    application_id: &str,
) -> Result<ConsumerGroupMetadata, LogError> {
    let mut config = cluster.properties.base();
    config
        .set("group.id", application_id)
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().map_err(properties::refused)?;
    Ok(consumer
        .group_metadata()
        .expect("a consumer with a group has its metadata"))
}
