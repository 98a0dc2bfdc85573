//! Fence on doubt: what becomes of epochs whose commit is in doubt.
//!
//! Nothing is assumed of them. New producers end whatever the old ones left open, then the epoch log says which of
//! the epochs are there; the others are sent again, the same bytes, in the order that `commit.rs` gives.

use super::Committer;
use crate::connect::TransactionError;
use crate::error::RunError;
use crate::runtime::epoch_log::EpochLog;

/// How often a doubt is resolved by making producers anew, without an epoch committed between, before the run
/// gives up.
pub(super) const MAX_DOUBTS: u32 = 5;

impl Committer {
    /// Fence on doubt: new producers, then the epoch log decides what is there and what is sent again.
    pub(super) fn resolve(&mut self, error: TransactionError) -> Result<(), RunError> {
        let mut error = error;
        loop {
            let doubt = match error {
                TransactionError::Failed(error) => return Err(error.into()),
                TransactionError::Doubt(reason) => reason,
                // Read before any new producer is made: that would fence whoever fenced this one.
                TransactionError::Fenced(reason) => {
                    let patience = self.parts.waits.newer_instance;
                    self.epoch_log().superseded(patience)?;
                    if std::mem::replace(&mut self.fenced, true) {
                        return Err(RunError::Fenced(format!(
                            "fenced again, without a newer instance in the epoch log: {reason}"
                        )));
                    }
                    reason
                }
            };
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
                Err(again) => error = again,
            }
        }
    }

    fn redo(&mut self) -> Result<(), TransactionError> {
        self.parts.transactions.renew()?;
        let entries = self.parts.transactions.read_epochs(self.parts.log_end)?;
        if self.epoch_log().newer(&entries).is_some() {
            return Err(TransactionError::Fenced(
                "another instance has started".into(),
            ));
        }
        let read = entries.last().map(|record| record.offset + 1);
        for record in entries {
            match self.under_way.front() {
                Some(first) if record.value == first.entry => self.confirmed(),
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
        self.send_again()
    }

    fn epoch_log(&mut self) -> EpochLog<'_> {
        EpochLog {
            transactions: &mut *self.parts.transactions,
            application_id: &self.parts.application_id,
            incarnation: &self.parts.incarnation,
            end: self.parts.log_end,
        }
    }
}
