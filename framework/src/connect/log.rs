//! The seam between the engine and a partitioned log: [`Log`], with [`Source`] to read, [`Transactions`]
//! to commit epochs and [`Writer`] for plain sending. The embedded log and Kafka implement it; everything
//! above speaks nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::record::{RecordBatch, Records, SinkRecord};
use crate::error::LogError;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Self {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic `{}`, partition {}", self.topic, self.partition)
    }
}

/// What a log knows of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// The topic's name.
    pub name: String,
    /// What tells the topic from another one of the same name, created after it was deleted. `None` if the log
    /// gave it none: brokers before 2.8, embedded topics of before there were ids.
    pub id: Option<String>,
    /// Per partition the offset of the first record held and the offset that the next one will get
    /// (the high watermark: behind every record, committed or not).
    pub partitions: Vec<PartitionOffsets>,
    /// The topic's configuration, by name.
    pub config: BTreeMap<String, String>,
}

/// First and next offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// Offset of the first record held.
    pub first: i64,
    /// Offset behind the last record.
    pub end: i64,
}

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// The topic's name.
    pub name: String,
    /// How many partitions, at least one.
    pub partitions: u32,
    /// The topic's configuration, by name.
    pub config: BTreeMap<String, String>,
}

/// What [`Source::poll`] brings.
pub enum Fetched {
    /// Records of one partition.
    Batch(Arc<dyn RecordBatch>),
    /// The partition at `slot` has been read up to `position` and held nothing behind it at that moment:
    /// `position` is the high watermark, control records included. Reported once each time an end is reached.
    CaughtUp {
        /// Index of the partition in the assignment.
        slot: usize,
        /// The offset that the next record will have at least.
        position: i64,
    },
    /// Nothing came within the time given.
    Nothing,
}

/// Reads committed records of the partitions it was opened with, each from an absolute offset, in order.
/// Owned by one fetch thread.
pub trait Source: Send {
    /// Waits at most `timeout` for something of a partition that is not paused.
    ///
    /// # Errors
    /// An offset that is no longer held, a checksum that does not match, a log that cannot be reached.
    fn poll(&mut self, timeout: Duration) -> Result<Fetched, LogError>;
    /// Stops the partition at `slot` from delivering; what was delivered stays delivered.
    fn pause(&mut self, slot: usize) -> Result<(), LogError>;
    /// Lets the partition at `slot` deliver again, from behind the last record delivered.
    fn resume(&mut self, slot: usize) -> Result<(), LogError>;
    /// Reads one more partition, from `offset` on; its slot is the number of those before it. A log whose topics never
    /// grow need not be able to.
    ///
    /// # Errors
    /// There is no such partition, the offset is not held, or the source cannot be given more partitions.
    fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        Err(LogError::Refused(format!(
            "{partition} was added while it was read, and cannot be read from offset {offset} on before a restart"
        )))
    }
}

/// Sends records outside any transaction, in order per partition. One writer a topic at a time.
pub trait Writer: Send {
    /// Queues a record; waits while the queue is full.
    ///
    /// # Errors
    /// The record is too large, or the log cannot take it.
    fn send(&mut self, record: &SinkRecord<'_>) -> Result<(), LogError>;
    /// Queues a record of a topic as [`send`](Self::send) does, and may hold `records` until it is flushed instead of
    /// copying.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    fn send_of(
        &mut self,
        topic: &str,
        records: &Arc<dyn Records>,
        index: usize,
    ) -> Result<(), LogError> {
        self.send(&records.get(index, topic))
    }
    /// Returns when everything sent so far is durable and visible.
    ///
    /// # Errors
    /// A record sent before could not be written.
    fn flush(&mut self) -> Result<(), LogError>;
}

/// An entry of the epoch log as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// The entry's offset in the epoch log's partition.
    pub offset: i64,
    /// The epoch, from the record's key (8 bytes, big-endian).
    pub epoch: u64,
    /// The entry, JSON.
    pub value: Vec<u8>,
}

/// Why a step of a transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// It is unknown whether the step took effect: fence, read the epoch log, and decide by what it says.
    #[error("in doubt: {0}")]
    Doubt(String),
    /// Another producer has taken this application's place, or the broker gave this one up.
    #[error("fenced: {0}")]
    Fenced(String),
    /// It did not take effect and will not when repeated.
    #[error(transparent)]
    Failed(#[from] LogError),
}

