//! The transactions of one application: two producers that take turns, so that an epoch is produced while
//! the one before it commits. A producer cannot begin again before the markers of its last transaction are
//! written.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::log::Cluster;
use super::turn::Turn;
use super::writer::{Limits, Outgoing};
use super::{epochs, properties};
use crate::config::TRANSACTION_TIMEOUT;
use crate::connect::{
    EpochRecord, NewTopic, Records, SinkRecord, TopicPartition, TransactionError, Transactions,
    epoch_topic,
};
use crate::error::LogError;

const TURNS: usize = 2;

/// How long an older producer's transaction is waited for before a new producer asks whether it has ended.
const SOON_ENDED: Duration = Duration::from_millis(20);

pub(super) struct KafkaTransactions {
    cluster: Arc<Cluster>,
    application_id: String,
    limits: Arc<Limits>,
    group: Arc<ConsumerGroupMetadata>,
    /// Empty only between a doubt and a [`renew`](Transactions::renew) that succeeds.
    turns: Vec<Turn>,
    /// The epoch log's topic.
    epochs: String,
    /// By turn, the entries that its transaction has sent.
    entries: [Entries; TURNS],
    _ending: Ending,
}

/// A consumer that ends beside what goes on: that takes a tenth of a second, which a start need not wait. The end of
/// this waits for it.
struct Ending(Option<JoinHandle<()>>);

impl Ending {
    fn begin(consumer: BaseConsumer) -> Self {
        let thread = std::thread::Builder::new().name("tiderace-ending".to_owned());
        // Without a thread the closure ends it here.
        Ending(thread.spawn(move || drop(consumer)).ok())
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // librdkafka does not panic, and nothing is left to be done if it does.
        let _ = self.0.take().map(JoinHandle::join);
    }
}

