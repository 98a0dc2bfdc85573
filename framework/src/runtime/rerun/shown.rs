//! Replayed epochs on their way to whoever looks at them.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tiderace_operators::dataflow::Epoch;

use crate::connect::SinkRecord;
use crate::error::RunError;
use crate::runtime::committed::Came;
use crate::runtime::merge::{Runs, merged};
use crate::runtime::report::Counts;

/// An epoch that was run again and came to what was committed.
pub struct ReplayedEpoch<'a> {
    /// Its number.
    pub epoch: Epoch,
    /// What became of the records it read.
    pub counts: Counts,
    /// Rows it read from the topics of tables.
    pub rows: u64,
    /// Windows that it closed.
    pub windows_closed: u64,
    sinks: &'a [String],
    runs: &'a Runs,
}

impl ReplayedEpoch<'_> {
    /// What it wrote, topic by topic: each partition's records in the order in which they lie there. A topic that has
    /// been given partitions since is shown as it would be written now.
    pub fn records(&self) -> impl Iterator<Item = SinkRecord<'_>> {
        merged(self.sinks, self.runs).flat_map(|(_, records)| records)
    }
}

/// Who is shown which epochs.
pub(crate) struct Shown {
    pub(super) epochs: RangeInclusive<Epoch>,
    pub(super) show: Show,
    /// Set when whoever looks has seen enough.
    pub(super) broken_off: Arc<AtomicBool>,
}

/// Looks at an epoch; breaks the replay off when it has seen enough.
pub(super) type Show = Box<dyn FnMut(&ReplayedEpoch<'_>) -> ControlFlow<()> + Send>;

impl Shown {
    /// Shows an epoch, if it is wanted.
    ///
    /// # Errors
    /// Whoever looks has seen enough, which ends the run.
    pub(crate) fn epoch(
        &mut self,
        epoch: Epoch,
        came: &Came,
        sinks: &[String],
        runs: &Runs,
    ) -> Result<(), RunError> {
        if !self.epochs.contains(&epoch) {
            return Ok(());
        }
        let replayed = ReplayedEpoch {
            epoch,
            counts: came.counts,
            rows: came.rows,
            windows_closed: came.windows_closed,
            sinks,
            runs,
        };
        match (self.show)(&replayed) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                self.broken_off.store(true, Ordering::SeqCst);
                Err(RunError::Refused("the replay was broken off".into()))
            }
        }
    }
}
