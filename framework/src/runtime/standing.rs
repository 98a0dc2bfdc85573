//! What a source knows beside what it has read, and what it tells of event time.

use tiderace_operators::batch::Advance;
use tiderace_operators::dataflow::Epoch;
use tiderace_operators::record::EventTime;

use super::basis::Basis;
use super::reading::Reading;
use super::slot::Status;

/// How far a source has come beside what it has read.
pub(crate) struct Standing {
    /// Decisions of the open epoch that have taken effect.
    pub(super) applied: usize,
    /// The largest stream time of all partitions, when the input has ended.
    pub(super) ended: Option<EventTime>,
    /// The watermark set by hand.
    pub(super) floor: EventTime,
    pub(super) failed: bool,
}

impl Standing {
    /// Where a run that goes on from `basis` begins.
    pub(crate) fn resume(basis: &Basis) -> Self {
        Standing {
            applied: 0,
            ended: basis.standing.ended,
            floor: basis.standing.floor.unwrap_or(EventTime::MIN),
            failed: false,
        }
    }

    /// What the source tells everyone behind it at the close of an epoch. Partitions that were added later than the
    /// epoch was written are to it as if they were not there.
    pub(super) fn advance(&self, readings: &[Reading], epoch: Epoch) -> Advance {
        let counted = || readings.iter().filter(|reading| reading.of.after < epoch);
        if counted().next().is_none() {
            return Advance::Absent;
        }
        let active = counted().filter(|reading| reading.status == Status::Active);
        let least = active.map(|reading| reading.cursor.stream_time.now()).min();
        let largest = counted()
            .map(|reading| reading.cursor.stream_time.now())
            .max();
        match (least, self.ended) {
            (Some(least), _) => Advance::Active(least.max(self.floor)),
            (None, Some(end)) => Advance::End(end),
            (None, None) => Advance::Idle(largest.unwrap_or(EventTime::MIN).max(self.floor)),
        }
    }
}
