//! What is done with bad data.

use tiderace_operators::record::Position;
use tiderace_operators::tally::Verdict;

use super::dead_letter::DeadLetters;
use super::entry::Share;
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
    pub(super) letters: &'a mut DeadLetters,
    pub(super) skipped: &'a mut Vec<i64>,
    pub(super) dead_lettered: &'a mut Vec<i64>,
}

impl Rejections for Policy<'_> {
    fn any_logged(&self) -> bool {
        self.logged
            .is_some_and(|share| !share.skipped.is_empty() || !share.dead_lettered.is_empty())
    }

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
                self.letters
                    .add(batch, index, position, self.partition, &reason);
            }
            Some(_) => self.skipped.push(offset),
        }
        tracing::debug!(node = self.node, partition = %self.partition, offset, reason, "rejected");
        Ok(verdict.unwrap_or(Verdict::Skipped))
    }
}
