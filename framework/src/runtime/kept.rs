//! The snapshots of an application as a run uses them: found at its start, and kept while it
//! goes on.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use tiderace_operators::dataflow::Epoch;
use tracing::Dispatch;

use super::entry::Origin;
use super::worker::ToCommitter;
use crate::error::{LogError, RunError};
use crate::snapshot::{
    Loaded, LocalSnapshots, OnFailure, Settings, SnapshotKeeper, SnapshotStore, Snapshots, Step,
};
use crate::topology::Topology;

/// What a start finds.
pub(crate) struct Found {
    pub(crate) snapshots: Snapshots,
    pub(crate) loaded: Option<Loaded>,
}

/// Looks for the newest snapshot that is whole, in the state directory of an application; says which newer ones are
/// damaged.
///
/// # Errors
/// The directory is refused, cannot be read, or holds another application's or a newer version's snapshots.
pub(crate) fn find(state_dir: &Path, application_id: &str) -> Result<Found, RunError> {
    let store: Arc<dyn SnapshotStore> =
        Arc::new(LocalSnapshots::open(&state_dir.join("snapshots"))?);
    let snapshots = Snapshots::open(store, application_id)?;
    let found = snapshots.newest(Epoch::MAX)?;
    for warning in found.warnings {
        tracing::warn!(application = application_id, "{warning}");
    }
    Ok(Found {
        snapshots,
        loaded: found.loaded,
    })
}

/// As [`find`] while `fence` ends the last life of an application: the broker takes its time for that, and a snapshot,
/// every byte of which is checked, takes its own. Nobody writes snapshots by then: who has the lock of the state
/// directory is the only one who does, and has not begun.
///
/// # Errors
/// Those of `fence`, then those of [`find`].
///
/// # Panics
/// If either does, behind the end of both.
pub(crate) fn find_beside<T>(
    state_dir: &Path,
    application_id: &str,
    fence: impl FnOnce() -> Result<T, LogError>,
) -> Result<(T, Found), RunError> {
    // Whoever listens to this thread alone is to hear of damaged snapshots.
    let dispatch = tracing::dispatcher::get_default(Dispatch::clone);
    std::thread::scope(|scope| {
        let finding = std::thread::Builder::new()
            .name("tiderace-snapshots".into())
            .spawn_scoped(scope, || {
                tracing::dispatcher::with_default(&dispatch, || find(state_dir, application_id))
            })
            .map_err(|error| RunError::Bug(format!("no thread could be started: {error}")))?;
        let fenced = fence();
        let found = finding.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok((fenced?, found?))
    })
}

/// Deletes all snapshots in the state directory of an application, which are of what a reset has forgotten.
///
/// # Errors
/// The directory is refused, or cannot be read or written.
pub(crate) fn forget(state_dir: &Path) -> Result<(), RunError> {
    let directory = state_dir.join("snapshots");
    if !directory.exists() {
        return Ok(());
    }
    Ok(Snapshots::delete_all(&LocalSnapshots::open(&directory)?)?)
}

/// As [`find`] where all snapshots are of what a reset has forgotten: they are deleted, and nothing is found.
pub(crate) fn find_none(state_dir: &Path, application_id: &str) -> Result<Found, RunError> {
    tracing::info!(
        application = application_id,
        "the application was reset: deleting the snapshots of what it has forgotten"
    );
    forget(state_dir)?;
    find(state_dir, application_id)
}

/// Looks for the newest snapshot at or before an epoch that is whole; `None` if there is no directory of snapshots.
/// Only reads; another process may be writing there.
///
/// # Errors
/// As [`find`].
pub(crate) fn find_to_read(
    state_dir: &Path,
    application_id: &str,
    at_or_before: Epoch,
) -> Result<Option<Found>, RunError> {
    let directory = state_dir.join("snapshots");
    if !directory.exists() {
        return Ok(None);
    }
    let store: Arc<dyn SnapshotStore> = Arc::new(LocalSnapshots::open_to_read(&directory)?);
    let snapshots = Snapshots::open(store, application_id)?;
    let found = snapshots.newest(at_or_before)?;
    for warning in found.warnings {
        tracing::warn!(application = application_id, "{warning}");
    }
    Ok(Some(Found {
        snapshots,
        loaded: found.loaded,
    }))
}

/// Starts to keep snapshots behind what was found. When no more can be written the run fails: its state would outgrow
/// its last snapshot for ever.
pub(crate) fn keep(
    found: Found,
    topology: &Topology,
    origin: &Origin,
    workers: usize,
    to_committer: Sender<ToCommitter>,
) -> Result<Arc<SnapshotKeeper>, RunError> {
    let step = |step: crate::topology::StatefulStep| Step {
        node: step.node,
        name: step.name,
        description: step.state,
    };
    let settings = Settings {
        application_id: origin.application_id.clone(),
        topology: origin.topology.to_string(),
        origin: serde_json::to_value(origin).expect("entries hold nothing that JSON cannot"),
        shards: origin.shards,
        workers,
        steps: topology.stateful().into_iter().map(step).collect(),
    };
    let on_failure: OnFailure = Box::new(move |error| {
        // If the committer is gone the run has failed already, for an earlier reason.
        let _ = to_committer.send(ToCommitter::Failed(error.into()));
    });
    let keeper = SnapshotKeeper::start(found.snapshots, found.loaded, settings, on_failure)?;
    Ok(Arc::new(keeper))
}

/// What the newest whole snapshot in a state directory holds: each step's name and what its state is. `None` if there
/// is none. Only reads.
pub(crate) fn steps(
    state_dir: &Path,
    application_id: &str,
) -> Result<Option<BTreeMap<String, String>>, RunError> {
    let found = find_to_read(state_dir, application_id, Epoch::MAX)?;
    let steps = |loaded: Loaded| {
        let steps = loaded.manifest().steps.iter();
        let steps = steps.map(|step| (step.name.clone(), step.description.clone()));
        steps.collect()
    };
    Ok(found.and_then(|found| found.loaded).map(steps))
}
