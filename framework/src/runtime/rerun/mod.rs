//! Running logged epochs again, for those who want to know what an application saw and what it said.
//!
//! The nearest snapshot before the epochs is loaded, the logged epochs behind it are replayed as a start would, and
//! the outputs of those that are wanted are shown instead of sent, once their digests are what the log has. Behind
//! the last one wanted nothing is read.
//! Nobody is fenced, nothing is locked and nothing written: the application may run meanwhile.

mod gaps;
mod nothing;
mod run;
mod shown;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tiderace_operators::dataflow::Epoch;

pub use self::shown::ReplayedEpoch;
pub(crate) use self::shown::Shown;
use super::entry::hash;
use super::epoch_view::{EpochLogView, LoggedEntry};
use super::kept::{Found, find_to_read};
use super::recover::{Kept, Recovered, retrace};
use crate::config::Config;
use crate::connect::{EpochRecord, Log};
use crate::error::RunError;
use crate::snapshot::Manifest;

/// Logged epochs, ready to be run again: see [`Engine::replay`](super::Engine::replay).
pub struct Replay {
    log: Arc<dyn Log>,
    config: Config,
    application_id: String,
    epochs: RangeInclusive<Epoch>,
    /// The snapshots, if one of them is what the replay begins with.
    found: Option<Found>,
    recovered: Recovered,
}

impl Replay {
    /// Looks for what it takes to run these epochs of an application again: the nearest snapshot before them in the
    /// state directory, or else the log's beginning, and the entries up to the last of them.
    ///
    /// # Errors
    /// [`RunError::Refused`] if the log has no such epochs; [`RunError::Gone`] if it does not reach back to where the
    /// replay would have to begin; the log or the snapshots cannot be read.
    pub fn open(
        log: Arc<dyn Log>,
        config: &Config,
        application_id: &str,
        epochs: RangeInclusive<Epoch>,
    ) -> Result<Replay, RunError> {
        let view = EpochLogView::read(&*log, application_id)?;
        check_range(&view, &epochs)?;
        let (from, to) = (*epochs.start(), *epochs.end());
        let state_dir = config.data_dir.join("state").join(application_id);
        let mut found = find_to_read(&state_dir, application_id, from - 1)?;
        let forgotten = |found: &Found| {
            let loaded = found.loaded.as_ref();
            loaded.is_some_and(|it| view.has_forgotten(&it.manifest().log))
        };
        found = found.filter(|found| !forgotten(found));
        let manifest = || found.as_ref()?.loaded.as_ref().map(|it| it.manifest());
        let kept = manifest().map(Kept::of).transpose()?;
        let entries = entries(&view, to, manifest());
        if let Some(gone) = gaps::of_log(&view, &epochs, found.as_ref(), &entries) {
            return Err(gone);
        }
        if kept.is_none() {
            found = None;
        }
        let recovered = retrace(entries, application_id, kept)?;
        Ok(Replay {
            log,
            config: config.clone(),
            application_id: application_id.to_owned(),
            epochs,
            found,
            recovered,
        })
    }

    /// The parameters of the program that wrote the epochs, by name.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.recovered.origin().parameters
    }

    /// The epoch of the snapshot that the replay begins with; `None` if it begins with the first epoch.
    pub fn snapshot(&self) -> Option<Epoch> {
        let epoch = self.recovered.basis.epoch;
        (epoch > 0).then_some(epoch)
    }

    /// The epochs that are shown.
    pub fn epochs(&self) -> RangeInclusive<Epoch> {
        self.epochs.clone()
    }
}

/// The log must have these epochs.
fn check_range(view: &EpochLogView, epochs: &RangeInclusive<Epoch>) -> Result<(), RunError> {
    let (from, to) = (*epochs.start(), *epochs.end());
    let committed = view.committed();
    let application_id = view.application_id();
    let refuse = |why: String| {
        Err(RunError::Refused(format!(
            "epochs {from} to {to} of `{application_id}` cannot be replayed: {why}"
        )))
    };
    let Some((last, _)) = committed.last() else {
        return refuse("no epoch has been committed".into());
    };
    if from == 0 {
        return refuse("epochs count from 1".into());
    }
    if from > to {
        return refuse("the last one lies before the first".into());
    }
    if to > *last {
        return refuse(format!("epoch {last} is the last one committed"));
    }
    if !committed.iter().any(|(epoch, _)| *epoch == to) {
        let first = committed.first().map_or(0, |(epoch, _)| *epoch);
        return refuse(format!(
            "the first epoch that the epoch log holds is {first}: older entries are deleted"
        ));
    }
    Ok(())
}

/// The entries up to that of epoch `to`, from where the snapshot says.
fn entries(view: &EpochLogView, to: Epoch, snapshot: Option<&Manifest>) -> Vec<EpochRecord> {
    let from = snapshot.map_or(0, |manifest| manifest.log.offset);
    let is_last = |logged: &LoggedEntry| logged.epoch == Some(to) && logged.is_epoch();
    let behind = view.current().iter().rposition(is_last);
    let held = &view.current()[..behind.map_or(0, |last| last + 1)];
    let wanted = held.iter().filter(|logged| logged.offset >= from);
    let record = |logged: &LoggedEntry| EpochRecord {
        offset: logged.offset,
        epoch: logged.epoch.unwrap_or_default(),
        value: logged.json.clone(),
    };
    wanted.map(record).collect()
}

/// Whether these entries go on from the one with this hash.
fn go_on(entries: &[EpochRecord], from: &str) -> bool {
    let mut hashes = entries.iter().map(|record| hash(&record.value));
    let follows = |first: &EpochRecord| {
        let entry = serde_json::from_slice::<super::entry::Entry>(&first.value);
        entry.is_ok_and(|entry| entry.previous() == from)
    };
    entries.first().is_some_and(follows) || hashes.any(|hash| hash == from)
}
