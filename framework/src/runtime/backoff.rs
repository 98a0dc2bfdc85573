//! How long to wait before something is tried again: each time twice as long as the time before.

use std::time::Duration;

/// A row of pauses that grow to a limit.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `first` on, of `limit` at most.
    pub(super) fn new(first: Duration, limit: Duration) -> Self {
        Backoff {
            first,
            limit,
            next: first,
        }
    }

    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next.min(self.limit);
        self.next = pause.saturating_mul(2);
        pause
    }

    /// Begins with the first pause again.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));
        let pauses = |backoff: &mut Backoff| [(); 5].map(|()| backoff.pause().as_millis());
        assert_eq!(pauses(&mut backoff), [100, 200, 400, 500, 500]);
        backoff.reset();
        assert_eq!(backoff.pause().as_millis(), 100);
    }
}
