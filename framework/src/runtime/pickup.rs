//! What arrives shortly before the open epoch is due is left where it is until then.
//!
//! The ticker is called then in any case, and nothing is seen of a record before its epoch closes. A call of the worker costs as
//! much as reading some hundred records, so few of them are not worth one of their own: the ticker has the sources read
//! them before it closes the epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long they are left at most. Whoever has less often something to close calls the worker seldom enough.
const NEAR: Duration = Duration::from_millis(2);

/// Records of a batch that are left; more take a time that the epoch's end would have to wait for.
const FEW: usize = 256;

/// Between the fetch thread of the ticker's worker and the ticker. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Pickup(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Whether the ticker is soon called, and looks then whether something was left.
    comes: AtomicBool,
    left: AtomicBool,
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
        self.0.left.swap(false, Ordering::SeqCst)
    }

    /// The fetch thread, behind putting something into a queue: whether so many records are left there, and nobody need
    /// be called.
    pub(super) fn leaves(&self, records: usize) -> bool {
        if records > FEW || !self.0.comes.load(Ordering::SeqCst) {
            return false;
        }
        self.0.left.store(true, Ordering::SeqCst);
        self.0.comes.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_records_are_left_while_the_ticker_comes_soon() {
        let pickup = Pickup::default();
        assert!(!pickup.leaves(1), "nobody comes");
        pickup.comes_in(NEAR);
        assert!(!pickup.leaves(FEW + 1));
        assert!(pickup.leaves(FEW));
        assert!(pickup.take());
        assert!(!pickup.take());
        assert!(!pickup.leaves(1), "it has been there");
        pickup.comes_in(NEAR + Duration::from_nanos(1));
        assert!(!pickup.leaves(1));
        pickup.comes_in(Duration::ZERO);
        assert!(!pickup.take(), "what is not left is not taken");
    }

    #[test]
    fn what_is_left_is_taken_whoever_comes_first() {
        for round in 0..1_000 {
            let pickup = Pickup::default();
            pickup.comes_in(Duration::ZERO);
            let (left, taken) = std::thread::scope(|scope| {
                let leaves = scope.spawn(|| pickup.leaves(1));
                let taken = pickup.take();
                (leaves.join().expect("it does not panic"), taken)
            });
            assert!(!left || taken || pickup.take(), "round {round}");
        }
    }
}
