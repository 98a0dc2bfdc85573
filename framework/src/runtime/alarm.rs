//! Calls an operator again at a time.
//!
//! What timely is asked for is not taken back: each call would come, and whoever asks anew in each would be called more and more often.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use timely::scheduling::Activator;

/// A call that comes so much later than asked for is as good.
const TOLERANCE: Duration = Duration::from_micros(20);

/// The calls of one operator that are asked for.
pub(super) struct Alarm {
    activator: Activator,
    set: Set,
}

/// When calls will come.
#[derive(Default)]
struct Set(BTreeSet<Instant>);

impl Alarm {
    pub(super) fn new(activator: Activator) -> Self {
        Alarm {
            activator,
            set: Set::default(),
        }
    }

    /// Has the operator called at once.
    pub(super) fn now(&self) {
        self.activator.activate();
    }

    /// Has the operator called in so long at the latest, where nothing else calls it; it says each time how long it waits.
    pub(super) fn within(&mut self, time: Duration) {
        if self.set.add(crate::clock::instant(), time) {
            self.activator.activate_after(time);
        }
    }
}

impl Set {
    /// Whether none of the calls to come will do for one in so long; it is among them from now on.
    fn add(&mut self, now: Instant, time: Duration) -> bool {
        while self.0.first().is_some_and(|first| *first <= now) {
            self.0.pop_first();
        }
        // Of a time beyond the clock nobody is called.
        let Some(at) = now.checked_add(time) else {
            return false;
        };
        let comes = self.0.first().is_some_and(|first| *first <= at + TOLERANCE);
        if !comes {
            self.0.insert(at);
        }
        !comes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_asked_for_only_if_none_comes_before() {
        let begun = crate::clock::instant();
        let millis = Duration::from_millis;
        let mut set = Set::default();
        assert!(set.add(begun, millis(200)));
        assert!(!set.add(begun, millis(200)));
        assert!(!set.add(begun + millis(50), millis(160)));
        assert!(set.add(begun + millis(50), millis(1)));
        assert!(!set.add(begun + millis(50), millis(1)));
        // The earlier one has come, the other will.
        assert!(!set.add(begun + millis(60), millis(200)));
        assert!(set.add(begun + millis(60), millis(10)));
        assert_eq!(set.0.len(), 2);
        // Both have.
        assert!(set.add(begun + millis(200), millis(200)));
        assert_eq!(set.0.len(), 1);
        assert!(!set.add(begun, Duration::MAX));
    }
}
