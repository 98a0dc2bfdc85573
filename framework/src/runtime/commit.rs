//! The order of a commit, and the only place that has it.
//!
//! For each epoch, in order: every operator has passed it; its outputs, merged from the workers' sorted runs, and
//! its entry are sent and acknowledged; the commit of the epoch before is confirmed; its own commit is sent off.
//! While it is under way the next epoch is sent by the other producer. What was sent is kept until its commit is
//! confirmed: in doubt, the producers are made anew, the epoch log says what is there, and the rest is sent again,
//! the same bytes. In a replay nothing is sent; digests are compared with the log's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tiderace_operators::dataflow::{Epoch, NEVER};
use tiderace_operators::tally::{Ledger, Verdict};

use super::SharedProgress;
use super::entry::{Decision, Digest, Entry, EpochEntry, Share, Start, hash};
use super::epochs::Epochs;
use super::merge::{Merged, digest};
use super::report::Counts;
use super::worker::ToCommitter;
use crate::connect::{SinkRecord, TopicPartition, TransactionError, Transactions};
use crate::error::RunError;
use crate::topology::{Fingerprint, SinkRun};

/// At most this often input offsets are added to a transaction, for the tools that show lag.
const OFFSETS_EVERY: Duration = Duration::from_millis(100);

/// How often a doubt is resolved by making producers anew before the run gives up.
const MAX_DOUBTS: u32 = 5;

/// What the committer needs.
pub(crate) struct CommitParts {
    pub(crate) application_id: String,
    pub(crate) incarnation: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) workers: usize,
    /// Topic of each sink, the dead letters' last.
    pub(crate) sinks: Vec<String>,
    pub(crate) transactions: Box<dyn Transactions>,
    /// Offset behind the last entry of the epoch log.
    pub(crate) log_end: i64,
    /// Hash of the last entry.
    pub(crate) last_hash: String,
    /// The epochs of the log, by number: what a replay must come to.
    pub(crate) logged: BTreeMap<Epoch, EpochEntry>,
    pub(crate) epochs: Epochs,
    pub(crate) ledger: Ledger,
    pub(crate) settled: Arc<AtomicU64>,
    pub(crate) progress: SharedProgress,
    pub(crate) from_workers: Receiver<ToCommitter>,
}

/// What the committer has to say at the end.
pub(crate) struct Committed {
    pub(crate) first_epoch: Epoch,
    pub(crate) last_epoch: Epoch,
    pub(crate) counts: Counts,
    pub(crate) windows_closed: u64,
    pub(crate) commit_micros: Histogram<u64>,
    pub(crate) latency_micros: Histogram<u64>,
}

/// An epoch that was sent, kept until its commit is confirmed.
struct Sent {
    epoch: Epoch,
    runs: Runs,
    memory: usize,
    entry: Vec<u8>,
    offsets: Vec<(TopicPartition, i64)>,
    begun: Instant,
    first_read: Option<Duration>,
    counts: Counts,
    windows_closed: u64,
}

/// The runs of an epoch, by sink.
type Runs = BTreeMap<usize, Vec<(usize, SinkRun)>>;

/// The committer of a run.
pub(crate) struct Committer {
    parts: CommitParts,
    runs: BTreeMap<Epoch, Runs>,
    /// Every operator has passed all epochs before this one.
    passed: Epoch,
    next: Epoch,
    started: bool,
    /// The epoch whose commit is under way.
    under_way: VecDeque<Sent>,
    turn: usize,
    doubts: u32,
    /// Whether a fence without a newer instance was taken for a time-out already; once is all it gets.
    fenced: bool,
    offsets_sent: Option<Instant>,
    offsets_due: Vec<(TopicPartition, i64)>,
    done: Committed,
}

impl Committer {
    pub(crate) fn new(parts: CommitParts) -> Self {
        let next = parts.logged.keys().next().copied().unwrap_or(1);
        let last_epoch = parts.logged.keys().next_back().copied().unwrap_or(0);
        let histogram =
            || Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are valid");
        let done = Committed {
            first_epoch: last_epoch + 1,
            last_epoch,
            counts: Counts::default(),
            windows_closed: 0,
            commit_micros: histogram(),
            latency_micros: histogram(),
        };
        Committer {
            parts,
            runs: BTreeMap::new(),
            passed: 0,
            next,
            started: false,
            under_way: VecDeque::new(),
            turn: 0,
            doubts: 0,
            fenced: false,
            offsets_sent: None,
            offsets_due: Vec::new(),
            done,
        }
    }

