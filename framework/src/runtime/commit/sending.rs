//! Sending an epoch: its outputs, and the transaction of its entry with the input offsets that are due.
//!
//! By guarantee the outputs are acknowledged before the transaction begins, sent in it, or written when its commit is
//! confirmed.

use tiderace_operators::failpoint;

use super::Committer;
use super::delivery::{Delivery, Outlet, Within};
use crate::connect::TransactionError;
use crate::error::RunError;
use crate::runtime::ahead::Ahead;
use crate::runtime::committed::Sent;
use crate::runtime::epoch_log::{entry_record, epoch_topic};
use crate::runtime::epochs::Epochs;
use crate::runtime::merge::merged;

impl Committer {
    /// Sends an epoch and its commit, after the commit before it is confirmed.
    pub(super) fn send(&mut self, mut sent: Sent) -> Result<(), RunError> {
        self.offsets.add(std::mem::take(&mut sent.offsets));
        sent.offsets = self.offsets.take(false);
        let turns = self.parts.transactions.turns();
        // What is written behind a commit takes its time, and no transaction should be open meanwhile.
        if turns < 2 || matches!(self.parts.delivery, Delivery::BehindCommit(_)) {
            self.confirm()?;
        }
        self.turn = (self.turn + 1) % turns;
        let turn = self.turn;
        let outcome = self.produce(turn, &mut sent);
        self.under_way.push_back(sent);
        let outcome = outcome.and_then(|()| {
            if self.under_way.len() > 1 {
                self.parts.transactions.confirm((turn + 1) % turns)?;
                self.find_entry((turn + 1) % turns);
                self.confirmed()?;
            }
            self.parts.transactions.commit(turn)
        });
        outcome.or_else(|error| self.resolve(error))
    }

    fn produce(&mut self, turn: usize, sent: &mut Sent) -> Result<(), TransactionError> {
        self.write_before_commit(sent)?;
        self.parts.transactions.begin(turn)?;
        self.send_within(turn, sent)?;
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

    /// At least once: has the outputs of an epoch acknowledged, unless they are. Where that fails all are written
    /// again; where only the commit behind it does, none.
    fn write_before_commit(&mut self, sent: &mut Sent) -> Result<(), TransactionError> {
        let parts = &mut self.parts;
        if let Delivery::BeforeCommit(outputs) = &mut parts.delivery
            && !sent.written
        {
            send_outputs(outputs, &parts.sinks, sent, &parts.epochs, parts.send_ahead)?;
            outputs.flush()?;
            sent.written = true;
            failpoint!(crate::failpoint::P26_OUTPUTS_ACKNOWLEDGED);
        }
        Ok(())
    }

    /// Exactly once: sends the outputs of an epoch in its transaction.
    fn send_within(&mut self, turn: usize, sent: &Sent) -> Result<(), TransactionError> {
        let parts = &mut self.parts;
        if let Delivery::InTransaction = parts.delivery {
            let transactions = &mut *parts.transactions;
            let mut outlet = Within { transactions, turn };
            let (epochs, most) = (&parts.epochs, parts.send_ahead);
            send_outputs(&mut outlet, &parts.sinks, sent, epochs, most)?;
        }
        Ok(())
    }

    /// At most once: writes the outputs of an epoch whose commit is confirmed. This is their only chance.
    pub(super) fn write_behind_commit(&mut self, sent: &Sent) -> Result<(), TransactionError> {
        let parts = &mut self.parts;
        if let Delivery::BehindCommit(outputs) = &mut parts.delivery {
            failpoint!(crate::failpoint::P27_OUTPUTS_DUE);
            let (epochs, most) = (&parts.epochs, parts.send_ahead);
            let written = send_outputs(outputs, &parts.sinks, sent, epochs, most);
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

    /// Sends what the epoch log does not hold, with new producers: one epoch after the other, from what was kept.
    pub(super) fn send_again(&mut self) -> Result<(), TransactionError> {
        while let Some(mut sent) = self.under_way.pop_front() {
            self.turn = 0;
            let outcome = self.produce(0, &mut sent).and_then(|()| {
                self.parts.transactions.commit(0)?;
                self.parts.transactions.confirm(0)
            });
            self.under_way.push_front(sent);
            outcome?;
            self.find_entry(0);
            self.confirmed()?;
        }
        Ok(())
    }
}

/// Sends the outputs of an epoch, no further ahead of their acknowledgement than the budget has for it.
fn send_outputs(
    outlet: &mut dyn Outlet,
    sinks: &[String],
    sent: &Sent,
    epochs: &Epochs,
    send_ahead: usize,
) -> Result<(), TransactionError> {
    let mut ahead = Ahead::new(epochs.in_flight());
    for record in merged(sinks, &sent.runs).flat_map(|(_, records)| records) {
        outlet.send(&record)?;
        ahead.add(&record);
        if ahead.bytes() >= send_ahead {
            outlet.flush()?;
            ahead.acknowledged();
        }
    }
    Ok(())
}
