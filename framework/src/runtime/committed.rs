//! What came of an epoch, what is kept of it until its commit is confirmed, and the sum over a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tiderace_operators::dataflow::Epoch;
use tiderace_operators::tally::{EpochTally, NodeTally, Verdict};

use super::entry::{Digest, EpochEntry, ResultsDigest, StepDigest};
use super::merge::Runs;
use super::report::{Counts, NodeCounts};
use crate::connect::TopicPartition;

/// What came of an epoch's records.
pub(crate) struct Came {
    pub(crate) counts: Counts,
    /// Rows read from the topics of tables.
    pub(crate) rows: u64,
    pub(crate) windows_closed: u64,
    /// What each node did, by its number.
    pub(crate) nodes: Vec<(usize, StepDigest)>,
    /// What was written, by topic.
    pub(crate) outputs: BTreeMap<String, Digest>,
}

impl Came {
    /// What the operators counted, and what they wrote.
    pub(crate) fn of(tally: EpochTally, outputs: BTreeMap<String, Digest>) -> Self {
        let counts = Counts {
            read: tally.read,
            processed: tally.count(Verdict::Processed),
            filtered: tally.count(Verdict::Filtered),
            late: tally.count(Verdict::Late),
            skipped: tally.count(Verdict::Skipped),
            dead_lettered: tally.count(Verdict::DeadLettered),
        };
        let node = |(node, of): (&u32, &NodeTally)| {
            let [dead_lettered, skipped, processed, late, filtered] = of.verdicts;
            let counts = NodeCounts {
                processed,
                filtered,
                late,
                skipped,
                dead_lettered,
            };
            let results = (of.results > 0).then(|| ResultsDigest {
                records: of.results,
                hash: format!("{:032x}", of.digest),
            });
            (*node as usize, StepDigest { counts, results })
        };
        Came {
            nodes: tally.nodes.iter().map(node).collect(),
            counts,
            rows: tally.rows,
            windows_closed: tally.windows_closed,
            outputs,
        }
    }
}

impl Came {
    /// What each step did, by its name.
    pub(crate) fn steps(&self, names: &[String]) -> BTreeMap<String, StepDigest> {
        let named = |(node, step): &(usize, StepDigest)| (names[*node].clone(), step.clone());
        self.nodes.iter().map(named).collect()
    }
}

/// An epoch that has passed, kept until its commit is confirmed.
pub(crate) struct Sent {
    pub(crate) epoch: Epoch,
    pub(crate) runs: Runs,
    /// Bytes that the runs hold.
    pub(crate) memory: usize,
    pub(crate) entry: Vec<u8>,
    /// Where its input ends, by partition that it has read.
    pub(crate) offsets: Vec<(TopicPartition, i64)>,
    /// When it was ready to be sent.
    pub(crate) begun: Instant,
    /// When its first record was read, by the engine's clock.
    pub(crate) first_read: Option<Duration>,
    pub(crate) came: Came,
    /// At least once: whether its outputs are written and acknowledged.
    pub(crate) written: bool,
}

/// What a run has committed.
pub(crate) struct Committed {
    pub(crate) first_epoch: Epoch,
    pub(crate) last_epoch: Epoch,
    pub(crate) counts: Counts,
    pub(crate) windows_closed: u64,
    pub(crate) commit_micros: Histogram<u64>,
    pub(crate) latency_micros: Histogram<u64>,
}

impl Committed {
    /// Nothing yet, behind an epoch that was committed before the run.
    pub(crate) fn behind(last_epoch: Epoch) -> Self {
        // An hour: commits that take longer have failed.
        let histogram =
            || Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are valid");
        Committed {
            first_epoch: last_epoch + 1,
            last_epoch,
            counts: Counts::default(),
            windows_closed: 0,
            commit_micros: histogram(),
            latency_micros: histogram(),
        }
    }

    /// Adds an epoch whose commit is confirmed, so long after its first record was read.
    pub(crate) fn add(&mut self, sent: &Sent, latency: Option<Duration>) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.commit_micros
            .saturating_record(micros(sent.begun.elapsed()));
        if let Some(latency) = latency {
            self.latency_micros.saturating_record(micros(latency));
        }
        self.counts.add(&sent.came.counts);
        self.windows_closed += sent.came.windows_closed;
        self.last_epoch = sent.epoch;
    }

    /// Adds an epoch that the log turned out to hold, though its commit was not confirmed.
    pub(crate) fn find(&mut self, entry: &EpochEntry) {
        self.counts.add(&entry.counts);
        self.windows_closed += entry.windows_closed;
        self.last_epoch = entry.epoch;
    }

    /// Adds what a later life of the run has committed.
    pub(crate) fn add_life(&mut self, later: Committed) {
        self.counts.add(&later.counts);
        self.windows_closed += later.windows_closed;
        self.last_epoch = self.last_epoch.max(later.last_epoch);
        let same = "all histograms have the same bounds";
        self.commit_micros.add(later.commit_micros).expect(same);
        self.latency_micros.add(later.latency_micros).expect(same);
    }
}
