//! A side of a comparison, run once: the engine as users run it, or a loop that writes to the same kind of log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tiderace::connect::{SinkRecord, TransactionError, Transactions};
use tiderace::{Config, Engine, Topology};

use super::log::{Input, MemoryLog};
use super::transactions::{MemoryTransactions, Moment};
use crate::Failure;

/// What a run left and what it cost.
pub(super) struct Ran {
    pub(super) log: MemoryLog,
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
}

/// Runs a topology to the end of its input, in this process, with state in a directory of its own below `directory`.
///
/// The cost is from the start to the confirmed commit of the last epoch. What a clean end does behind that, a snapshot for
/// the next start, is paid once a run however long it is; those that become due meanwhile are in the cost.
pub(super) fn engine(
    topology: Topology,
    inputs: &[Input],
    config: Config,
    directory: &Path,
) -> Result<Ran, Failure> {
    let outputs = topology.sink_topics();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let log = MemoryLog::new(inputs, &outputs);
    let state = TempDir::with_prefix_in("memory-", directory)?;
    let config = Config {
        data_dir: state.path().to_owned(),
        ..config
    };
    let records: usize = inputs
        .iter()
        .flat_map(|input| &input.partitions)
        .map(|partition| partition.count())
        .sum();
    let begun = Moment::now();
    let report = Engine::start(topology, Arc::new(log.clone()), &config)?.join()?;
    if report.counts.read != records as u64 || report.counts.skipped > 0 || report.restarts > 0 {
        return Err(format!("of {records} records: {report:?}").into());
    }
    let confirmed = log.written().confirmed.last().copied();
    let confirmed = confirmed.ok_or("nothing was committed")?;
    Ok(Ran {
        log,
        cpu: confirmed.cpu - begun.cpu,
        wall: confirmed.at - begun.at,
    })
}

/// Runs a loop that writes to one topic.
pub(super) fn by_hand(
    output: &'static str,
    work: impl FnOnce(&mut Sink) -> Result<(), Failure>,
) -> Result<Ran, Failure> {
    let log = MemoryLog::new(&[], &[output]);
    let begun = Moment::now();
    let mut sink = Sink::new(&log, output);
    work(&mut sink)?;
    sink.commit()?;
    let ended = Moment::now();
    Ok(Ran {
        log,
        cpu: ended.cpu - begun.cpu,
        wall: ended.at - begun.at,
    })
}

/// Where a loop writes.
pub(super) struct Sink {
    transactions: MemoryTransactions,
    topic: &'static str,
}

impl Sink {
    pub(super) fn new(log: &MemoryLog, topic: &'static str) -> Self {
        Sink {
            transactions: log.open("by-hand"),
            topic,
        }
    }

    #[inline]
    pub(super) fn send(
        &mut self,
        key: Option<&[u8]>,
        value: &[u8],
        timestamp: i64,
    ) -> Result<(), TransactionError> {
        let record = SinkRecord {
            topic: self.topic,
            partition: 0,
            timestamp,
            key,
            value: Some(value),
            headers: &[],
        };
        self.transactions.send(0, &record)
    }

    /// Sends a count with its key, or of a window: its key and, behind that, its start.
    #[inline]
    pub(super) fn count(
        &mut self,
        key: &[u8],
        count: u64,
        timestamp: i64,
    ) -> Result<(), TransactionError> {
        self.send(Some(key), &count.to_be_bytes(), timestamp)
    }

    /// Commits what was sent.
    pub(super) fn commit(&mut self) -> Result<(), TransactionError> {
        self.transactions.commit(0)?;
        self.transactions.confirm(0)?;
        self.transactions.begin(0)
    }
}

/// The bytes of a windowed `u64` key.
#[inline]
pub(super) fn windowed(key: u64, start: i64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&key.to_be_bytes());
    bytes[8..].copy_from_slice(&start.to_be_bytes());
    bytes
}
