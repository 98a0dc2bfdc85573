//! The order of a commit, and the only place that has it.
//!
//! For each epoch, in order: every operator has passed it; its outputs, merged from the workers' sorted runs, and
//! its entry are sent in a transaction and acknowledged; the commit of the transaction before is confirmed; the commit
//! of its own is sent off, when it is due (`due.rs`). While a commit is under way, or not yet due, the transaction behind it
//! takes in whatever passes, so that no epoch waits for more than one commit before its own. Nobody waits for an epoch
//! that has not passed.
//!
//! What was sent is kept until its commit is confirmed: in doubt, the producers are made anew, the epoch log says what
//! is there, and the rest is sent again, the same bytes. In a replay nothing is sent; digests are compared with the
//! log's.
//!
//! That is exactly once. Under a weaker guarantee the transaction holds entries alone. At least once: outputs are
//! written and acknowledged as soon as their epoch has passed, whatever is under way, and not written again once they
//! are; its entry waits until nothing is, and goes with all that wait. At most once: outputs are written when the
//! commit of their epoch is confirmed, once, and before the next transaction begins; it holds one epoch, which is all
//! that a crash can lose.

mod delivery;
mod doubt;
mod due;
mod group;
mod passed;
mod sending;
mod settling;
#[cfg(test)]
mod tests;
mod waits;
#[cfg(test)]
pub(crate) use tests::fake;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tiderace_operators::dataflow::{Epoch, NEVER};
use tiderace_operators::failpoint;
use tiderace_operators::tally::Ledger;

pub(crate) use delivery::{Delivery, in_transaction};
pub(crate) use due::between_commits;
pub(crate) use group::MOST_EPOCHS;
pub(crate) use waits::Waits;

use group::Group;

use super::SharedProgress;
use super::backoff::Backoff;
use super::committed::{Committed, Sent};
use super::entry::EpochEntry;
use super::epochs::Epochs;
use super::offsets::{DueOffsets, OFFSETS_EVERY};
use super::outbox::Outbox;
use super::recovery::Recovering;
use super::replay;
use super::rerun::Shown;
use super::worker::ToCommitter;
use crate::connect::{TransactionError, Transactions};
use crate::error::RunError;
use crate::topology::Fingerprint;

/// How often it is looked whether a commit is answered. What it wrote is visible before; the next one waits for it.
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
    pub(crate) outbox: Outbox,
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
    /// Every operator has passed all epochs before this one.
    passed: Epoch,
    next: Epoch,
    /// Epochs that have passed and are in no transaction, in their order.
    waiting: VecDeque<Sent>,
    /// The transaction whose commit is under way.
    committing: Option<Group>,
    /// The transaction behind it: what it holds is acknowledged, and it may take in more.
    open: Option<Group>,
    /// That of the transaction begun last.
    turn: usize,
    doubts: u32,
    /// The pauses between tries of what fails, since the last commit.
    backoff: Backoff,
    /// Whether a fence without a newer instance was taken for a time-out since the last commit; once is all it gets.
    fenced: bool,
    offsets: DueOffsets,
    /// When the last transaction was begun.
    begun: Option<Instant>,
    /// When the last commit of one was sent off.
    sent_off: Option<Instant>,
    done: Committed,
}

impl Committer {
    pub(crate) fn new(parts: CommitParts) -> Self {
        let next = parts.basis + 1;
        let last_logged = parts.logged.keys().next_back().copied();
        let done = Committed::behind(last_logged.unwrap_or(parts.basis));
        Committer {
            offsets: DueOffsets::every(parts.waits.offsets),
            backoff: Backoff::new(parts.waits.again.0, parts.waits.again.1),
            parts,
            passed: 0,
            next,
            waiting: VecDeque::new(),
            committing: None,
            open: None,
            turn: 0,
            doubts: 0,
            fenced: false,
            begun: None,
            sent_off: None,
            done,
        }
    }

    /// Commits epochs until all input has ended, or an error.
    pub(crate) fn run(&mut self) -> Result<(), RunError> {
        loop {
            if self.advance()? {
                return Ok(());
            }
            let is_quiet = self.committing.is_none() && self.open.is_none();
            let wait = match (&self.committing, &self.open, self.waiting.is_empty()) {
                (Some(_), ..) => ANSWER_LOOK,
                (None, Some(_), _) => self.commit_wait(),
                (None, None, true) => OFFSETS_EVERY,
                (None, None, false) => self.entries_wait(),
            };
            match self.parts.from_workers.recv_timeout(wait) {
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) if is_quiet && self.waiting.is_empty() => {
                    self.send_due_offsets(false)?;
                }
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
            // Failures are looked at before each step.
            while let Ok(message) = self.parts.from_workers.try_recv() {
                self.take(message)?;
            }
            if self.step()? {
                continue;
            }
            self.go_live()?;
            if self.passed != NEVER {
                return Ok(false);
            }
            if self.committing.is_none() {
                self.send_due_offsets(true)?;
                return Ok(true);
            }
            // Nothing else passes any more.
            self.confirm().or_else(|error| self.resolve(error))?;
        }
    }

