//! The epochs that one transaction commits.

use super::Delivery;
use crate::connect::TopicPartition;
use crate::runtime::committed::Sent;

/// Epochs that a transaction commits at most: what is sent again when one is in doubt, and how far at least once
/// outputs may be ahead of their entries.
pub(crate) const MOST_EPOCHS: usize = 256;

/// The epochs of a transaction that was begun.
pub(super) struct Group {
    pub(super) turn: usize,
    /// In their order.
    pub(super) epochs: Vec<Sent>,
    /// Input offsets that it takes along; none unless they were due.
    pub(super) offsets: Vec<(TopicPartition, i64)>,
}

impl Group {
    /// Of no epoch yet.
    pub(super) fn new(turn: usize) -> Self {
        Group {
            turn,
            epochs: Vec::new(),
            offsets: Vec::new(),
        }
    }

    /// Whether it takes a further epoch in: one always, more if their outputs together are no more than `bytes`.
    pub(super) fn takes(&self, further: &Sent, delivery: &Delivery, bytes: usize) -> bool {
        let most = match delivery {
            Delivery::InTransaction | Delivery::BeforeCommit(_) => MOST_EPOCHS,
            // A crash loses the outputs of what is committed and not written.
            Delivery::BehindCommit(_) => 1,
        };
        let held = self.epochs.iter().map(|sent| sent.memory);
        let together = held.sum::<usize>() + further.memory;
        self.epochs.is_empty() || (self.epochs.len() < most && together <= bytes)
    }
}
