//! What a confirmed commit settles: its epochs are counted, shown, let go of, and said to be committed.

use tiderace_operators::dataflow::Epoch;

use super::{Committer, Group};
use crate::connect::TransactionError;
use crate::runtime::committed::Sent;
use crate::runtime::entry::hash;
use crate::snapshot::LogPlace;

impl Committer {
    /// Settles the epochs of a transaction that is committed, each as [`settle_epoch`](Self::settle_epoch) does.
    pub(super) fn settle(&mut self, group: Group) -> Result<(), TransactionError> {
        let end = self.find_end(&group);
        let last = group.epochs.last().map(|sent| sent.epoch);
        let mut written = Ok(());
        for sent in group.epochs {
            // Entries before the last one lie before that place, where nobody may look for them.
            if Some(sent.epoch) == last {
                self.parts.log_end = end.unwrap_or(self.parts.log_end);
            }
            written = written.and(self.settle_epoch(sent));
        }
        self.offsets.taken_along(&group.offsets);
        written
    }

    /// Asks for the offset behind the last entry of a transaction that is committed, if a snapshot of one of its epochs
    /// is to name a place. One that names a place before its entry does as well: a start reads on from there.
    fn find_end(&mut self, group: &Group) -> Option<i64> {
        let is_kept = |sent: &Sent| self.parts.epochs.keeps_state_of(sent.epoch);
        if !group.epochs.iter().any(is_kept) {
            return None;
        }
        match self.parts.transactions.entry_offset(group.turn) {
            Ok(offset) => offset.map(|offset| offset + 1),
            Err(error) => {
                tracing::warn!(%error, "the place of an entry of the epoch log is not known");
                None
            }
        }
    }

    /// Settles an epoch that is committed now. What its outputs come to if they are written from here on is returned,
    /// and changes nothing about that.
    pub(super) fn settle_epoch(&mut self, sent: Sent) -> Result<(), TransactionError> {
        let written = self.write_behind_commit(&sent);
        self.doubts = 0;
        self.backoff.reset();
        self.fenced = false;
        let latency = sent
            .first_read
            .map(|at| self.parts.epochs.clock().now().saturating_sub(at));
        self.done.add(&sent, latency);
        self.parts.epochs.outputs(0, sent.memory);
        let progress = &self.parts.progress;
        progress.commit(&sent.came.counts);
        progress.commit_nodes(&self.parts.nodes, &sent.came.nodes);
        progress.close_windows(sent.came.windows_closed);
        let place = LogPlace {
            offset: self.parts.log_end,
            hash: hash(&sent.entry),
        };
        self.tell_settled(sent.epoch, Some(place));
        self.offsets.add(sent.offsets);
        written
    }

    /// Tells everyone that an epoch is committed, with the place of its entry, or verified.
    pub(super) fn tell_settled(&self, epoch: Epoch, place: Option<LogPlace>) {
        let settled = &self.parts.settled;
        settled.store(epoch, std::sync::atomic::Ordering::Relaxed);
        self.parts.epochs.commit(epoch, place);
        self.parts.epochs.show(&self.parts.progress);
    }
}
