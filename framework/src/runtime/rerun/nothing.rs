//! Transactions that refuse every step: whatever else may be wrong, a replay for the eye writes nothing.

use crate::connect::{EpochRecord, SinkRecord, TopicPartition, TransactionError, Transactions};
use crate::error::LogError;

/// Takes nothing.
pub(super) struct Nothing;

fn refused<T>() -> Result<T, TransactionError> {
    let reason = "a replay that only shows writes nothing".to_owned();
    Err(LogError::Refused(reason).into())
}

impl Transactions for Nothing {
    fn turns(&self) -> usize {
        1
    }

    fn begin(&mut self, _turn: usize) -> Result<(), TransactionError> {
        refused()
    }

    fn send(&mut self, _turn: usize, _record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        refused()
    }

    fn flush(&mut self, _turn: usize) -> Result<(), TransactionError> {
        refused()
    }

    fn send_offsets(
        &mut self,
        _turn: usize,
        _offsets: &[(TopicPartition, i64)],
    ) -> Result<(), TransactionError> {
        refused()
    }

    fn commit(&mut self, _turn: usize) -> Result<(), TransactionError> {
        refused()
    }

    fn confirm(&mut self, _turn: usize) -> Result<(), TransactionError> {
        refused()
    }

    fn entry_offset(&mut self, _turn: usize) -> Result<Option<i64>, TransactionError> {
        refused()
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        refused()
    }

    fn read_epochs(&mut self, _offset: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        refused()
    }
}
