//! The order of a commit, and the only place that has it.
//!
//! For each epoch, in order: every operator has passed it; its outputs, merged from the workers' sorted runs, and
//! its entry are sent and acknowledged; the commit of the epoch before is confirmed; its own commit is sent off.
//! While it is under way the next epoch is sent by the other producer. What was sent is kept until its commit is
//! confirmed: in doubt, the producers are made anew, the epoch log says what is there, and the rest is sent again,
//! the same bytes. In a replay nothing is sent; digests are compared with the log's.
//!
//! That is exactly once. Under a weaker guarantee the transaction holds the entry alone. At least once: the outputs
//! are acknowledged before it begins, and not written again once they are. At most once: they are written when its
//! commit is confirmed, once, and before the next transaction begins.

mod delivery;
mod doubt;
mod sending;
#[cfg(test)]
mod tests;
mod waits;
#[cfg(test)]
pub(crate) use tests::fake;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tiderace_operators::dataflow::{Epoch, NEVER};
use tiderace_operators::failpoint;
use tiderace_operators::tally::Ledger;

pub(crate) use delivery::{Delivery, in_transaction};
pub(crate) use waits::Waits;

use super::SharedProgress;
use super::committed::{Came, Committed, Sent};
use super::entry::{Entry, EpochEntry, Share, hash};
use super::epochs::Epochs;
use super::merge::{Runs, outputs};
use super::offsets::{DueOffsets, OFFSETS_EVERY};
use super::recovery::Recovering;
use super::replay;
use super::rerun::Shown;
use super::worker::ToCommitter;
use crate::connect::{TopicPartition, TransactionError, Transactions};
use crate::error::RunError;
use crate::snapshot::LogPlace;
use crate::topology::Fingerprint;

/// How often it is looked whether a commit is answered. What it wrote is visible before; the next commit asks by itself.
const ANSWER_LOOK: Duration = Duration::from_micros(500);

/// What the committer needs.
pub(crate) struct CommitParts {
    pub(crate) application_id: String,
    pub(crate) incarnation: String,
    pub(crate) fingerprint: Fingerprint,
    /// Topic of each sink, the dead letters' last.
    pub(crate) sinks: Vec<String>,
    /// Names of the nodes.
    pub(crate) nodes: Vec<String>,
    /// Where bad data go, if anywhere.
    pub(crate) dead_letters: Option<String>,
    pub(crate) transactions: Box<dyn Transactions>,
    /// Where the outputs go.
    pub(crate) delivery: Delivery,
    /// The epoch that the run goes on from.
    pub(crate) basis: Epoch,
    /// Offset behind an entry of the epoch log, the last one that is known.
    pub(crate) log_end: i64,
    /// Hash of the last entry.
    pub(crate) last_hash: String,
    /// The epochs of the log, by number: what a replay must come to.
    pub(crate) logged: BTreeMap<Epoch, EpochEntry>,
    pub(crate) recovery: Recovering,
    pub(crate) epochs: Epochs,
    pub(crate) ledger: Ledger,
    pub(crate) settled: Arc<AtomicU64>,
    pub(crate) progress: SharedProgress,
    pub(crate) from_workers: Receiver<ToCommitter>,
    pub(crate) waits: Waits,
    /// Bytes that are sent before they are acknowledged.
    pub(crate) send_ahead: usize,
    /// Who is shown replayed epochs, if anybody is.
    pub(crate) shown: Option<Shown>,
}

impl CommitParts {
    fn program(&self) -> replay::Program<'_> {
        replay::Program {
            steps: &self.nodes,
            sinks: &self.sinks,
            dead_letters: self.dead_letters.as_deref(),
        }
    }
}

/// The committer of a run.
pub(crate) struct Committer {
    parts: CommitParts,
    runs: BTreeMap<Epoch, Runs>,
    /// Every operator has passed all epochs before this one.
    passed: Epoch,
    next: Epoch,
    /// The epoch whose commit is under way.
    under_way: VecDeque<Sent>,
    turn: usize,
    doubts: u32,
    /// Whether a fence without a newer instance was taken for a time-out since the last commit; once is all it gets.
    fenced: bool,
    offsets: DueOffsets,
    done: Committed,
}

