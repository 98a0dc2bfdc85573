//! The one place where the framework asks what time it is. What it says decides when to wait, to report and to end an
//! epoch, never what a record becomes: `clippy.toml` refuses both calls everywhere else.

use std::time::{Instant, SystemTime};

/// The moment, for measuring how long something takes.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the framework measures time"
)]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// The wall clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the framework reads the wall clock"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