    /// Commits epochs until all input has ended, or an error.
    pub(crate) fn run(mut self) -> Result<Committed, RunError> {
        loop {
            if self.advance()? {
                return Ok(self.done);
            }
            match self.parts.from_workers.recv_timeout(OFFSETS_EVERY) {
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) => self.send_due_offsets(false)?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(RunError::Bug("the workers ended without a word".into()));
                }
            }
        }
    }

    /// Commits what can be committed now; true when all input has ended.
    pub(crate) fn advance(&mut self) -> Result<bool, RunError> {
        if !self.started && self.parts.logged.is_empty() {
            self.start()?;
        }
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
            self.confirm()?;
            if self.passed == NEVER {
                self.send_due_offsets(true)?;
            }
            return Ok(self.passed == NEVER);
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
        let tally = self.parts.ledger.take(epoch);
        let counts = Counts {
            read: tally.read,
            processed: tally.count(Verdict::Processed),
            filtered: tally.count(Verdict::Filtered),
            late: tally.count(Verdict::Late),
            skipped: tally.count(Verdict::Skipped),
            dead_lettered: tally.count(Verdict::DeadLettered),
        };
        if !counts.conserved() {
            return Err(RunError::Bug(format!(
                "epoch {epoch} lost records: {counts:?} does not add up"
            )));
        }
        let (read, decisions, first_read) = self.parts.epochs.take(epoch);
        let outputs = self.digests(&runs);
        let memory = runs.values().flatten().map(|(_, run)| run.memory()).sum();
        if let Some(logged) = self.parts.logged.remove(&epoch) {
            self.parts.epochs.outputs(0, memory);
            return self.verify(epoch, &logged, &counts, &outputs);
        }
        let entry = self.entry(
            epoch,
            read,
            decisions,
            counts,
            (tally.rows, tally.windows_closed),
            outputs,
        );
        let offsets = entry.read.iter().map(|share| {
            (
                TopicPartition::new(share.topic.as_str(), share.partition),
                share.end,
            )
        });
        let offsets = offsets.collect();
        let entry = Entry::Epoch(entry).to_bytes();
        self.parts.last_hash = hash(&entry);
        let windows_closed = tally.windows_closed;
        let begun = Instant::now();
        self.send(Sent {
            epoch,
            runs,
            memory,
            entry,
            offsets,
            begun,
            first_read,
            counts,
            windows_closed,
        })
    }

    fn entry(
        &self,
        epoch: Epoch,
        read: Vec<Share>,
        decisions: Vec<Decision>,
        counts: Counts,
        (rows, windows_closed): (u64, u64),
        outputs: BTreeMap<String, Digest>,
    ) -> EpochEntry {
        EpochEntry {
            epoch,
            incarnation: self.parts.incarnation.clone(),
            topology: self.parts.fingerprint.clone(),
            read,
            decisions,
            counts,
            rows,
            windows_closed,
            outputs,
            previous: self.parts.last_hash.clone(),
        }
    }

    fn digests(&self, runs: &Runs) -> BTreeMap<String, Digest> {
        merged(&self.parts.sinks, runs)
            .map(|(topic, records)| (topic.to_owned(), digest(records)))
            .collect()
    }

    /// In a replay: what came out must be what was committed.
    fn verify(
        &mut self,
        epoch: Epoch,
        logged: &EpochEntry,
        counts: &Counts,
        outputs: &BTreeMap<String, Digest>,
    ) -> Result<(), RunError> {
        for topic in logged.outputs.keys().chain(outputs.keys()) {
            let (then, now) = (logged.outputs.get(topic), outputs.get(topic));
            if then != now {
                let reason = format!(
                    "replayed, topic `{topic}` gets {} where {} were committed: a step that writes to it is not \
                     deterministic, or the program has changed",
                    tell(now),
                    tell(then)
                );
                return Err(RunError::Replay { epoch, reason });
            }
        }
        if *counts != logged.counts {
            let reason = format!(
                "replayed, its records count as {counts:?}, not as {:?}",
                logged.counts
            );
            return Err(RunError::Replay { epoch, reason });
        }
        self.settle(epoch);
        if self.parts.logged.is_empty() {
            self.start()?;
        }
        Ok(())
    }

    /// Commits the start entry; from here on epochs are new.
    fn start(&mut self) -> Result<(), RunError> {
        self.started = true;
        let entry = Entry::Start(Start {
            incarnation: self.parts.incarnation.clone(),
            after: self.done.last_epoch,
            workers: self.parts.workers,
            previous: self.parts.last_hash.clone(),
        });
        let bytes = entry.to_bytes();
        write_entry(
            &mut *self.parts.transactions,
            &self.parts.application_id,
            self.done.last_epoch,
            &bytes,
        )
        .map_err(failed)?;
        self.parts.last_hash = hash(&bytes);
        self.parts.epochs.go_live();
        Ok(())
    }

    fn settle(&self, epoch: Epoch) {
        self.parts.settled.store(epoch, Ordering::Relaxed);
        self.parts.epochs.commit(epoch);
        self.parts
            .progress
            .committed_epoch
            .store(epoch, Ordering::Relaxed);
        let open = self.parts.epochs.state().open;
        self.parts
            .progress
            .open_epochs
            .store(open.saturating_sub(epoch), Ordering::Relaxed);
    }

    /// Sends an epoch and its commit, after the commit before it is confirmed.
    fn send(&mut self, mut sent: Sent) -> Result<(), RunError> {
        for (partition, offset) in &sent.offsets {
            self.offsets_due.retain(|(of, _)| of != partition);
            self.offsets_due.push((partition.clone(), *offset));
        }
        let due = self
            .offsets_sent
            .is_none_or(|at| at.elapsed() >= OFFSETS_EVERY);
        sent.offsets = if due {
            std::mem::take(&mut self.offsets_due)
        } else {
            Vec::new()
        };
        if due {
            self.offsets_sent = Some(Instant::now());
        }
        let turns = self.parts.transactions.turns();
        if turns < 2 {
            self.confirm()?;
        }
        self.turn = (self.turn + 1) % turns;
        let turn = self.turn;
        let outcome = self.produce(turn, &sent);
        self.under_way.push_back(sent);
        let outcome = outcome.and_then(|()| {
            if self.under_way.len() > 1 {
                self.parts.transactions.confirm((turn + 1) % turns)?;
                self.confirmed();
            }
            self.parts.transactions.commit(turn)
        });
        outcome.or_else(|error| self.resolve(error))
    }

    fn produce(&mut self, turn: usize, sent: &Sent) -> Result<(), TransactionError> {
        self.parts.transactions.begin(turn)?;
        for record in merged(&self.parts.sinks, &sent.runs).flat_map(|(_, records)| records) {
            self.parts.transactions.send(turn, &record)?;
        }
        let topic = epoch_topic(&self.parts.application_id);
        self.parts.transactions.send(
            turn,
            &entry_record(&topic, &sent.epoch.to_be_bytes(), &sent.entry),
        )?;
        self.parts.transactions.flush(turn)?;
        if !sent.offsets.is_empty() {
            self.parts.transactions.send_offsets(turn, &sent.offsets)?;
        }
        Ok(())
    }

    /// Waits until the commit under way, if any, is confirmed.
    fn confirm(&mut self) -> Result<(), RunError> {
        while !self.under_way.is_empty() {
            match self.parts.transactions.confirm(self.turn) {
                Ok(()) => self.confirmed(),
                Err(error) => self.resolve(error)?,
            }
        }
        Ok(())
    }

    fn confirmed(&mut self) {
        let Some(sent) = self.under_way.pop_front() else {
            return;
        };
        self.doubts = 0;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.done
            .commit_micros
            .saturating_record(micros(sent.begun.elapsed()));
        if let Some(first_read) = sent.first_read {
            let latency = self.parts.epochs.clock().now().saturating_sub(first_read);
            self.done.latency_micros.saturating_record(micros(latency));
        }
        self.done.counts.add(&sent.counts);
        self.done.windows_closed += sent.windows_closed;
        self.done.last_epoch = sent.epoch;
        self.parts.epochs.outputs(0, sent.memory);
        let progress = &self.parts.progress;
        progress.commit(&sent.counts);
        progress.late.fetch_add(sent.counts.late, Ordering::Relaxed);
        progress
            .windows_closed
            .fetch_add(sent.windows_closed, Ordering::Relaxed);
        self.settle(sent.epoch);
    }

    /// Fence on doubt: new producers, then the epoch log decides what is there and what is sent again.
    fn resolve(&mut self, error: TransactionError) -> Result<(), RunError> {
        let mut doubt = match error {
            TransactionError::Failed(error) => return Err(error.into()),
            TransactionError::Fenced(reason) => self.timed_out(reason)?,
            TransactionError::Doubt(reason) => reason,
        };
        loop {
            self.doubts += 1;
            if self.doubts > MAX_DOUBTS {
                return Err(RunError::Fenced(format!(
                    "the commit stays in doubt: {doubt}"
                )));
            }
            tracing::warn!(
                reason = doubt,
                "commit in doubt: making new producers and reading the epoch log"
            );
            match self.redo() {
                Ok(()) => return Ok(()),
                Err(TransactionError::Doubt(reason)) => doubt = reason,
                Err(TransactionError::Fenced(reason)) => doubt = self.timed_out(reason)?,
                Err(TransactionError::Failed(error)) => return Err(error.into()),
            }
        }
    }

    /// Fenced: by a newer incarnation, which ends this one, or because a transaction timed out.
    fn timed_out(&mut self, reason: String) -> Result<String, RunError> {
        if std::mem::replace(&mut self.fenced, true) {
            return Err(RunError::Fenced(format!(
                "fenced again, without a newer instance in the epoch log: {reason}"
            )));
        }
        for record in self
            .parts
            .transactions
            .read_epochs(self.parts.log_end)
            .map_err(failed)?
        {
            if let Ok(Entry::Start(start)) = serde_json::from_slice::<Entry>(&record.value)
                && start.incarnation != self.parts.incarnation
            {
                return Err(RunError::Fenced(format!(
                    "a newer instance of `{}` (incarnation {}) has taken over; this one wrote nothing since",
                    self.parts.application_id, start.incarnation
                )));
            }
        }
        Ok(reason)
    }

    fn redo(&mut self) -> Result<(), TransactionError> {
        self.parts.transactions.renew()?;
        let entries = self.parts.transactions.read_epochs(self.parts.log_end)?;
        for record in entries {
            self.parts.log_end = record.offset + 1;
            let Some(first) = self.under_way.front() else {
                break;
            };
            if record.value == first.entry {
                self.confirmed();
            } else if record.epoch >= first.epoch {
                return Err(TransactionError::Fenced(
                    "the epoch log holds entries of another instance".into(),
                ));
            }
        }
        let rest: Vec<Sent> = self.under_way.drain(..).collect();
        for sent in rest {
            self.turn = 0;
            let outcome = self.produce(0, &sent);
            self.under_way.push_back(sent);
            outcome?;
            self.parts.transactions.commit(0)?;
            self.parts.transactions.confirm(0)?;
            self.confirmed();
        }
        Ok(())
    }

    /// Commits offsets that no epoch's transaction took along.
    fn send_due_offsets(&mut self, at_end: bool) -> Result<(), RunError> {
        let quiet = self
            .offsets_sent
            .is_none_or(|at| at.elapsed() >= OFFSETS_EVERY);
        if self.offsets_due.is_empty() || !(at_end || quiet) {
            return Ok(());
        }
        let offsets = std::mem::take(&mut self.offsets_due);
        self.offsets_sent = Some(Instant::now());
        let transactions = &mut *self.parts.transactions;
        let mut send = || {
            transactions.begin(0)?;
            transactions.send_offsets(0, &offsets)?;
            transactions.commit(0)?;
            transactions.confirm(0)
        };
        send().or_else(|error| self.resolve(error))
    }
}

