//! The configuration of a run, resolved: a plain struct with units in its types.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the engine can be told. `Config::default()` is what a run without any option uses.
#[derive(Clone, Debug)]
pub struct Config {
    /// The application id; the topology's own unless set.
    pub application_id: Option<String>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// The longest an epoch stays open.
    pub commit_interval: Duration,
    /// Records after which an epoch closes early.
    pub epoch_records: u64,
    /// Closed epochs that may be uncommitted, at least two.
    pub epochs_in_flight: u64,
    /// Bytes in flight: fetched records, open epochs and outputs together, client queues included.
    pub memory_budget: usize,
    /// How long a caught-up partition is silent before it is left out of the watermark.
    pub idle_timeout: Duration,
    /// How far a record may lie ahead of both its partition's stream time and the wall clock.
    pub max_skew: Duration,
    /// Shards that keys belong to; fixed by the first start of an application.
    pub shards: u32,
    /// Without progress for this long with input at hand, the run says where it hangs.
    pub stall_timeout: Duration,
    /// Wait for more input at the end instead of closing all windows.
    pub follow: bool,
    /// Where locks (and, later, snapshots) of applications live: `DIR/state`.
    pub data_dir: PathBuf,
    /// Properties of the Kafka client, names without the `kafka.` prefix.
    pub kafka: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            application_id: None,
            workers: 1,
            commit_interval: Duration::from_millis(100),
            epoch_records: 100_000,
            epochs_in_flight: 4,
            memory_budget: 64 << 20,
            idle_timeout: Duration::from_secs(5),
            max_skew: Duration::from_secs(7 * 24 * 3600),
            shards: 256,
            stall_timeout: Duration::from_secs(60),
            follow: false,
            data_dir: PathBuf::from("tiderace-data"),
            kafka: BTreeMap::new(),
        }
    }
}
