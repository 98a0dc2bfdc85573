//! Fence on doubt: new producers, then the epoch log decides what is there. What is not waits again, before whatever
//! has not been sent, and so is sent again next.
//!
//! A broker that cannot be reached is waited for, with growing pauses. Nothing piles up meanwhile: what is kept of
//! the epochs under way is all there is, because no further epoch opens while too many are uncommitted, and full
//! queues pause their partitions.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use super::Committer;
use crate::connect::TransactionError;
use crate::error::{LogError, RunError};
use crate::runtime::epoch_log::EpochLog;

/// How often a doubt is resolved by making producers anew, without an epoch committed between, before the life of
/// the run ends.
pub(super) const MAX_DOUBTS: u32 = 5;

impl Committer {
    /// Finds out what came of a step that failed, and has what did not take effect sent again.
    pub(super) fn resolve(&mut self, error: TransactionError) -> Result<(), RunError> {
        let mut error = error;
        loop {
            match error {
                TransactionError::Failed(error @ LogError::Unreachable { .. }) => {
                    if self.parts.epochs.is_stopping() {
                        return Err(error.into());
                    }
                    tracing::warn!(%error, "the commit waits for the log");
                    let pause = self.backoff.pause();
                    self.pause(pause)?;
                }
                TransactionError::Failed(error) => return Err(error.into()),
                TransactionError::Doubt(reason) => self.count_doubt(&reason)?,
                // Read before any new producer is made: that would fence whoever fenced this one.
                TransactionError::Fenced(reason) => {
                    self.epoch_log().superseded()?;
                    if std::mem::replace(&mut self.fenced, true) {
                        return Err(RunError::Fenced(format!(
                            "fenced again, without a newer instance in the epoch log: {reason}"
                        )));
                    }
                    self.count_doubt(&reason)?;
                }
            }
            match self.redo() {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
    }

    /// Counts a doubt; the second in a row and those behind it wait.
    fn count_doubt(&mut self, reason: &str) -> Result<(), RunError> {
        self.doubts += 1;
        if self.doubts > MAX_DOUBTS {
            return Err(RunError::InDoubt(reason.to_owned()));
        }
        tracing::warn!(
            reason,
            "commit in doubt: making new producers and reading the epoch log"
        );
        if self.doubts > 1 {
            let pause = self.backoff.pause();
            self.pause(pause)?;
        }
        Ok(())
    }

    /// Waits, and takes what the workers say meanwhile: a failure of theirs ends the waiting.
    fn pause(&mut self, time: Duration) -> Result<(), RunError> {
        let until = crate::clock::instant() + time;
        loop {
            let left = until.saturating_duration_since(crate::clock::instant());
            match self.parts.from_workers.recv_timeout(left) {
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(RunError::Bug("the workers ended without a word".into()));
                }
            }
        }
    }

    fn redo(&mut self) -> Result<(), TransactionError> {
        self.take_back();
        self.parts.transactions.renew()?;
        self.parts.delivery.renew();
        let (entries, newer) = self.epoch_log().behind()?;
        if newer.is_some() {
            return Err(TransactionError::Fenced(
                "another instance has started".into(),
            ));
        }
        let read = entries.last().map(|record| record.offset + 1);
        for record in entries {
            match self.waiting.front() {
                Some(first) if record.value == first.entry => {
                    self.parts.log_end = record.offset + 1;
                    let found = self.waiting.pop_front();
                    found.map_or(Ok(()), |sent| self.settle_epoch(sent))?;
                }
                Some(first) if record.epoch >= first.epoch => {
                    return Err(TransactionError::Fenced(
                        "the epoch log holds entries of another instance".into(),
                    ));
                }
                _ => {}
            }
        }
        // What was open has ended: nothing appears any more before what is sent from here on.
        self.parts.log_end = read.unwrap_or(self.parts.log_end);
        Ok(())
    }

    /// Has all that is in transactions wait again, in its order.
    fn take_back(&mut self) {
        for group in [self.open.take(), self.committing.take()] {
            for sent in group.into_iter().flat_map(|group| group.epochs).rev() {
                self.waiting.push_front(sent);
            }
        }
    }

    fn epoch_log(&mut self) -> EpochLog<'_> {
        EpochLog {
            transactions: &mut *self.parts.transactions,
            application_id: &self.parts.application_id,
            incarnation: &self.parts.incarnation,
            end: self.parts.log_end,
            newer_instance: self.parts.waits.newer_instance,
        }
    }
}
