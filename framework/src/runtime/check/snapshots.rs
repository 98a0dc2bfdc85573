//! The snapshots: every byte of their files, and that each is of an epoch as the log has it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::Verdict;
use super::entries::History;
use crate::error::LogError;
use crate::runtime::entry::{self, Input, Origin};
use crate::runtime::epoch_view::EpochLogView;
use crate::snapshot::{Checked, LocalSnapshots, Manifest, SnapshotError, SnapshotStore, Snapshots};

/// A snapshot that is whole: where its manifest lies, and what it says.
pub(super) struct Whole {
    file: String,
    manifest: Manifest,
}

/// Reads every file of every snapshot in a state directory, and returns the snapshots that are whole.
pub(super) fn check(
    state_dir: &Path,
    application_id: &str,
    verdict: &mut Verdict,
) -> Result<Vec<Whole>, LogError> {
    let directory = state_dir.join("snapshots");
    if std::fs::symlink_metadata(&directory).is_err() {
        return Ok(Vec::new());
    }
    let checked = match read(&directory, application_id) {
        Ok(checked) => checked,
        Err(SnapshotError::Unreadable { object, source }) => {
            return Err(LogError::CannotRead {
                file: object,
                source,
            });
        }
        Err(error) => {
            verdict.faults.push(error.to_string());
            return Ok(Vec::new());
        }
    };
    let mut whole = Vec::new();
    let mut broken: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for of in checked {
        match of.outcome {
            Ok(manifest) => whole.push(Whole {
                file: directory.join(of.name).display().to_string(),
                manifest,
            }),
            Err(reason) => broken.entry(reason).or_default().push(of.epoch),
        }
    }
    for (reason, epochs) in broken {
        let epochs: Vec<_> = epochs.iter().rev().map(u64::to_string).collect();
        let epochs = epochs.join(", ");
        let fault = format!("{reason}; no start can use a snapshot that needs it (epoch {epochs})");
        verdict.faults.push(fault);
    }
    verdict.snapshots = whole.len() as u64;
    verdict.newest_snapshot = whole.iter().map(|of| of.manifest.epoch).max();
    Ok(whole)
}

fn read(directory: &Path, application_id: &str) -> Result<Vec<Checked>, SnapshotError> {
    let store: Arc<dyn SnapshotStore> = Arc::new(LocalSnapshots::open_to_read(directory)?);
    Snapshots::open(store, application_id)?.check()
}

/// Compares snapshots with the epoch log, which was read after they were listed.
pub(super) fn compare(
    snapshots: &[Whole],
    view: &EpochLogView,
    history: &History,
    verdict: &mut Verdict,
) {
    if snapshots.is_empty() {
        return;
    }
    let entries = view.entries().iter();
    let by_hash: BTreeMap<String, _> = entries
        .map(|logged| (entry::hash(&logged.json), logged))
        .collect();
    let first = view.entries().first().and_then(|first| first.entry().ok());
    let last = verdict.last_epoch;
    for Whole { file, manifest } in snapshots {
        let epoch = manifest.epoch;
        if view.has_forgotten(&manifest.log) {
            verdict.gaps.push(format!(
                "{file}: of epoch {epoch}, which a reset has forgotten; the next start deletes it"
            ));
            continue;
        }
        let mut fault = |what: String| verdict.faults.push(format!("{file}: {what}"));
        match by_hash.get(&manifest.log.hash) {
            Some(logged) if logged.epoch != Some(epoch) => fault(format!(
                "a snapshot of epoch {epoch} that names the epoch log's entry at offset {}, which is not of that epoch",
                logged.offset
            )),
            // It may name a place before the entry, from which a start reads on.
            Some(logged) if logged.offset + 1 < manifest.log.offset => fault(format!(
                "a snapshot of epoch {epoch} whose entry ends at offset {} of the epoch log, not at {}",
                logged.offset + 1,
                manifest.log.offset
            )),
            Some(_) => {}
            None if epoch > last => fault(format!(
                "a snapshot of epoch {epoch}, and the epoch log ends with epoch {last}: the log has lost entries, or it \
                 is another one"
            )),
            None if history.epochs.iter().any(|of| of.epoch == epoch) => fault(format!(
                "a snapshot of an epoch {epoch} whose entry is another one than the epoch log has"
            )),
            // The log may begin right behind it.
            None if first
                .as_ref()
                .is_some_and(|first| first.previous() == manifest.log.hash) => {}
            None => verdict.gaps.push(format!(
                "{file}: whole, but the epoch log does not reach back to its epoch {epoch} any more"
            )),
        }
    }
}

/// The inputs as snapshots know them, whose entry 0 may no longer be held; without those that a reset has forgotten.
pub(super) fn inputs(snapshots: &[Whole], view: &EpochLogView) -> impl Iterator<Item = Vec<Input>> {
    let manifests = snapshots.iter().map(|of| &of.manifest);
    let known = manifests.filter(|manifest| !view.has_forgotten(&manifest.log));
    known.filter_map(|manifest| {
        let origin = serde_json::from_value::<Origin>(manifest.origin.clone());
        origin.ok().map(|origin| origin.inputs)
    })
}
