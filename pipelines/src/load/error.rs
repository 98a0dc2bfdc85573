//! Why a load failed.

use std::path::PathBuf;

use tiderace::connect::TopicPartition;
use tiderace::error::LogError;

use super::Plan;

/// Why rides or zones were not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The log refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file of rides that cannot be read.
    #[error("cannot read the rides in {}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A row that is no ride.
    #[error("{source_name}, line {line}: {reason}")]
    Row {
        /// The file.
        source_name: String,
        /// The line's number, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// More copies than there are years of four digits.
    #[error(
        "--scale {scale} cannot be loaded: it is 1 at least, and {most} at most before the year 10000"
    )]
    Scale {
        /// What was asked for.
        scale: u64,
        /// The most that these rides allow.
        most: u64,
    },
    /// A shuffle within a bound of time of something that is not in order of time.
    #[error("--disorder shuffles rides that are sent by pickup time; leave it or --order file out")]
    ShuffledFile,
    /// The topic was loaded with something else.
    #[error(
        "topic `{topic}` was loaded with {recorded}; this run would load {wanted}; \
         give another --data-dir or --application-id, the options of then, or --no-load to take what it holds"
    )]
    Another {
        /// The topic's name.
        topic: String,
        /// What was loaded.
        recorded: Box<Plan>,
        /// What was to be loaded.
        wanted: Box<Plan>,
    },
    /// Records that no load sent.
    #[error(
        "topic `{topic}` holds {records} records that were not loaded by this command; \
         --no-load takes them as they are, another --data-dir loads elsewhere"
    )]
    Foreign {
        /// The topic's name.
        topic: String,
        /// How many records it holds.
        records: i64,
    },
    /// Records of a load with others between them.
    #[error(
        "{partition}, offset {offset}: the record there is not the one that the recorded load sends, so the load \
         cannot go on behind it; --no-load takes the topic as it is, another --data-dir loads afresh"
    )]
    Mixed {
        /// Topic and partition.
        partition: TopicPartition,
        /// The offset looked at.
        offset: i64,
    },
    /// What is recorded of an earlier load cannot be read.
    #[error("what is recorded of the load of topic `{topic}` is not readable: {reason}")]
    Record {
        /// The topic that was loaded.
        topic: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The user broke off.
    #[error(
        "interrupted while loading, {sent} of {in_all} rides are in the topic; the next run goes on there"
    )]
    Interrupted {
        /// Rides in the topic.
        sent: u64,
        /// Rides of the whole load.
        in_all: u64,
    },
}

impl LoadError {
    /// The exit code of a command that ends with this error, as `docs/contract.md` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            LoadError::Log(error) => error.exit_code(),
            LoadError::File { .. } => 66,
            LoadError::Row { .. } | LoadError::Record { .. } => 65,
            LoadError::Scale { .. } | LoadError::ShuffledFile => 64,
            LoadError::Another { .. } | LoadError::Foreign { .. } | LoadError::Mixed { .. } => 64,
            LoadError::Interrupted { .. } => 130,
        }
    }
}