    /// Does what comes next and need not be waited for; false if there is nothing.
    fn step(&mut self) -> Result<bool, RunError> {
        let outputs_are_out = matches!(self.parts.delivery, Delivery::BeforeCommit(_));
        let done = if self.is_unwritten() {
            self.write_before_commit()
        } else if self.is_answered() {
            self.confirm()
        } else if self.may_send() && (outputs_are_out || !self.has_passed()) {
            // All that has passed goes together. Entries alone go at once: outputs that pass without end would keep
            // them from being committed.
            self.send_waiting()
        } else if self.has_passed() {
            self.close()?;
            Ok(())
        } else if self.open.is_some() && self.may_commit() {
            self.commit()
        } else {
            return Ok(false);
        };
        done.or_else(|error| self.resolve(error))?;
        Ok(true)
    }

    /// Whether every operator has passed the next epoch, which holds something.
    fn has_passed(&self) -> bool {
        self.next < self.passed && (self.passed != NEVER || self.next <= self.last_opened())
    }

    /// At least once: whether outputs of an epoch have to be written. Those of the epochs before it are.
    fn is_unwritten(&self) -> bool {
        let last = self.waiting.back();
        matches!(self.parts.delivery, Delivery::BeforeCommit(_))
            && last.is_some_and(|sent| !sent.written)
    }

    /// Whether a commit is under way that need not be waited for any more.
    fn is_answered(&mut self) -> bool {
        let transactions = &mut self.parts.transactions;
        let committing = self.committing.as_ref();
        committing.is_some_and(|group| transactions.is_answered(group.turn))
    }

    /// Whether the epoch that waits first may be sent now.
    fn may_send(&self) -> bool {
        let Some(first) = self.waiting.front() else {
            return false;
        };
        match (&self.open, &self.committing) {
            (Some(group), _) => group.takes(first, &self.parts.delivery, self.parts.send_ahead),
            // What is written behind a commit takes its time, and no transaction should be open meanwhile; entries that
            // are sent ahead of their commit only keep outputs waiting.
            (None, Some(_)) => {
                matches!(self.parts.delivery, Delivery::InTransaction)
                    && self.parts.transactions.turns() > 1
            }
            (None, None) => {
                self.passed == NEVER
                    || self.waiting.len() >= MOST_EPOCHS / 2
                    || self.entries_wait().is_zero()
            }
        }
    }

    /// Whether the commit of the open transaction may be sent off.
    fn may_commit(&self) -> bool {
        self.committing.is_none() && self.commit_wait().is_zero()
    }

    /// Waits until the commit under way, if any, is confirmed, sends off the next if it is due, and settles what was
    /// committed.
    fn confirm(&mut self) -> Result<(), TransactionError> {
        if let Some(group) = &self.committing {
            self.parts.transactions.confirm(group.turn)?;
        }
        let committed = self.committing.take();
        // Before anything else: nobody waits for what is settled, and outputs wait for this.
        let sent_off = match self.may_commit() {
            true => self.commit(),
            false => Ok(()),
        };
        let settled = committed.map_or(Ok(()), |group| self.settle(group));
        // At most one of them fails: outputs are written behind a commit at most once only, and then no transaction is open
        // behind it.
        settled.and(sent_off)
    }

    /// Sends the commit of the open transaction off, if there is one. None is under way.
    fn commit(&mut self) -> Result<(), TransactionError> {
        self.committing = self.open.take();
        match &self.committing {
            Some(group) => {
                self.sent_off = Some(crate::clock::instant());
                self.parts.transactions.commit(group.turn)
            }
            None => Ok(()),
        }
    }

    /// Lets epochs open that are not in the log, once all that is has been replayed.
    fn go_live(&mut self) -> Result<(), RunError> {
        // An epoch that was passed tells that every operator has its state back.
        let restored = self.passed > self.parts.basis;
        if restored && self.parts.logged.is_empty() && self.parts.epochs.go_live() {
            failpoint!(crate::failpoint::P18_LIVE, |_| Err(
                crate::failpoint::broken().into()
            ));
            self.parts.progress.recovered(self.parts.recovery.done());
        }
        Ok(())
    }

    /// The last epoch that holds anything: the one before an open epoch that nobody claimed.
    fn last_opened(&self) -> Epoch {
        self.parts.epochs.state().open.saturating_sub(1)
    }

    fn take(&mut self, message: ToCommitter) -> Result<(), RunError> {
        match message {
            ToCommitter::Passed(epoch) => {
                self.parts.epochs.passed(epoch);
                self.passed = epoch;
                Ok(())
            }
            ToCommitter::Failed(error) => Err(error),
        }
    }

    /// Commits offsets that no transaction of epochs took along; at the end until they are there.
    fn send_due_offsets(&mut self, at_end: bool) -> Result<(), RunError> {
        loop {
            let offsets = self.offsets.due(at_end, std::iter::empty());
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
            match send() {
                Ok(()) => self.offsets.taken_along(&offsets),
                Err(error) => self.resolve(error)?,
            }
        }
    }
}
