//! Where the workers' sinks leave the runs of epochs that the committer takes.
//!
//! It is told of none: an epoch's are complete when every operator has passed it, which it is told, and with short epochs
//! each word more would wake its thread once more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tiderace_operators::dataflow::Epoch;

use super::merge::Runs;
use crate::topology::{FinishedRun, SinkRun};

/// The runs of epochs that the committer has not taken.
#[derive(Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<BTreeMap<Epoch, Runs>>>);

impl Outbox {
    fn runs(&self) -> MutexGuard<'_, BTreeMap<Epoch, Runs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves what a worker's sink made of an epoch: the sink's number among those of the plan, behind which comes that of
    /// the dead letters.
    pub(crate) fn put(&self, epoch: Epoch, sink: usize, worker: usize, run: SinkRun) {
        let run = FinishedRun::new(run);
        let runs = &mut *self.runs();
        let of_sink = runs.entry(epoch).or_default().entry(sink).or_default();
        of_sink.push((worker, run));
    }

    /// Takes what was made of an epoch that every operator has passed, the runs of a sink in the order of the workers.
    pub(crate) fn take(&self, epoch: Epoch) -> Runs {
        let mut runs = self.runs().remove(&epoch).unwrap_or_default();
        for of_sink in runs.values_mut() {
            of_sink.sort_by_key(|(worker, _)| *worker);
        }
        runs
    }
}