/// Topics with their records in canonical order; sinks of one topic follow each other.
fn merged<'a>(
    sinks: &'a [String],
    runs: &'a Runs,
) -> impl Iterator<Item = (&'a str, impl Iterator<Item = SinkRecord<'a>>)> {
    let mut topics: BTreeMap<&str, Vec<&'a [(usize, SinkRun)]>> = BTreeMap::new();
    for (sink, of) in runs {
        topics.entry(&sinks[*sink]).or_default().push(of);
    }
    topics.into_iter().map(|(topic, sinks)| {
        (
            topic,
            sinks
                .into_iter()
                .flat_map(move |runs| Merged::new(topic, runs)),
        )
    })
}

fn tell(digest: Option<&Digest>) -> String {
    digest.map_or("nothing".into(), |digest| {
        format!("{} records with digest {}", digest.records, digest.hash)
    })
}

/// The topic of an application's epoch log.
pub(crate) fn epoch_topic(application_id: &str) -> String {
    format!("{application_id}-epochs")
}

fn entry_record<'a>(topic: &'a str, key: &'a [u8], entry: &'a [u8]) -> SinkRecord<'a> {
    let timestamp = super::clock::Clock::system().wall_millis();
    SinkRecord {
        topic,
        partition: 0,
        timestamp,
        key: Some(key),
        value: Some(entry),
        headers: &[],
    }
}

/// Commits an entry by itself: entry 0 and start entries.
pub(crate) fn write_entry(
    transactions: &mut dyn Transactions,
    application_id: &str,
    epoch: Epoch,
    entry: &[u8],
) -> Result<(), TransactionError> {
    let topic = epoch_topic(application_id);
    transactions.begin(0)?;
    transactions.send(0, &entry_record(&topic, &epoch.to_be_bytes(), entry))?;
    transactions.flush(0)?;
    transactions.commit(0)?;
    transactions.confirm(0)
}

/// An error of a step outside an epoch's commit.
pub(crate) fn failed(error: TransactionError) -> RunError {
    match error {
        TransactionError::Failed(error) => error.into(),
        TransactionError::Fenced(reason) => RunError::Fenced(format!("fenced: {reason}")),
        TransactionError::Doubt(reason) => {
            RunError::Fenced(format!("the log does not answer: {reason}"))
        }
    }
}