/// What a transaction has sent to the epoch log: how many entries, and the last one as it was sent.
#[derive(Default)]
struct Entries {
    count: i64,
    key: Vec<u8>,
    value: Vec<u8>,
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
        let wanted = epoch_topic(application_id);
        create_epoch_log(&cluster, &wanted)?;
        let epochs = wanted.name;
        let topics: Vec<&str> = outputs
            .iter()
            .chain([&epochs])
            .map(String::as_str)
            .collect();
        let limits = Arc::new(Limits::new(cluster.admin.record_limits(&topics)?));
        let (group, ending) = group_metadata(&cluster, application_id)?;
        let mut transactions = KafkaTransactions {
            cluster,
            application_id: application_id.to_owned(),
            limits,
            group: Arc::new(group),
            turns: Vec::new(),
            epochs,
            entries: Default::default(),
            _ending: ending,
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

    /// New producers under the same ids: older ones are fenced, their transactions ended. They connect at the same time, and
    /// fence one after the other: of two instances that start at once, the one that is fenced here has not touched the rest,
    /// so the other one lives.
    fn fence(&self) -> Result<Vec<Turn>, TransactionError> {
        let mut connecting = Vec::new();
        for turn in 0..TURNS {
            let thread = std::thread::Builder::new().name("tiderace-connect".to_owned());
            let thread = thread.spawn(self.connect(turn));
            let refused = |error| LogError::Refused(format!("cannot start a thread: {error}"));
            connecting.push(thread.map_err(refused)?);
        }
        let fence = |(index, connecting): (usize, JoinHandle<Result<Turn, TransactionError>>)| {
            let mut turn = connecting.join().expect("connecting does not panic")?;
            // Longer each time: what keeps a transaction from being ended is not to be asked without end.
            let mut wait = SOON_ENDED;
            while !turn.fence(wait)? {
                wait *= 2;
                let old = std::mem::replace(&mut turn, self.connect(index)()?);
                std::thread::spawn(move || drop(old));
            }
            Ok(turn)
        };
        connecting.into_iter().enumerate().map(fence).collect()
    }

    /// What makes the producer of a turn and has it connect.
    fn connect(&self, turn: usize) -> impl FnOnce() -> Result<Turn, TransactionError> + use<> {
        let (config, limits) = (self.config(turn), self.limits.clone());
        let location = self.cluster.properties.location();
        move || Turn::connect(&config, limits, location)
    }

    fn config(&self, turn: usize) -> ClientConfig {
        let properties = &self.cluster.properties;
        let mut config = properties.base();
        // Readers of what an instance left behind wait this long at most; a frozen one is fenced after it.
        let timeout = TRANSACTION_TIMEOUT.as_millis().to_string();
        properties.suggest(&mut config, "transaction.timeout.ms", &timeout);
        // An epoch is sent at once and flushed, which sends what lingers; see `backlog`. It has to be less than the least
        // `transaction.timeout.ms`, a second.
        properties.suggest(&mut config, "linger.ms", "500");
        // Between the steps of a transaction the client waits this long when the broker is not ready for it.
        properties.suggest(&mut config, "retry.backoff.ms", "5");
        self.limits.apply(&mut config);
        hear_of_every_lost_connection(&mut config);
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
        self.turn(turn)?.begin()?;
        self.entries[turn] = Entries::default();
        Ok(())
    }

    fn send(&mut self, turn: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        self.turn(turn)?.send(&Outgoing::Copied(record))?;
        if record.topic == self.epochs {
            let bytes = |bytes: Option<&[u8]>| bytes.unwrap_or_default().to_vec();
            self.entries[turn] = Entries {
                count: self.entries[turn].count + 1,
                key: bytes(record.key),
                value: bytes(record.value),
            };
        }
        Ok(())
    }

    fn send_of(
        &mut self,
        turn: usize,
        topic: &str,
        records: &Arc<dyn Records>,
        index: usize,
    ) -> Result<(), TransactionError> {
        let outgoing = Outgoing::InPlace(topic, records, index);
        self.turn(turn)?.send(&outgoing)
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
        let group = self.group.clone();
        self.turn(turn)?.send_offsets(list, group)
    }

    fn commit(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.turn(turn)?.commit()
    }

    fn confirm(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.turn(turn)?.confirm()
    }

    fn is_answered(&mut self, turn: usize) -> bool {
        // Producers that were thrown away answer nothing any more, which confirming says.
        self.turns.get_mut(turn).is_none_or(Turn::is_answered)
    }

    fn entry_offset(&mut self, turn: usize) -> Result<Option<i64>, TransactionError> {
        let Entries { count, key, value } = &self.entries[turn];
        if *count == 0 {
            return Ok(None);
        }
        let others = self.entries.iter().map(|of| of.count).sum::<i64>() - count;
        epochs::find(&self.cluster, &self.epochs, key, value, others).map(Some)
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        self.entries = Default::default();
        // The old ones take up to half a second to end; nothing depends on when, they are fenced.
        let old = std::mem::take(&mut self.turns);
        std::thread::spawn(move || drop(old));
        self.turns = self.fence()?;
        Ok(())
    }

    fn read_epochs(&mut self, offset: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        epochs::read(&self.cluster, &self.epochs, offset)
    }
}

/// Has the client say of every connection that it has lost it. Left to itself it keeps quiet of one that ends like
/// the one before it within half a minute, and of those that it closes itself, whatever was under way on them: an
/// EndTxn that it then sends again would go unnoticed.
fn hear_of_every_lost_connection(config: &mut ClientConfig) {
    let debug = match config.get("debug") {
        Some(contexts) => format!("{contexts},broker"),
        None => "broker".to_owned(),
    };
    config.set("debug", debug);
    config.set_log_level(RDKafkaLogLevel::Debug);
    // Connections that nobody uses are closed from here, which says so, before a broker does it after ten minutes:
    // that could not be told from one that broke.
    config.set("connections.max.idle.ms", "240000");
}

fn create_epoch_log(cluster: &Cluster, wanted: &NewTopic) -> Result<(), LogError> {
    match cluster.client.partitions(&wanted.name)? {
        Some(1) => Ok(()),
        Some(count) => Err(LogError::Refused(format!(
            "topic `{}` is an epoch log, yet has {count} partitions",
            wanted.name
        ))),
        None => cluster.admin.create_unless_there(wanted, &cluster.client),
    }
}

/// The group that an application's offsets are shown under. A consumer that never joins it is enough.
fn group_metadata(
    cluster: &Cluster,
    application_id: &str,
) -> Result<(ConsumerGroupMetadata, Ending), LogError> {
    let mut config = cluster.properties.base();
    config
        .set("group.id", application_id)
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().map_err(properties::refused)?;
    let metadata = consumer.group_metadata();
    let metadata = metadata.expect("a consumer with a group has its metadata");
    Ok((metadata, Ending::begin(consumer)))
}