/// The transactions of one application: the only way outputs, epoch log entries and input offsets are
/// written. Up to [`turns`](Self::turns) may be open at a time; `runtime/commit.rs` alone decides the order.
///
/// Opening it (see [`Log::transactions`]) has fenced every older instance and ended its transactions.
pub trait Transactions: Send {
    /// How many transactions may be open at once. `turn` below is smaller.
    fn turns(&self) -> usize;
    /// Opens the transaction of this turn.
    ///
    /// # Errors
    /// As for every step: [`TransactionError`].
    fn begin(&mut self, turn: usize) -> Result<(), TransactionError>;
    /// Adds a record; waits while the client's queue is full.
    fn send(&mut self, turn: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError>;
    /// Adds a record of a topic as [`send`](Self::send) does, and may hold `records` until the turn is flushed instead of
    /// copying.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    fn send_of(
        &mut self,
        turn: usize,
        topic: &str,
        records: &Arc<dyn Records>,
        index: usize,
    ) -> Result<(), TransactionError> {
        self.send(turn, &records.get(index, topic))
    }
    /// Returns when every record of the turn is acknowledged.
    fn flush(&mut self, turn: usize) -> Result<(), TransactionError>;
    /// Adds the input offsets (next to be read), for the tools that show an application's lag.
    fn send_offsets(
        &mut self,
        turn: usize,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), TransactionError>;
    /// Sends the commit of the turn off. At most one commit is under way.
    fn commit(&mut self, turn: usize) -> Result<(), TransactionError>;
    /// Waits until the commit under way is confirmed; its records are visible then.
    fn confirm(&mut self, turn: usize) -> Result<(), TransactionError>;
    /// Whether [`confirm`](Self::confirm) would return at once, so that nobody need wait for it who has something else to
    /// do. Where a commit is done when it is sent off, as by default, it always is.
    fn is_answered(&mut self, _turn: usize) -> bool {
        true
    }
    /// The offset of the last record that the turn's transaction sent to the epoch log; `None` if it sent none.
    /// To be asked between [`confirm`](Self::confirm) and the turn's next [`begin`](Self::begin). Kafka's client
    /// keeps no word of records that succeed, so there this reads the end of the epoch log, which takes
    /// milliseconds: ask for the epochs that need it, not for all.
    ///
    /// # Errors
    /// The log cannot be read; what was confirmed stays so.
    fn entry_offset(&mut self, turn: usize) -> Result<Option<i64>, TransactionError>;
    /// After a doubt: throws every producer away and makes new ones with the same ids, which fences the old
    /// ones and ends their transactions, committed or aborted.
    fn renew(&mut self) -> Result<(), TransactionError>;
    /// Reads the committed entries of the epoch log from `offset` on, up to its end; from the first one held if
    /// `offset` is 0.
    fn read_epochs(&mut self, offset: i64) -> Result<Vec<EpochRecord>, TransactionError>;
}

/// The error for a topic that cannot grow to `total` partitions because it has `count`.
pub(crate) fn has_partitions(topic: &str, count: u32, total: u32) -> LogError {
    LogError::Refused(format!(
        "topic `{topic}` has {count} partitions and cannot be given {total}: their number only grows"
    ))
}

/// A partitioned log: the embedded one in a directory, or a Kafka cluster.
pub trait Log: Send + Sync {
    /// Where it is, for messages: `embedded log ./tiderace-data`, `Kafka at 127.0.0.1:9092`.
    fn location(&self) -> String;
    /// Names of all topics, sorted, without the log's own internal ones.
    fn topics(&self) -> Result<Vec<String>, LogError>;
    /// A topic's description, `None` if there is no such topic.
    fn topic(&self, name: &str) -> Result<Option<TopicDescription>, LogError>;
    /// How many partitions a topic has, `None` if there is no such topic: of a [description](Self::topic) what is asked
    /// for again and again.
    fn partitions(&self, name: &str) -> Result<Option<usize>, LogError> {
        Ok(self.topic(name)?.map(|topic| topic.partitions.len()))
    }
    /// Creates a topic.
    ///
    /// # Errors
    /// It exists already, its name or configuration is not valid.
    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError>;
    /// Deletes a topic and its records; when it returns, the topic is not to be seen any more.
    fn delete_topic(&self, name: &str) -> Result<(), LogError>;
    /// Adds partitions to a topic until it has `total`. They are empty, and those who read or write the topic at this
    /// moment go on with what they have opened. Keys go to other partitions from then on.
    ///
    /// # Errors
    /// There is no such topic; it has more partitions than `total`, or as many; it cannot be written.
    fn add_partitions(&self, topic: &str, total: u32) -> Result<(), LogError>;
    /// Forgets the records of a partition below the offset `before`: [`PartitionOffsets::first`] is `before` when
    /// this returns, and whatever happens it is that or what it was. Nothing changes if the first one held lies at
    /// or behind it. Readers of what is gone get [`LogError::Gone`]. Space is given back by the segment.
    ///
    /// # Errors
    /// [`LogError::Beyond`] if `before` lies behind the partition's end; there is no such partition; it cannot be
    /// written.
    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<(), LogError>;
    /// Offset of the first record of a partition with at least this timestamp, `None` behind the last.
    fn offset_for_time(
        &self,
        partition: &TopicPartition,
        timestamp: i64,
    ) -> Result<Option<i64>, LogError>;
    /// Opens a reader of committed records, each partition from its offset. `memory` bounds what the
    /// client buffers, in bytes.
    fn source(
        &self,
        assignment: &[(TopicPartition, i64)],
        memory: usize,
    ) -> Result<Box<dyn Source>, LogError>;
    /// Fences older instances of `application_id` and opens its transactions; creates the epoch log's
    /// topic `<application_id>-epochs` if it is missing. `outputs` are the topics it will write to.
    fn transactions(
        &self,
        application_id: &str,
        outputs: &[String],
    ) -> Result<Box<dyn Transactions>, LogError>;
    /// Opens the plain writer of a topic, which must exist.
    fn writer(&self, topic: &str) -> Result<Box<dyn Writer>, LogError>;
    /// Whether outputs dated at or before the epoch (timestamp <= 0) can be written.
    fn takes_nonpositive_timestamps(&self) -> bool;
}
