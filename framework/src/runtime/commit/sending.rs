//! Sending what waits: the outputs of epochs, and the transaction of their entries with the input offsets that are due.
//!
//! By guarantee outputs are written and acknowledged before, sent in it, or written when its commit is confirmed.

use tiderace_operators::failpoint;

use super::delivery::{Delivery, Outlet, Within};
use super::{CommitParts, Committer, Group};
use crate::connect::TransactionError;
use crate::runtime::ahead::Ahead;
use crate::runtime::committed::Sent;
use crate::runtime::epoch_log::{entry_record, epoch_topic};
use crate::runtime::merge::by_topic;

impl Committer {
    /// Sends what waits in the open transaction, or a new one, as far as that takes it in; and its commit, if it is due and
    /// none is under way.
    pub(super) fn send_waiting(&mut self) -> Result<(), TransactionError> {
        if self.open.is_none() {
            self.turn = (self.turn + 1) % self.parts.transactions.turns();
            self.open = Some(Group::new(self.turn));
            self.begun = Some(crate::clock::instant());
            self.parts.transactions.begin(self.turn)?;
        }
        let mut ahead = Ahead::new(self.parts.epochs.in_flight(), self.parts.send_ahead);
        while self.may_send() {
            let (Some(group), Some(sent)) = (&mut self.open, self.waiting.pop_front()) else {
                break;
            };
            group.epochs.push(sent);
            self.parts.send_last(group, &mut ahead)?;
        }
        self.acknowledge()?;
        match self.may_commit() {
            true => self.commit(),
            false => Ok(()),
        }
    }

    /// Has all that the open transaction holds acknowledged, and adds the input offsets that are due.
    fn acknowledge(&mut self) -> Result<(), TransactionError> {
        let (Some(group), parts) = (&mut self.open, &mut self.parts) else {
            return Ok(());
        };
        parts.transactions.flush(group.turn)?;
        if let (Delivery::InTransaction, Some(last)) = (&parts.delivery, group.epochs.last()) {
            parts.epochs.sent(last.epoch);
        }
        let with_it = group.epochs.iter().flat_map(|sent| &sent.offsets);
        // At least once transactions are as far apart as input offsets need be.
        let always = matches!(parts.delivery, Delivery::BeforeCommit(_));
        let offsets = self.offsets.due(always, with_it);
        if !offsets.is_empty() {
            parts.transactions.send_offsets(group.turn, &offsets)?;
            group.offsets = offsets;
        }
        Ok(())
    }

    /// At least once: has the outputs of the last epoch that waits acknowledged. Where that fails all of them are written
    /// again; where only the commit behind it does, none, and so they are not kept.
    pub(super) fn write_before_commit(&mut self) -> Result<(), TransactionError> {
        let parts = &mut self.parts;
        if let Delivery::BeforeCommit(outputs) = &mut parts.delivery
            && let Some(sent) = self.waiting.back_mut()
        {
            let mut ahead = Ahead::new(parts.epochs.in_flight(), parts.send_ahead);
            send_outputs(outputs, &parts.sinks, sent, &mut ahead)?;
            outputs.flush()?;
            sent.written = true;
            sent.runs.clear();
            let memory = std::mem::take(&mut sent.memory);
            parts.epochs.written(sent.epoch, memory);
            failpoint!(crate::failpoint::P26_OUTPUTS_ACKNOWLEDGED);
        }
        Ok(())
    }

    /// At most once: writes the outputs of an epoch whose commit is confirmed. This is their only chance.
    pub(super) fn write_behind_commit(&mut self, sent: &Sent) -> Result<(), TransactionError> {
        let parts = &mut self.parts;
        if let Delivery::BehindCommit(outputs) = &mut parts.delivery {
            failpoint!(crate::failpoint::P27_OUTPUTS_DUE);
            let mut ahead = Ahead::new(parts.epochs.in_flight(), parts.send_ahead);
            let written = send_outputs(outputs, &parts.sinks, sent, &mut ahead);
            // What was sent before a record that failed still arrives.
            written.and(outputs.flush()).inspect_err(|error| {
                tracing::error!(
                    epoch = sent.epoch,
                    %error,
                    "at most once: outputs of a committed epoch are lost, all or from some record on"
                );
            })?;
        }
        Ok(())
    }
}

impl CommitParts {
    /// Sends the last epoch of a group in its transaction: exactly once its outputs, and its entry.
    fn send_last(&mut self, group: &Group, ahead: &mut Ahead) -> Result<(), TransactionError> {
        let (turn, Some(sent)) = (group.turn, group.epochs.last()) else {
            return Ok(());
        };
        if let Delivery::InTransaction = self.delivery {
            let transactions = &mut *self.transactions;
            let mut outlet = Within { transactions, turn };
            send_outputs(&mut outlet, &self.sinks, sent, ahead)?;
        }
        let topic = epoch_topic(&self.application_id);
        let key = sent.epoch.to_be_bytes();
        let entry = entry_record(&topic, &key, &sent.entry);
        self.transactions.send(turn, &entry)
    }
}

/// Sends the outputs of an epoch, no further ahead of their acknowledgement than the budget has for it.
fn send_outputs(
    outlet: &mut dyn Outlet,
    sinks: &[String],
    sent: &Sent,
    ahead: &mut Ahead,
) -> Result<(), TransactionError> {
    for (topic, records) in by_topic(sinks, &sent.runs) {
        for (run, index) in records {
            outlet.send(topic, run.records(), index)?;
            if ahead.add(run.length(index)) {
                outlet.flush()?;
                ahead.acknowledged();
            }
        }
    }
    Ok(())
}
