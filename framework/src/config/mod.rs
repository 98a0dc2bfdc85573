//! The configuration of a run, resolved: a plain struct with units in its types.
//!
//! Text becomes a [`Config`] in one place, [`resolve()`], at the edge of a program: the names, units and
//! defaults stand in one table ([`SETTINGS`]), from which `docs/configuration.md` is written. The engine sees
//! the struct only and never knows where a value came from. Secrets are never printed, `Debug` included.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

mod brokers;
mod duration;
mod error;
mod guarantee;
mod names;
mod properties;
mod resolve;
mod secrets;
#[cfg(test)]
mod tests;

pub use duration::parse_duration;
pub use error::{ConfigError, Origin};
pub use guarantee::Guarantee;
pub use names::{SETTINGS, Setting, Unit, reference_table};
pub use resolve::{Layers, resolve};
pub use secrets::is_secret;

/// Everything the engine can be told. `Config::default()` is what a run without any option uses.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// The application id; the topology's own unless set.
    pub application_id: Option<String>,
    /// `HOST:PORT,...` of a Kafka cluster; the embedded log in `data_dir` unless set.
    pub brokers: Option<String>,
    /// What is promised of outputs when a run fails.
    pub guarantee: Guarantee,
    /// Worker threads, at least one.
    pub workers: usize,
    /// The longest an epoch stays open.
    pub commit_interval: Duration,
    /// Records after which an epoch closes early.
    pub epoch_records: u64,
    /// Records a second that a process takes in at most; as many as it can unless set.
    pub rate: Option<NonZeroU64>,
    /// Closed epochs whose outputs may be unacknowledged, at least two; [`Guarantee::AtMostOnce`]: that may be uncommitted.
    pub epochs_in_flight: u64,
    /// Bytes in flight: fetched records, open epochs and outputs together, client queues included.
    pub memory_budget: usize,
    /// How long a caught-up partition is silent before it is left out of the watermark.
    pub idle_timeout: Duration,
    /// How far a record may lie ahead of both its partition's stream time and the wall clock.
    pub max_skew: Duration,
    /// How often it is looked for partitions that were added to topics.
    pub metadata_max_age: Duration,
    /// Records by which a partition may be read ahead of the one that windows wait for.
    pub max_lead_records: u64,
    /// How often the state of operators is kept as a snapshot.
    pub snapshot_interval: Duration,
    /// How long entries of the epoch log are kept at least.
    pub epoch_log_retention: Duration,
    /// States of a snapshot that are given up, by the name of their step.
    pub dropped_states: Vec<String>,
    /// Topics of which a start may leave out what was deleted before it was read.
    pub accepted_losses: Vec<String>,
    /// Shards that keys belong to; fixed by the first start of an application.
    pub shards: u32,
    /// A worker without progress for this long with input at hand is reported.
    pub stall_timeout: Duration,
    /// How often a run restarts itself after a failure before it ends with it.
    pub max_restarts: u64,
    /// How long the first restart waits; each further one twice as long.
    pub restart_backoff: Duration,
    /// The longest that a restart waits.
    pub restart_backoff_max: Duration,
    /// After this long without a failure the restarts before are forgotten.
    pub restart_reset: Duration,
    /// Wait for more input at the end instead of closing all windows.
    pub follow: bool,
    /// Where locks and snapshots of applications live: `DIR/state`.
    pub data_dir: PathBuf,
    /// Properties of the Kafka client, names without the `kafka.` prefix.
    pub kafka: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            application_id: None,
            brokers: None,
            guarantee: Guarantee::ExactlyOnce,
            workers: 1,
            commit_interval: Duration::from_millis(100),
            epoch_records: 100_000,
            rate: None,
            epochs_in_flight: 4,
            memory_budget: 64 << 20,
            idle_timeout: Duration::from_secs(5),
            max_skew: Duration::from_secs(7 * 24 * 3600),
            metadata_max_age: Duration::from_secs(30),
            max_lead_records: 100_000,
            snapshot_interval: Duration::from_secs(10),
            epoch_log_retention: Duration::from_secs(7 * 24 * 3600),
            dropped_states: Vec::new(),
            accepted_losses: Vec::new(),
            shards: 256,
            stall_timeout: Duration::from_secs(30),
            max_restarts: 3,
            restart_backoff: Duration::from_millis(100),
            restart_backoff_max: Duration::from_secs(10),
            restart_reset: Duration::from_secs(60),
            follow: false,
            data_dir: PathBuf::from("tiderace-data"),
            kafka: BTreeMap::new(),
        }
    }
}

/// After how long the broker aborts a transaction that nobody ends, unless the client's property says otherwise.
pub(crate) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

impl Config {
    /// Whether Kafka lets a transaction last as long as epochs may make it.
    ///
    /// A transaction begins when its first epoch has closed and ends behind the one before; epochs that close meanwhile
    /// join it. Where outputs go out no faster than they are made, each of the two takes as long as its epochs were open.
    pub(crate) fn check_transaction_timeout(&self) -> Result<(), ConfigError> {
        let given = self.kafka.get("transaction.timeout.ms");
        let timeout = match given.map(|text| text.trim().parse::<u64>()) {
            Some(Ok(millis)) => Duration::from_millis(millis),
            // What is no number the client refuses.
            Some(Err(_)) => return Ok(()),
            None => TRANSACTION_TIMEOUT,
        };
        if self.brokers.is_none() || timeout >= self.commit_interval * 2 {
            return Ok(());
        }
        Err(ConfigError::TransactionTimeout {
            interval: self.commit_interval.as_millis(),
            timeout: timeout.as_millis(),
        })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("application_id", &self.application_id)
            .field("brokers", &self.brokers)
            .field("guarantee", &self.guarantee)
            .field("workers", &self.workers)
            .field("commit_interval", &self.commit_interval)
            .field("epoch_records", &self.epoch_records)
            .field("rate", &self.rate)
            .field("epochs_in_flight", &self.epochs_in_flight)
            .field("memory_budget", &self.memory_budget)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_skew", &self.max_skew)
            .field("metadata_max_age", &self.metadata_max_age)
            .field("max_lead_records", &self.max_lead_records)
            .field("snapshot_interval", &self.snapshot_interval)
            .field("epoch_log_retention", &self.epoch_log_retention)
            .field("dropped_states", &self.dropped_states)
            .field("accepted_losses", &self.accepted_losses)
            .field("shards", &self.shards)
            .field("stall_timeout", &self.stall_timeout)
            .field("max_restarts", &self.max_restarts)
            .field("restart_backoff", &self.restart_backoff)
            .field("restart_backoff_max", &self.restart_backoff_max)
            .field("restart_reset", &self.restart_reset)
            .field("follow", &self.follow)
            .field("data_dir", &self.data_dir)
            .field("kafka", &secrets::Veiled(&self.kafka))
            .finish()
    }
}
