//! Resetting an application: its state is forgotten, and the next start begins where it is told to.
//!
//! State is a fold of the inputs in the order of the epoch log, so an application is reset by an entry of that log
//! which says that nothing before it counts, and where to begin. That entry is committed in one transaction; it is the
//! moment of the reset, and everything else is clearing up:
//!
//! ```text
//! lock the state directory; fence whoever runs elsewhere; read what there is
//! commit the entry `reset`           before it: the old application; from it on: the new one
//! delete the snapshots               a start that finds some, older than a reset, deletes them
//! delete the entries before it       they are passed over where they are still there
//! ```
//!
//! The next start writes an entry 0 behind it, of whatever program it runs. Outputs stay as they are.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::failpoint;

use self::plan::Plan;
use super::entry::{self, Entry};
use super::epoch_log::{EpochLog, NEWER_INSTANCE, RESET, epoch_topic};
use super::epoch_view::EpochLogView;
use super::kept::forget;
use super::state_dir::StateDir;
use crate::config::Config;
use crate::connect::{Log, TopicPartition, Transactions};
use crate::error::RunError;
use crate::snapshot::{LocalSnapshots, Manifest, Snapshots};

/// Where an application that is reset begins to read. Tables begin with their first record, whatever is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartPoint {
    /// With the first record held at the next start.
    Beginning,
    /// With the first record of each partition that has this timestamp (milliseconds since 1970) or a later one, at the
    /// moment of the reset; behind its last record, if there is none.
    Time(i64),
    /// At these offsets. Partitions that are not named go on behind what was read of them.
    Offsets(BTreeMap<TopicPartition, i64>),
}

/// What a reset means for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The partition.
    pub partition: TopicPartition,
    /// Whether it is read into a table.
    pub table: bool,
    /// Up to which offset it was read, if the epoch log or a snapshot says so.
    pub before: Option<i64>,
    /// The offset at which it begins.
    pub after: i64,
}

/// A reset that has been looked at and not been carried out; dropped, it has changed nothing. It holds the lock of the
/// state directory.
pub struct Reset {
    log: Arc<dyn Log>,
    application_id: String,
    to: StartPoint,
    state: StateDir,
    plan: Plan,
    snapshots: usize,
}

impl Reset {
    /// Locks the state directory and says what a reset of an application would mean.
    ///
    /// # Errors
    /// There is no such application, it is running on this state directory, an offset lies outside of what is held or
    /// is no input's, or the log or the snapshots cannot be read.
    pub fn prepare(
        log: Arc<dyn Log>,
        config: &Config,
        application_id: &str,
        to: StartPoint,
    ) -> Result<Reset, RunError> {
        let view = EpochLogView::read(&*log, application_id)?;
        let state = StateDir::lock(&config.data_dir, application_id)?;
        let snapshots = snapshots(&state, application_id)?;
        let newest = snapshots.as_ref().and_then(Snapshots::newest_manifest);
        let plan = Plan::of(&*log, &view, newest, &to)?;
        Ok(Reset {
            log,
            application_id: application_id.to_owned(),
            to,
            plan,
            snapshots: snapshots.map_or(0, |of| of.epochs().len()),
            state,
        })
    }

    /// The last epoch, which would be forgotten with those before it; 0 if there is none.
    pub fn last_epoch(&self) -> Epoch {
        self.plan.last_epoch
    }

    /// How many snapshots would be deleted.
    pub fn snapshots(&self) -> usize {
        self.snapshots
    }

    /// What becomes of each partition of the inputs, as far as they are known: by topic, then partition.
    pub fn moves(&self) -> &[Move] {
        &self.plan.moves
    }

    /// Forgets. Whoever runs the application elsewhere on the same cluster is fenced, finds the reset in the epoch log
    /// and ends.
    ///
    /// # Errors
    /// The log cannot be read or written; then nothing is forgotten, unless the error says that it stays in doubt.
    /// When this returns without an error the application is reset: what could not be deleted is warned of, and the
    /// next start does not look at it.
    pub fn carry_out(self) -> Result<(), RunError> {
        let transactions = self.log.transactions(&self.application_id, &[])?;
        #[cfg(feature = "failpoints")]
        let transactions = super::commit_points::CommitPoints::over(transactions)?;
        let mut transactions = transactions;
        // Until it was fenced, an instance elsewhere may have gone on.
        let view = EpochLogView::read(&*self.log, &self.application_id)?;
        let snapshots = snapshots(&self.state, &self.application_id)?;
        let newest = snapshots.as_ref().and_then(Snapshots::newest_manifest);
        let plan = Plan::of(&*self.log, &view, newest, &self.to)?;
        let last = view.entries().last();
        let reset = entry::Reset {
            application_id: self.application_id.clone(),
            forgets: plan.last_epoch,
            begins: plan.begins,
            from_time: match self.to {
                StartPoint::Time(time) => Some(time),
                StartPoint::Beginning | StartPoint::Offsets(_) => None,
            },
            previous: last.map_or_else(String::new, |last| entry::hash(&last.json)),
        };
        let mut epoch_log = EpochLog {
            transactions: &mut *transactions,
            application_id: &self.application_id,
            incarnation: RESET,
            end: last.map_or(0, |last| last.offset + 1),
            newer_instance: NEWER_INSTANCE,
        };
        epoch_log.write(0, &Entry::Reset(reset).to_bytes())?;
        failpoint!(crate::failpoint::P28_RESET_COMMITTED);
        if let Err(error) = forget(self.state.path()) {
            tracing::warn!(%error, "snapshots are left of what was forgotten; the next start deletes them");
        }
        if let Err(error) = self.trim(&mut *transactions) {
            tracing::warn!(
                error,
                "entries are left of what was forgotten; they do not count"
            );
        }
        Ok(())
    }

    /// Deletes the entries before that of the reset, which these transactions have committed.
    fn trim(&self, transactions: &mut dyn Transactions) -> Result<(), String> {
        failpoint!(crate::failpoint::P28_TRIMMING, Err);
        let offset = transactions.entry_offset(0).map_err(|e| e.to_string())?;
        if let Some(offset) = offset {
            let epochs = TopicPartition::new(epoch_topic(&self.application_id), 0);
            let deleted = self.log.delete_records(&epochs, offset);
            deleted.map_err(|e| e.to_string())?;
        }
        failpoint!(crate::failpoint::P28_TRIMMED, Err);
        Ok(())
    }
}

/// The snapshots in a state directory, if there is a directory of them. Their files are not read.
fn snapshots(state: &StateDir, application_id: &str) -> Result<Option<Snapshots>, RunError> {
    let directory = state.path().join("snapshots");
    if !directory.exists() {
        return Ok(None);
    }
    let store = Arc::new(LocalSnapshots::open_to_read(&directory)?);
    Ok(Some(Snapshots::open(store, application_id)?))
}

/// What a manifest says of inputs, unless a reset has forgotten it.
fn counts<'a>(view: &EpochLogView, manifest: Option<&'a Manifest>) -> Option<&'a Manifest> {
    manifest.filter(|it| !view.has_forgotten(&it.log))
}
