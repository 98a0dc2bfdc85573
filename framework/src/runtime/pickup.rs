//! What arrives shortly before the open epoch is due is left where it is until then.
//!
//! The ticker is called then in any case, and nothing is seen of a record before its epoch closes. A call of the worker costs as
//! much as reading some hundred records, so few of them are not worth one of their own: the ticker has the sources read
//! them before it closes the epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long they are left at most. Whoever has less often something to close calls the worker seldom enough.
const NEAR: Duration = Duration::from_millis(2);

/// Records that are left; more take a time that the epoch's end would have to wait for.
const FEW: usize = 256;

/// Between the fetch thread of the ticker's worker and the ticker. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Pickup(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Whether the ticker is soon called, and looks then whether something was left.
    comes: AtomicBool,
    /// Records that are left, and one for each time that something was.
    left: AtomicUsize,
}

impl Pickup {
    /// The ticker: it is called in so long at the latest.
    pub(super) fn comes_in(&self, time: Duration) {
        self.0.comes.store(time <= NEAR, Ordering::SeqCst);
    }

    /// The ticker, whenever it is called: whether something was left, which the sources are to read now.
    pub(super) fn take(&self) -> bool {
        // In this order: what is left from here on is seen here, or is not left.
        self.0.comes.store(false, Ordering::SeqCst);
        self.0.left.swap(0, Ordering::SeqCst) > 0
    }

    /// The fetch thread, behind putting so many records into a queue: whether they are left there, and nobody need be called.
    /// Behind what `is_news` the worker reads what is not.
    pub(super) fn leaves(&self, records: usize, is_news: bool) -> bool {
        let Shared { comes, left } = &*self.0;
        if !is_news && left.load(Ordering::SeqCst) == 0 {
            return true;
        }
        if !comes.load(Ordering::SeqCst) {
            return false;
        }
        if left.fetch_add(records + 1, Ordering::SeqCst) + records > FEW {
            left.store(0, Ordering::SeqCst);
            return false;
        }
        comes.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_records_are_left_while_the_ticker_comes_soon() {
        let pickup = Pickup::default();
        assert!(!pickup.leaves(1, true), "nobody comes");
        pickup.comes_in(NEAR);
        assert!(!pickup.leaves(FEW + 1, true));
        assert!(pickup.leaves(FEW, true));
        assert!(pickup.take());
        assert!(!pickup.take());
        assert!(!pickup.leaves(1, true), "it has been there");
        pickup.comes_in(NEAR + Duration::from_nanos(1));
        assert!(!pickup.leaves(1, true));
        pickup.comes_in(Duration::ZERO);
        assert!(!pickup.take(), "what is not left is not taken");
    }

    #[test]
    fn what_follows_counts_as_long_as_something_is_left() {
        let pickup = Pickup::default();
        assert!(pickup.leaves(FEW + 1, false), "the worker knows");
        pickup.comes_in(NEAR);
        assert!(pickup.leaves(FEW + 1, false), "the worker still knows");
        assert!(pickup.leaves(0, true), "the end of a partition is news too");
        assert!(pickup.leaves(FEW / 2, false));
        assert!(!pickup.leaves(FEW / 2 + 1, false), "too many together");
        assert!(pickup.leaves(FEW + 1, false), "it was called");
        assert!(!pickup.take());
    }

    #[test]
    fn what_is_left_is_taken_whoever_comes_first() {
        for round in 0..1_000 {
            let pickup = Pickup::default();
            pickup.comes_in(Duration::ZERO);
            let (left, taken) = std::thread::scope(|scope| {
                let leaves = scope.spawn(|| pickup.leaves(1, true));
                let taken = pickup.take();
                (leaves.join().expect("it does not panic"), taken)
            });
            assert!(!left || taken || pickup.take(), "round {round}");
        }
    }
}
