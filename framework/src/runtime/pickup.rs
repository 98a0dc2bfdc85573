//! What arrives shortly before the open epoch is due is left where it is until then.
//!
//! The ticker is called then in any case, and nothing is seen of a record before its epoch closes. A call of the worker costs as
//! much as reading some hundred records, so few of them are not worth one of their own: the ticker has the sources read
//! them before it closes the epoch. Nor is a call of the fetch thread, which rests behind what was left until shortly before the ticker
//! comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long they are left at most. Whoever has less often something to close calls the worker seldom enough.
const NEAR: Duration = Duration::from_millis(2);

/// Records that are left; more take a time that the epoch's end would have to wait for.
const FEW: usize = 256;

/// So long before the ticker comes the fetch thread looks for what came while it rested: longer than it takes to be called.
const AHEAD: Duration = Duration::from_micros(250);

/// Between the fetch thread of the ticker's worker and the ticker. Clones share it.
#[derive(Clone)]
pub(crate) struct Pickup(Arc<Shared>);

struct Shared {
    made: Instant,
    /// Whether the ticker is soon called, and looks then whether something was left.
    comes: AtomicBool,
    /// When that is, in nanoseconds since this was made.
    comes_at: AtomicU64,
    /// How much is left: the records, and one more for each time that something was, since the end of a partition is something
    /// without a record.
    left: AtomicUsize,
}

impl Default for Pickup {
    fn default() -> Self {
        Pickup(Arc::new(Shared {
            made: crate::clock::instant(),
            comes: AtomicBool::new(false),
            comes_at: AtomicU64::new(0),
            left: AtomicUsize::new(0),
        }))
    }
}

impl Pickup {
    /// The ticker: it is called in so long at the latest.
    pub(super) fn comes_in(&self, time: Duration) {
        if time <= NEAR {
            let at = (self.0.made.elapsed() + time).as_nanos();
            let at = u64::try_from(at).unwrap_or(u64::MAX);
            self.0.comes_at.store(at, Ordering::SeqCst);
        }
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
        let Shared { comes, left, .. } = &*self.0;
        if !is_news && left.load(Ordering::SeqCst) == 0 {
            return true;
        }
        if !comes.load(Ordering::SeqCst) {
            return false;
        }
        let before = left.fetch_add(records + 1, Ordering::SeqCst);
        if before + records > FEW {
            left.store(0, Ordering::SeqCst);
            return false;
        }
        // The ticker takes what is left after it has said that it comes no more. If it has not said so yet, it takes this, too.
        comes.load(Ordering::SeqCst)
    }

    /// The fetch thread: how long it may rest, since what comes meanwhile would be left as well.
    pub(super) fn rest(&self) -> Option<Duration> {
        self.rest_at(|| self.0.made.elapsed())
    }

    fn rest_at(&self, now: impl FnOnce() -> Duration) -> Option<Duration> {
        let Shared { comes, left, .. } = &*self.0;
        if left.load(Ordering::SeqCst) == 0 || !comes.load(Ordering::SeqCst) {
            return None;
        }
        let comes_at = Duration::from_nanos(self.0.comes_at.load(Ordering::SeqCst));
        let rest = comes_at.checked_sub(now() + AHEAD)?;
        (rest > AHEAD).then_some(rest)
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
    fn who_has_left_something_rests_until_shortly_before_it_is_taken() {
        let pickup = Pickup::default();
        pickup.comes_in(NEAR);
        let comes_at = Duration::from_nanos(pickup.0.comes_at.load(Ordering::SeqCst));
        let rest = |before: Duration| pickup.rest_at(|| comes_at.saturating_sub(before));
        assert_eq!(rest(NEAR), None, "nothing is left");
        assert!(pickup.leaves(1, true));
        assert_eq!(rest(NEAR), Some(NEAR - AHEAD));
        assert_eq!(rest(AHEAD * 2), None, "it is not worth it");
        assert_eq!(rest(Duration::ZERO), None);
        assert!(pickup.take());
        assert_eq!(rest(NEAR), None, "it was taken");
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
