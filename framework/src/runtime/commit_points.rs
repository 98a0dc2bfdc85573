//! The points of a commit where tests strike, laid over the transactions of a run: whatever is committed passes them,
//! on every log. Compiled in with the feature `failpoints` only.

use std::sync::Arc;

use tiderace_operators::failpoint;

use super::epoch_log::failed;
use crate::connect::{
    EpochRecord, Records, SinkRecord, TopicPartition, TransactionError, Transactions,
};
use crate::error::RunError;
use crate::failpoint::{self as points, transaction};

/// Transactions with points between their steps.
pub(super) struct CommitPoints {
    transactions: Box<dyn Transactions>,
}

impl CommitPoints {
    /// Lays the points over transactions that have just been opened.
    pub(super) fn over(
        transactions: Box<dyn Transactions>,
    ) -> Result<Box<dyn Transactions>, RunError> {
        let fenced = || {
            failpoint!(points::P19_FENCED, |said| Err(transaction(said)));
            Ok(())
        };
        fenced().map_err(failed)?;
        Ok(Box::new(CommitPoints { transactions }))
    }
}

impl Transactions for CommitPoints {
    fn turns(&self) -> usize {
        self.transactions.turns()
    }

    fn begin(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.transactions.begin(turn)?;
        failpoint!(points::P04_BEGUN, |said| Err(transaction(said)));
        Ok(())
    }

    fn send(&mut self, turn: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        // Outputs are sent by `send_of`, so this is an entry.
        failpoint!(points::P07_OUTPUTS_SENT, |said| Err(transaction(said)));
        self.transactions.send(turn, record)?;
        failpoint!(points::P08_ENTRY_SENT, |said| Err(transaction(said)));
        Ok(())
    }

    fn send_of(
        &mut self,
        turn: usize,
        topic: &str,
        records: &Arc<dyn Records>,
        index: usize,
    ) -> Result<(), TransactionError> {
        self.transactions.send_of(turn, topic, records, index)?;
        failpoint!(points::P05_RECORD_SENT, |said| Err(transaction(said)));
        Ok(())
    }

    fn flush(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.transactions.flush(turn)?;
        failpoint!(points::P09_FLUSHED, |said| Err(transaction(said)));
        Ok(())
    }

    fn send_offsets(
        &mut self,
        turn: usize,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), TransactionError> {
        self.transactions.send_offsets(turn, offsets)
    }

    fn commit(&mut self, turn: usize) -> Result<(), TransactionError> {
        failpoint!(points::P10_BEFORE_COMMIT, |said| Err(transaction(said)));
        self.transactions.commit(turn)?;
        failpoint!(points::P11_BEHIND_COMMIT, |said| Err(transaction(said)));
        Ok(())
    }

    fn confirm(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.transactions.confirm(turn)
    }

    fn is_answered(&mut self, turn: usize) -> bool {
        self.transactions.is_answered(turn)
    }

    fn entry_offset(&mut self, turn: usize) -> Result<Option<i64>, TransactionError> {
        self.transactions.entry_offset(turn)
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        self.transactions.renew()?;
        failpoint!(points::P19_FENCED, |said| Err(transaction(said)));
        Ok(())
    }

    fn read_epochs(&mut self, offset: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        self.transactions.read_epochs(offset)
    }
}
