//! What is done with bad data.

use tiderace_operators::record::Position;
use tiderace_operators::tally::Verdict;

use super::dead_letter::{DeadLetters, Letter};
use super::entry::Share;
use super::poison::Reasons;
use crate::connect::{RecordBatch, TopicPartition};
use crate::error::RunError;
use crate::topology::{OnError, Rejections};

/// What is done with bad data: as the log says in a replay, by the topology's policy otherwise.
pub(super) struct Policy<'a> {
    pub(super) node: &'a str,
    pub(super) partition: &'a TopicPartition,
    pub(super) source: usize,
    pub(super) base: i64,
    pub(super) on_error: &'a OnError,
    pub(super) logged: Option<&'a Share>,
    /// Records that user code panicked at before they were committed.
    pub(super) poison: &'a Reasons,
    pub(super) letters: &'a mut DeadLetters,
    pub(super) skipped: &'a mut Vec<i64>,
    pub(super) dead_lettered: &'a mut Vec<i64>,
}

impl Policy<'_> {
    /// What the epoch log says of the record at `offset`, in a replay.
    fn logged(&self, offset: i64) -> Option<Verdict> {
        let share = self.logged?;
        if share.skipped.binary_search(&offset).is_ok() {
            Some(Verdict::Skipped)
        } else if share.dead_lettered.binary_search(&offset).is_ok() {
            Some(Verdict::DeadLettered)
        } else {
            None
        }
    }
}

impl Rejections for Policy<'_> {
    fn any_known(&self) -> bool {
        match self.logged {
            Some(share) => !share.skipped.is_empty() || !share.dead_lettered.is_empty(),
            None => !self.poison.is_empty(),
        }
    }

    fn known(&self, offset: i64) -> Option<String> {
        match self.logged {
            Some(_) => self
                .logged(offset)
                .map(|_| "rejected, as the epoch log says".to_owned()),
            None => self.poison.get(&offset).cloned(),
        }
    }

    fn reject(
        &mut self,
        batch: &dyn RecordBatch,
        index: usize,
        reason: String,
    ) -> Result<Verdict, RunError> {
        let offset = batch.get(index).offset;
        let verdict = self.logged(offset).or(match self.on_error {
            OnError::Fail => None,
            OnError::Skip => Some(Verdict::Skipped),
            OnError::DeadLetter(_) => Some(Verdict::DeadLettered),
        });
        match verdict {
            None => {
                return Err(RunError::Data {
                    node: self.node.to_owned(),
                    partition: self.partition.clone(),
                    offset,
                    reason,
                });
            }
            Some(Verdict::DeadLettered) => {
                self.dead_lettered.push(offset);
                let position = u64::try_from(offset - self.base).unwrap_or(u64::MAX);
                let position = Position::read(self.source, self.partition.partition, position);
                let position = position.map_err(RunError::position)?;
                let exception = if self.poison.contains_key(&offset) {
                    "tiderace.Panic"
                } else {
                    "tiderace.DataError"
                };
                let letter = Letter {
                    batch,
                    index,
                    position,
                    partition: self.partition,
                };
                self.letters.add(&letter, exception, &reason);
            }
            Some(_) => self.skipped.push(offset),
        }
        tracing::debug!(node = self.node, partition = %self.partition, offset, reason, "rejected");
        Ok(verdict.unwrap_or(Verdict::Skipped))
    }
}
