//! Sending an epoch in a transaction: its outputs, its entry, the input offsets that are due, then the commit.

use super::{CommitParts, Committer};
use crate::connect::TransactionError;
use crate::error::RunError;
use crate::runtime::ahead::Ahead;
use crate::runtime::committed::Sent;
use crate::runtime::epoch_log::{entry_record, epoch_topic};
use crate::runtime::merge::merged;

impl Committer {
    /// Sends an epoch and its commit, after the commit before it is confirmed.
    pub(super) fn send(&mut self, mut sent: Sent) -> Result<(), RunError> {
        self.offsets.add(std::mem::take(&mut sent.offsets));
        sent.offsets = self.offsets.take(false);
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
                self.find_entry((turn + 1) % turns);
                self.confirmed();
            }
            self.parts.transactions.commit(turn)
        });
        outcome.or_else(|error| self.resolve(error))
    }

    fn produce(&mut self, turn: usize, sent: &Sent) -> Result<(), TransactionError> {
        self.parts.transactions.begin(turn)?;
        self.send_outputs(turn, sent)?;
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

    /// Sends the outputs of an epoch, no further ahead of their acknowledgement than the budget has for it.
    fn send_outputs(&mut self, turn: usize, sent: &Sent) -> Result<(), TransactionError> {
        let CommitParts {
            sinks,
            transactions,
            epochs,
            send_ahead,
            ..
        } = &mut self.parts;
        let mut ahead = Ahead::new(epochs.in_flight());
        for record in merged(sinks, &sent.runs).flat_map(|(_, records)| records) {
            transactions.send(turn, &record)?;
            ahead.add(&record);
            if ahead.bytes() >= *send_ahead {
                transactions.flush(turn)?;
                ahead.acknowledged();
            }
        }
        Ok(())
    }

    /// Sends what the epoch log does not hold, with new producers: one epoch after the other, from what was kept.
    pub(super) fn send_again(&mut self) -> Result<(), TransactionError> {
        while let Some(sent) = self.under_way.pop_front() {
            self.turn = 0;
            let outcome = self.produce(0, &sent).and_then(|()| {
                self.parts.transactions.commit(0)?;
                self.parts.transactions.confirm(0)
            });
            self.under_way.push_front(sent);
            outcome?;
            self.find_entry(0);
            self.confirmed();
        }
        Ok(())
    }
}
