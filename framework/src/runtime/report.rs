//! What a run says of itself: [`Progress`] while it goes on, [`Report`] at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::entry::StepDigest;
use super::in_flight::InFlight;
use super::recovery::Recovery;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Every source record under exactly one verdict, the first that holds (see `docs/contract.md`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records read from the topics of streams (a table's rows have a count of their own).
    pub read: u64,
    /// Reached a state or a sink in any branch.
    pub processed: u64,
    /// Reached neither, and nothing was wrong with them.
    pub filtered: u64,
    /// Too late for every window they belong to.
    pub late: u64,
    /// Bad data under `Skip`, or a null key into a keyed step.
    pub skipped: u64,
    /// Bad data under `DeadLetter`.
    pub dead_lettered: u64,
}

impl Counts {
    /// Whether the terms add up: `read = processed + filtered + late + skipped + dead-lettered`.
    pub fn conserved(&self) -> bool {
        self.read == self.processed + self.filtered + self.late + self.skipped + self.dead_lettered
    }

    /// Adds another epoch's or source's counts.
    pub fn add(&mut self, other: &Counts) {
        self.read += other.read;
        self.processed += other.processed;
        self.filtered += other.filtered;
        self.late += other.late;
        self.skipped += other.skipped;
        self.dead_lettered += other.dead_lettered;
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What a step did with the records that it gave a verdict. Terms of 0 are not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeCounts {
    /// Taken into a state or written to a topic.
    #[serde(skip_serializing_if = "is_zero")]
    pub processed: u64,
    /// Left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub filtered: u64,
    /// Too late.
    #[serde(skip_serializing_if = "is_zero")]
    pub late: u64,
    /// Bad data left out, or a null key where one is needed.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// Bad data sent to the dead-letter topic.
    #[serde(skip_serializing_if = "is_zero")]
    pub dead_lettered: u64,
}

/// A worker that has not gone on for `stall_timeout`, though it has something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The worker's index.
    pub worker: usize,
    /// The step that it sits in; `(engine)` if it is none of the topology's.
    pub node: String,
    /// Topic, partition and offset of the record that it sits at, if it is one.
    pub record: Option<String>,
    /// For how long, to the second or better.
    pub still: Duration,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stall {
            worker,
            node,
            still,
            ..
        } = self;
        write!(
            f,
            "worker {worker} has made no progress for {still:.1?}: it sits in step `{node}`"
        )?;
        match &self.record {
            Some(record) => write!(f, " at {record}"),
            None => Ok(()),
        }
    }
}

/// Live figures of a run, written by the engine and read by progress lines and `/metrics`.
#[derive(Debug)]
pub struct Progress {
    /// Stream records read by the sources of this run, in epochs open or committed; replayed ones are left out.
    pub read: AtomicU64,
    /// Records too late, in committed epochs.
    pub late: AtomicU64,
    /// Windows closed.
    pub windows_closed: AtomicU64,
    /// Epochs opened and not committed.
    pub open_epochs: AtomicU64,
    /// The last committed epoch.
    pub committed_epoch: AtomicU64,
    /// The watermark in milliseconds since the epoch, `i64::MIN` before the first.
    pub watermark: AtomicI64,
    /// How often the run has restarted itself.
    pub restarts: AtomicU64,
    trouble: Mutex<Option<String>>,
    stalls: Mutex<Vec<Stall>>,
    /// Counts of the committed epochs of this run, in the order of [`Counts`]' fields.
    committed: [AtomicU64; 6],
    nodes: Mutex<BTreeMap<String, NodeCounts>>,
    recovery: Mutex<Option<Recovery>>,
    in_flight: Mutex<InFlight>,
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            read: AtomicU64::new(0),
            late: AtomicU64::new(0),
            windows_closed: AtomicU64::new(0),
            open_epochs: AtomicU64::new(0),
            committed_epoch: AtomicU64::new(0),
            watermark: AtomicI64::new(i64::MIN),
            restarts: AtomicU64::new(0),
            trouble: Mutex::default(),
            stalls: Mutex::default(),
            committed: Default::default(),
            nodes: Mutex::default(),
            recovery: Mutex::default(),
            in_flight: Mutex::default(),
        }
    }
}

