//! How a start gets back to where the application had been, and what each part of that takes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::snapshot::SnapshotKeeper;

/// How a start got back to where the application had been.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The epoch of the snapshot that it began with, if there was one.
    pub snapshot: Option<u64>,
    /// Epochs of the log that were replayed behind it.
    pub epochs: u64,
    /// Records that those had read.
    pub records: u64,
    /// Until the log had fenced older instances and aborted what they had under way.
    pub fencing: Duration,
    /// Until the newest whole snapshot was found and verified, and the epoch log behind it read and checked.
    pub checking: Duration,
    /// Until the inputs were opened and the start entry was committed.
    pub announcing: Duration,
    /// Giving the state back to the operators, on the worker that took longest.
    pub loading: Duration,
    /// From the beginning of the start to the end of the replay: what the other parts do not account for is the replay
    /// itself.
    pub took: Duration,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.snapshot {
            Some(epoch) => write!(f, "snapshot of epoch {epoch}")?,
            None => write!(f, "no snapshot")?,
        }
        let Recovery {
            epochs, records, ..
        } = self;
        write!(
            f,
            ", {epochs} epochs with {records} records replayed, in {:.3} s",
            self.took.as_secs_f64()
        )
    }
}

/// A recovery under way.
pub(crate) struct Recovering {
    so_far: Recovery,
    begun: Instant,
    /// When the last part ended.
    lap: Instant,
    keeper: Option<Arc<SnapshotKeeper>>,
}

impl Recovering {
    /// Begins the start.
    pub(crate) fn begin() -> Self {
        let now = crate::clock::instant();
        Recovering {
            so_far: Recovery::default(),
            begun: now,
            lap: now,
            keeper: None,
        }
    }

    fn lap(&mut self) -> Duration {
        let before = std::mem::replace(&mut self.lap, crate::clock::instant());
        self.lap - before
    }

    /// Older instances are fenced.
    pub(crate) fn fenced(&mut self) {
        self.so_far.fencing = self.lap();
    }

    /// Snapshot and log are read.
    pub(crate) fn checked(&mut self) {
        self.so_far.checking = self.lap();
    }

    /// The start entry is committed.
    pub(crate) fn announced(&mut self) {
        self.so_far.announcing = self.lap();
    }

    /// So many epochs with so many records are to be replayed behind the state of epoch `basis`, which `keeper` gives
    /// back.
    pub(crate) fn behind(
        &mut self,
        basis: u64,
        (epochs, records): (u64, u64),
        keeper: &Arc<SnapshotKeeper>,
    ) {
        self.so_far.snapshot = (basis > 0).then_some(basis);
        self.so_far.epochs = epochs;
        self.so_far.records = records;
        self.keeper = Some(Arc::clone(keeper));
    }

    /// The replay is over.
    pub(crate) fn done(&self) -> Recovery {
        let loading = self.keeper.as_ref().map(|keeper| keeper.restored_in());
        Recovery {
            loading: loading.unwrap_or_default(),
            took: self.begun.elapsed(),
            ..self.so_far.clone()
        }
    }
}
