//! Memory in flight: what of the budget is for what, and how much of it is used.
//!
//! Keyed state is not part of it. Everything counted here goes away by itself: what was fetched is read, what was read
//! is passed by the operators, outputs are committed. So a source that waits for room gets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The budget, in bytes, by what it is for. The eighth that is left over is for what a source's turn makes beyond
/// what it was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// What the log's clients buffer of the input.
    pub(crate) clients: usize,
    /// Batches between the fetch threads and the workers, those that are being read included.
    pub(crate) fetched: usize,
    /// Records that operators have not passed, and outputs that are not committed.
    pub(crate) epochs: usize,
    /// Records of one epoch after which it closes, so that the next can be read while it is passed and committed.
    pub(crate) epoch: usize,
    /// Outputs that wait in the log's client to be acknowledged.
    pub(crate) sending: usize,
}

impl Shares {
    /// Divides a budget.
    pub(crate) fn of(budget: usize) -> Self {
        let eighth = (budget / 8).max(1);
        Shares {
            clients: eighth,
            fetched: eighth,
            epochs: 4 * eighth,
            epoch: 2 * eighth,
            sending: eighth,
        }
    }
}

/// A part of what is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Batches that wait to be read, or of which records are left.
    Fetched,
    /// Records that were read, in epochs that operators have not passed.
    Read,
    /// Encoded outputs of epochs that are not committed; at least once, that are not acknowledged.
    Outputs,
    /// Outputs that the log's client has a copy of until it acknowledges them.
    Sending,
}

/// What is in flight, in bytes. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Gauges>);

#[derive(Debug, Default)]
struct Gauges {
    parts: [AtomicUsize; 4],
    total: AtomicUsize,
    most: AtomicUsize,
}

impl InFlight {
    /// Nothing in flight, after a life in which the most was this.
    pub(crate) fn after(most: usize) -> Self {
        let gauges = Gauges {
            most: AtomicUsize::new(most),
            ..Gauges::default()
        };
        InFlight(Arc::new(gauges))
    }

    pub(crate) fn add(&self, part: Part, bytes: usize) {
        self.0.parts[part as usize].fetch_add(bytes, Relaxed);
        let total = self.0.total.fetch_add(bytes, Relaxed) + bytes;
        // Looking costs little as long as it is no more than before, which it seldom is.
        if total > self.0.most.load(Relaxed) {
            self.0.most.fetch_max(total, Relaxed);
        }
    }

    pub(crate) fn release(&self, part: Part, bytes: usize) {
        self.0.parts[part as usize].fetch_sub(bytes, Relaxed);
        self.0.total.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn of(&self, part: Part) -> usize {
        self.0.parts[part as usize].load(Relaxed)
    }

    /// Of all parts together.
    pub(crate) fn total(&self) -> usize {
        self.0.total.load(Relaxed)
    }

    /// The largest that the total has been.
    pub(crate) fn most(&self) -> usize {
        self.0.most.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_no_more_than_the_budget() {
        for budget in [1, 4 << 20, 64 << 20] {
            let of = Shares::of(budget);
            let together = of.clients + of.fetched + of.epochs + of.sending;
            assert!(together <= budget.max(8), "{budget}: {of:?}");
            assert!(of.epoch < of.epochs);
        }
    }

    #[test]
    fn what_was_the_most_stays() {
        let in_flight = InFlight::default();
        in_flight.add(Part::Read, 10);
        in_flight.add(Part::Outputs, 5);
        in_flight.release(Part::Read, 10);
        in_flight.add(Part::Outputs, 2);
        assert_eq!((in_flight.total(), in_flight.most()), (7, 15));
        assert_eq!(
            (in_flight.of(Part::Read), in_flight.of(Part::Outputs)),
            (0, 7)
        );
    }
}
