//! Pipelines as loops over a log, with the engine's own client calls and nothing of the engine: what they would
//! cost without a framework.
//!
//! They promise the same output, exactly once, for a bounded input; they keep no state for a restart.

pub mod json;

mod input;
mod output;
mod rides_per_zone;
mod running_counts;
mod topics;
mod updates;

use tiderace::connect::{TopicPartition, TransactionError};
use tiderace::error::LogError;

pub use self::rides_per_zone::{Job, rides_per_zone};
pub use self::topics::{Topics, count_by_key, count_windows, count_words, filter};
pub use self::updates::{PATIENCE, count_updates};

/// Why the loop ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A transaction failed; this loop does not try again.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// Records that were waited for did not come.
    #[error("of {wanted} records only {taken} came")]
    Missing {
        /// Records that came.
        taken: u64,
        /// Records that were to come.
        wanted: u64,
    },
    /// A record that is not what its topic holds.
    #[error("{partition}, offset {offset}: {reason}")]
    Value {
        /// Topic and partition.
        partition: TopicPartition,
        /// The record's offset.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
}
