//! When a commit is due.
//!
//! An epoch that was open for the commit interval, or holds as many records as it may, goes as soon as it has passed. One
//! that closed before, since what is in flight took too much memory, need not: at full speed there are several of
//! them an interval, and each transaction is work for the broker. They wait for less than the interval, acknowledged
//! meanwhile, and not at all when the transaction holds as much as it may. One that the clock closed ahead of the end of its
//! interval (`schedule.rs`) waits for that, and for the epoch behind it.

use std::time::Duration;

use tiderace_operators::dataflow::NEVER;

use super::delivery::Delivery;
use super::{Committer, Group};
use crate::runtime::committed::Sent;

/// The longest that a transaction waits for further epochs.
const LONGEST: Duration = Duration::from_millis(75);

/// Between two commits at least, of epochs that closed for want of memory. Less than the interval by which others close, so that
/// these never wait.
pub(crate) fn between_commits(interval: Duration) -> Duration {
    (interval * 3 / 4).min(LONGEST)
}

impl Committer {
    /// How long the open transaction may take in further epochs before its commit is sent off.
    pub(super) fn commit_wait(&self) -> Duration {
        match (&self.parts.delivery, &self.open) {
            (Delivery::InTransaction, Some(group))
                if self.passed != NEVER && !self.is_enough(group) =>
            {
                let last = group.epochs.last();
                let for_next = last.map(|last| self.parts.epochs.commit_waits(last.epoch));
                self.since_commit().max(for_next.unwrap_or_default())
            }
            _ => Duration::ZERO,
        }
    }

    /// How long it is until the commit before is long enough ago.
    fn since_commit(&self) -> Duration {
        let Some(at) = self.sent_off else {
            return Duration::ZERO;
        };
        let since = crate::clock::instant().duration_since(at);
        self.parts.waits.commits.saturating_sub(since)
    }

    /// Whether a transaction holds what is to be committed without waiting for more.
    fn is_enough(&self, group: &Group) -> bool {
        let most = self.parts.epochs.most_records();
        let is_full = |sent: &Sent| sent.came.counts.read + sent.came.rows >= most;
        let held: usize = group.epochs.iter().map(|sent| sent.memory).sum();
        let fits =
            |further: &Sent| group.takes(further, &self.parts.delivery, self.parts.send_ahead);
        held >= self.parts.send_ahead / 4 * 3
            || self.waiting.front().is_some_and(|first| !fits(first))
            || group.epochs.iter().any(is_full)
    }

    /// At least once: how long entries that wait are kept, for further ones to go with them. No time where they have
    /// outputs with them that nobody sees before.
    pub(super) fn entries_wait(&self) -> Duration {
        match (&self.parts.delivery, self.begun) {
            (Delivery::BeforeCommit(_), Some(begun)) => {
                let since = crate::clock::instant().duration_since(begun);
                self.parts.waits.entries.saturating_sub(since)
            }
            _ => Duration::ZERO,
        }
    }
}
