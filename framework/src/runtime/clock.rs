//! Time as the engine sees it: the system's, or one that a test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// A source of monotonic and wall-clock time. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System(Instant),
    /// Milliseconds since the test began, and the wall clock at that moment.
    Manual(Arc<AtomicU64>, Duration),
}

impl Clock {
    /// The system's clock.
    pub(crate) fn system() -> Self {
        Clock(Kind::System(crate::clock::instant()))
    }

    /// A clock that stands still until [`advance`](Self::advance) is called, from this moment of the wall clock.
    pub(crate) fn manual(wall: Duration) -> Self {
        Clock(Kind::Manual(Arc::default(), wall))
    }

    /// Moves a manual clock.
    pub(crate) fn advance(&self, by: Duration) {
        if let Kind::Manual(millis, _) = &self.0 {
            millis.fetch_add(
                u64::try_from(by.as_millis()).unwrap_or(u64::MAX),
                Ordering::Relaxed,
            );
        }
    }

    /// Monotonic time since the clock was made.
    pub(crate) fn now(&self) -> Duration {
        match &self.0 {
            Kind::System(start) => start.elapsed(),
            Kind::Manual(millis, _) => Duration::from_millis(millis.load(Ordering::Relaxed)),
        }
    }

    /// Milliseconds of the wall clock since 1970.
    pub(crate) fn wall_millis(&self) -> i64 {
        let wall = match &self.0 {
            Kind::System(_) => crate::clock::wall()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            Kind::Manual(_, start) => *start + self.now(),
        };
        i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)
    }
}
