//! What the committer does by the clock.

use std::time::Duration;

use crate::runtime::epoch_log::NEWER_INSTANCE;
use crate::runtime::offsets::OFFSETS_EVERY;

/// How long the committer waits for what comes by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// How long a fenced run waits for the start entry of whoever fenced it.
    pub(crate) newer_instance: Duration,
    /// Between two transactions that take input offsets along, at least.
    pub(crate) offsets: Duration,
    /// Exactly once, between two commits, at least, of epochs that closed for want of memory.
    pub(crate) commits: Duration,
    /// At least once, between two transactions of entries, at least: nobody sees them, and each costs what ten flushes of
    /// outputs do.
    pub(crate) entries: Duration,
    /// The pauses between tries of what fails: the first, and the longest.
    pub(crate) again: (Duration, Duration),
}

impl Default for Waits {
    fn default() -> Self {
        Waits {
            newer_instance: NEWER_INSTANCE,
            offsets: OFFSETS_EVERY,
            commits: Duration::ZERO,
            entries: Duration::from_millis(100),
            again: (Duration::from_millis(100), Duration::from_secs(10)),
        }
    }
}
