//! Trying again what the store refuses: a full disk may have room in a moment.

use std::io;
use std::time::Duration;

use super::error::SnapshotError;
use super::shared::Shared;

/// After so many failures in a row the keeper gives up: about 20 s, in which operators wait with the entries that
/// they still hold.
const MOST_FAILURES: u32 = 10;

/// How long to wait before trying again.
#[derive(Clone, Copy, Debug)]
pub(super) struct BackOff {
    /// After the first failure; doubles with each that follows.
    pub(super) first: Duration,
    /// At most.
    pub(super) longest: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        BackOff {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(5),
        }
    }
}

/// Why the thread ends.
#[derive(Debug)]
pub(super) enum Ended {
    /// It was told to.
    Stopped,
    /// It cannot go on.
    Failed(SnapshotError),
}

/// Tries until it succeeds, it is told to stop, or it has failed too often.
pub(super) fn attempt<T>(
    shared: &Shared,
    location: &str,
    back_off: BackOff,
    mut what: impl FnMut() -> io::Result<T>,
) -> Result<T, Ended> {
    let mut pause = back_off.first;
    for failures in 1.. {
        let source = match what() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if failures == MOST_FAILURES {
            return Err(Ended::Failed(SnapshotError::Unwritable {
                object: location.into(),
                source,
                failures,
            }));
        }
        let last = shared.last().map_or(0, |last| last.epoch);
        tracing::warn!(
            location,
            error = %source,
            "a snapshot cannot be written (failure {failures} of {MOST_FAILURES}): results are committed as before, \
             and a restart goes on from the snapshot of epoch {last} (0: from the beginning); make room or mend the \
             permissions; trying again in {pause:?}"
        );
        if !shared.pause(pause) {
            break;
        }
        pause = back_off.longest.min(pause * 2);
    }
    Err(Ended::Stopped)
}