impl Progress {
    /// How the run, or its last life, got back to where it had been; `None` until it is there.
    pub fn recovery(&self) -> Option<Recovery> {
        let recovery = self.recovery.lock();
        // Nothing panics while it is held.
        recovery.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn recovered(&self, recovery: Recovery) {
        let mut held = self.recovery.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(recovery);
    }

    /// Begins to count what is in flight anew, for a life of the run; the most that there was stays.
    pub(crate) fn begin_life(&self) -> InFlight {
        let mut in_flight = self.in_flight();
        *in_flight = InFlight::after(in_flight.most());
        in_flight.clone()
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        // Nothing panics while it is held.
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes in flight: fetched, read and not passed by the operators, written and not committed. The Kafka client's
    /// queue of fetched records is not in it; it has an eighth of the budget.
    pub fn bytes_in_flight(&self) -> usize {
        self.in_flight().total()
    }

    /// The most bytes that were in flight at any time of the run.
    pub fn most_bytes_in_flight(&self) -> usize {
        self.in_flight().most()
    }

    /// Counts of the epochs that this run has committed.
    pub fn committed(&self) -> Counts {
        let [read, processed, filtered, late, skipped, dead_lettered] =
            std::array::from_fn(|i| self.committed[i].load(Ordering::Relaxed));
        Counts {
            read,
            processed,
            filtered,
            late,
            skipped,
            dead_lettered,
        }
    }

    /// Adds a committed epoch's counts.
    pub(crate) fn commit(&self, counts: &Counts) {
        let terms = [
            counts.read,
            counts.processed,
            counts.filtered,
            counts.late,
            counts.skipped,
            counts.dead_lettered,
        ];
        self.late.fetch_add(counts.late, Ordering::Relaxed);
        for (total, term) in self.committed.iter().zip(terms) {
            total.fetch_add(term, Ordering::Relaxed);
        }
    }

    /// Counts by node, over the epochs that this run has committed: what each step did with the records that it
    /// gave a verdict. Unlike the conservation line, a record counts at every step that gave it one.
    pub fn nodes(&self) -> BTreeMap<String, NodeCounts> {
        self.nodes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Adds a committed epoch's counts of nodes, given by number, under their names.
    pub(crate) fn commit_nodes(&self, names: &[String], of: &[(usize, StepDigest)]) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, StepDigest { counts, .. }) in of {
            let totals = nodes.entry(names[*node].clone()).or_default();
            totals.processed += counts.processed;
            totals.filtered += counts.filtered;
            totals.late += counts.late;
            totals.skipped += counts.skipped;
            totals.dead_lettered += counts.dead_lettered;
        }
    }

    /// Adds windows that a committed epoch closed.
    pub(crate) fn close_windows(&self, windows: u64) {
        self.windows_closed.fetch_add(windows, Ordering::Relaxed);
    }

    /// Why the run does not go on at the moment, `None` while it does: it waits to restart after a failure.
    pub fn trouble(&self) -> Option<String> {
        self.lock_trouble().clone()
    }

    /// The workers that stand still at the moment.
    pub fn stalls(&self) -> Vec<Stall> {
        self.lock_stalls().clone()
    }

    /// Notes which workers stand still.
    pub(crate) fn set_stalls(&self, stalls: Vec<Stall>) {
        *self.lock_stalls() = stalls;
    }

    fn lock_stalls(&self) -> MutexGuard<'_, Vec<Stall>> {
        self.stalls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes why the run does not go on, or that it does again.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.lock_trouble() = trouble;
    }

    fn lock_trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the records of epochs that were open when the run failed: they are read again.
    pub(crate) fn read_anew(&self) {
        self.read.store(self.committed().read, Ordering::Relaxed);
        self.open_epochs.store(0, Ordering::Relaxed);
    }

    /// The watermark in milliseconds since the epoch, `None` before the first.
    pub fn watermark(&self) -> Option<i64> {
        Some(self.watermark.load(Ordering::Relaxed)).filter(|at| *at != i64::MIN)
    }
}

/// What a run did, from its start to its end.
#[derive(Clone)]
pub struct Report {
    /// The application id.
    pub application_id: String,
    /// First epoch that this run committed; with none committed, the one that would have been next.
    pub first_epoch: u64,
    /// Last epoch that is committed, by this run or before.
    pub last_epoch: u64,
    /// Whether the run found an epoch log and went on behind it.
    pub resumed: bool,
    /// Counts over the epochs of this run.
    pub counts: Counts,
    /// Windows that this run closed.
    pub windows_closed: u64,
    /// From the moment an epoch was ready to be sent to its confirmed commit, in microseconds.
    pub commit_micros: Histogram<u64>,
    /// From reading an epoch's first record to its confirmed commit, in microseconds.
    pub latency_micros: Histogram<u64>,
    /// Wall clock from the start of the engine to its end, in seconds.
    pub seconds: f64,
    /// Whether it was told to stop before the input's end.
    pub stopped_early: bool,
    /// How often it restarted itself after a failure. The figures above add up over all its lives.
    pub restarts: u64,
}

impl fmt::Debug for Report {
    /// Of the histograms the median and the 99th percentile: each has thousands of buckets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantiles =
            |of: &Histogram<u64>| (of.value_at_quantile(0.5), of.value_at_quantile(0.99));
        f.debug_struct("Report")
            .field("application_id", &self.application_id)
            .field("first_epoch", &self.first_epoch)
            .field("last_epoch", &self.last_epoch)
            .field("resumed", &self.resumed)
            .field("counts", &self.counts)
            .field("windows_closed", &self.windows_closed)
            .field("commit_micros", &quantiles(&self.commit_micros))
            .field("latency_micros", &quantiles(&self.latency_micros))
            .field("seconds", &self.seconds)
            .field("stopped_early", &self.stopped_early)
            .field("restarts", &self.restarts)
            .finish()
    }
}

impl Report {
    /// Stream records read a second of wall clock.
    pub fn records_per_second(&self) -> f64 {
        if self.seconds > 0.0 {
            self.counts.read as f64 / self.seconds
        } else {
            0.0
        }
    }
}

/// Shared handle to a run's live figures.
pub type SharedProgress = Arc<Progress>;
