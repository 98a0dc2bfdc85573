//! Connectors: the typed constant [`Topic`], and the [`Log`] seam with a system a module.

pub mod embedded;
mod epoch_topic;
pub mod kafka;
mod log;
pub mod partition;
mod record;
mod topic;
mod topic_name;

pub(crate) use epoch_topic::epoch_topic;
pub(crate) use log::has_partitions;
pub use log::{
    EpochRecord, Fetched, Log, NewTopic, PartitionOffsets, Source, TopicDescription,
    TopicPartition, TransactionError, Transactions, Writer,
};
pub use partition::partition_for;
pub use record::{Header, NO_TIMESTAMP, RawRecord, RecordBatch, Records, SinkRecord};
pub use topic::{Takes, Topic};
pub(crate) use topic_name::is_topic_name;