impl Committer {
    pub(crate) fn new(parts: CommitParts) -> Self {
        let next = parts.basis + 1;
        let last_logged = parts.logged.keys().next_back().copied();
        let done = Committed::behind(last_logged.unwrap_or(parts.basis));
        Committer {
            offsets: DueOffsets::every(parts.waits.offsets),
            parts,
            runs: BTreeMap::new(),
            passed: 0,
            next,
            under_way: VecDeque::new(),
            turn: 0,
            doubts: 0,
            fenced: false,
            done,
        }
    }

    /// Commits epochs until all input has ended, or an error.
    pub(crate) fn run(&mut self) -> Result<(), RunError> {
        loop {
            if self.advance()? {
                return Ok(());
            }
            let is_quiet = self.under_way.is_empty();
            let wait = if is_quiet { OFFSETS_EVERY } else { ANSWER_LOOK };
            match self.parts.from_workers.recv_timeout(wait) {
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) if is_quiet => self.send_due_offsets(false)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(RunError::Bug("the workers ended without a word".into()));
                }
            }
        }
    }

    /// What was committed, once the run is over.
    pub(crate) fn done(self) -> Committed {
        self.done
    }

    /// Commits what can be committed now; true when all input has ended.
    pub(crate) fn advance(&mut self) -> Result<bool, RunError> {
        loop {
            // Failures are looked at before each epoch.
            while let Ok(message) = self.parts.from_workers.try_recv() {
                self.take(message)?;
            }
            if self.next < self.passed && (self.passed != NEVER || self.next <= self.last_opened())
            {
                self.next_epoch()?;
                continue;
            }
            // An epoch that was passed tells that every operator has its state back.
            let restored = self.passed > self.parts.basis;
            if restored && self.parts.logged.is_empty() && self.parts.epochs.go_live() {
                failpoint!(crate::failpoint::P18_LIVE, |_| Err(
                    crate::failpoint::broken().into()
                ));
                self.parts.progress.recovered(self.parts.recovery.done());
            }
            let ends = self.passed == NEVER;
            // An epoch that is passed before the answer comes is sent meanwhile.
            if ends || self.parts.transactions.is_answered(self.turn) {
                self.confirm()?;
            }
            if ends {
                self.send_due_offsets(true)?;
            }
            return Ok(ends);
        }
    }

    /// The last epoch that holds anything: the one before an open epoch that nobody claimed.
    fn last_opened(&self) -> Epoch {
        self.parts.epochs.state().open.saturating_sub(1)
    }

    fn take(&mut self, message: ToCommitter) -> Result<(), RunError> {
        match message {
            ToCommitter::Run {
                epoch,
                sink,
                worker,
                run,
            } => {
                self.runs
                    .entry(epoch)
                    .or_default()
                    .entry(sink)
                    .or_default()
                    .push((worker, run));
                Ok(())
            }
            ToCommitter::Passed(epoch) => {
                self.parts.epochs.passed(epoch);
                self.passed = epoch;
                Ok(())
            }
            ToCommitter::Failed(error) => Err(error),
        }
    }

    fn next_epoch(&mut self) -> Result<(), RunError> {
        let epoch = self.next;
        self.next += 1;
        let mut runs = self.runs.remove(&epoch).unwrap_or_default();
        for run in runs.values_mut() {
            run.sort_by_key(|(worker, _)| *worker);
        }
        let came = Came::of(
            self.parts.ledger.take(epoch),
            outputs(&self.parts.sinks, &runs),
        );
        if !came.counts.conserved() {
            let counts = came.counts;
            return Err(RunError::Bug(format!(
                "epoch {epoch} lost records: {counts:?} does not add up"
            )));
        }
        let (read, decisions, first_read) = self.parts.epochs.take(epoch);
        let memory = runs.values().flatten().map(|(_, run)| run.memory()).sum();
        if let Some(logged) = self.parts.logged.remove(&epoch) {
            self.parts.epochs.outputs(0, memory);
            replay::verify(&logged, &came, &self.parts.program())?;
            let CommitParts { sinks, shown, .. } = &mut self.parts;
            if let Some(shown) = shown {
                shown.epoch(epoch, &came, sinks, &runs)?;
            }
            self.settle(epoch, None);
            return Ok(());
        }
        let of = |share: &Share| {
            (
                TopicPartition::new(share.topic.as_str(), share.partition),
                share.end,
            )
        };
        let offsets = read.iter().map(of).collect();
        let entry = Entry::Epoch(EpochEntry {
            epoch,
            incarnation: self.parts.incarnation.clone(),
            topology: self.parts.fingerprint.clone(),
            read,
            decisions,
            counts: came.counts,
            rows: came.rows,
            windows_closed: came.windows_closed,
            outputs: came.outputs.clone(),
            steps: Some(came.steps(&self.parts.nodes)),
            guarantee: self.parts.delivery.guarantee(),
            previous: self.parts.last_hash.clone(),
        });
        let entry = entry.to_bytes();
        self.parts.last_hash = hash(&entry);
        failpoint!(crate::failpoint::P03_EPOCH_CLOSED, |_| Err(
            crate::failpoint::broken().into()
        ));
        let begun = crate::clock::instant();
        self.send(Sent {
            epoch,
            runs,
            memory,
            entry,
            offsets,
            begun,
            first_read,
            came,
            written: false,
        })
    }

    /// Tells everyone that an epoch is committed, with the place of its entry, or verified.
    fn settle(&self, epoch: Epoch, place: Option<LogPlace>) {
        self.parts.settled.store(epoch, Ordering::Relaxed);
        self.parts.epochs.commit(epoch, place);
        self.parts.epochs.show(&self.parts.progress);
    }

    /// Waits until the commit under way, if any, is confirmed.
    fn confirm(&mut self) -> Result<(), RunError> {
        while !self.under_way.is_empty() {
            match self.parts.transactions.confirm(self.turn) {
                Ok(()) => {
                    self.find_entry(self.turn);
                    self.confirmed().or_else(|error| self.resolve(error))?;
                }
                Err(error) => self.resolve(error)?,
            }
        }
        Ok(())
    }

    /// Asks where the entry lies that a turn has committed, if a snapshot is to name it. One that names an entry
    /// before it does as well: a start reads on from there.
    fn find_entry(&mut self, turn: usize) {
        let first = self.under_way.front();
        if !first.is_some_and(|sent| self.parts.epochs.keeps_state_of(sent.epoch)) {
            return;
        }
        match self.parts.transactions.entry_offset(turn) {
            Ok(Some(offset)) => self.parts.log_end = offset + 1,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the place of an entry of the epoch log is not known")
            }
        }
    }

    /// Settles the first epoch that is under way, which is committed now. What its outputs come to if they are
    /// written from here on is returned, and changes nothing about that.
    fn confirmed(&mut self) -> Result<(), TransactionError> {
        let Some(sent) = self.under_way.pop_front() else {
            return Ok(());
        };
        let written = self.write_behind_commit(&sent);
        self.doubts = 0;
        self.fenced = false;
        let latency = sent
            .first_read
            .map(|at| self.parts.epochs.clock().now().saturating_sub(at));
        self.done.add(&sent, latency);
        self.parts.epochs.outputs(0, sent.memory);
        let progress = &self.parts.progress;
        progress.commit(&sent.came.counts);
        progress.commit_nodes(&self.parts.nodes, &sent.came.nodes);
        progress.close_windows(sent.came.windows_closed);
        let place = LogPlace {
            offset: self.parts.log_end,
            hash: hash(&sent.entry),
        };
        self.settle(sent.epoch, Some(place));
        written
    }

    /// Commits offsets that no epoch's transaction took along; at the end until they are there.
    fn send_due_offsets(&mut self, at_end: bool) -> Result<(), RunError> {
        loop {
            let offsets = self.offsets.take(at_end);
            if offsets.is_empty() {
                return Ok(());
            }
            let transactions = &mut *self.parts.transactions;
            let mut send = || {
                transactions.begin(0)?;
                transactions.send_offsets(0, &offsets)?;
                transactions.commit(0)?;
                transactions.confirm(0)
            };
            if let Err(error) = send() {
                self.resolve(error)?;
                self.offsets.add(offsets);
            }
        }
    }
}
