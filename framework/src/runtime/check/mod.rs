//! Whether what an application has left is sound: its epoch log in itself, and its outputs, its snapshots and, if they
//! are asked for, its inputs against the log.
//!
//! Each part is a file with a function that adds what it finds to a [`Verdict`].
//! Everything is read, nothing is written, and a running application is not disturbed: its epochs up to the moment
//! of the check are looked at. Snapshots are listed before the log is read: the entry of each is committed by then.

mod entries;
mod inputs;
mod outputs;
mod snapshots;
mod weaker;

use std::path::Path;

use self::entries::History;
use super::epoch_view::EpochLogView;
use crate::connect::Log;
use crate::error::LogError;

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Entries of the epoch log that were read.
    pub entries: u64,
    /// The first epoch whose entry is held, 0 if there is none.
    pub first_epoch: u64,
    /// The last committed epoch, 0 before the first.
    pub last_epoch: u64,
    /// Output records that were compared with their epochs' digests.
    pub records: u64,
    /// Input records that were counted between where epochs began and where they ended; `None` if inputs were not
    /// looked at.
    pub input_records: Option<u64>,
    /// Snapshots in the state directory of which every byte is as it was written.
    pub snapshots: u64,
    /// The epoch of the newest of them.
    pub newest_snapshot: Option<u64>,
    /// What is no longer held and so could not be checked; a sentence each.
    pub gaps: Vec<String>,
    /// What became of outputs under a weaker guarantee than exactly once, and is no fault; a sentence each.
    pub allowed: Vec<String>,
    /// What is wrong; a sentence each that says where.
    pub faults: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// Damage is a finding; a log that cannot be read for another reason ends the check.
    fn note<T>(&mut self, result: Result<T, LogError>) -> Result<Option<T>, LogError> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(damage @ LogError::Damaged { .. }) => {
                self.faults.push(damage.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Checks the epoch log of `application_id`, the topics it has written and the snapshots in its state directory under
/// `data_dir`: that the entries' hashes chain, epochs are consecutive, offsets grow and counts add up; that the outputs
/// are what the entries' digests say; that each snapshot is whole and of an epoch that the log has. That there are no
/// snapshots is no fault: they may lie on another machine. Outputs that a weaker guarantee has doubled or lost are told
/// from others and are no fault.
///
/// # Errors
/// There is no such application, or the log or the directory cannot be read for another reason than damage, which is
/// a finding.
pub fn check(log: &dyn Log, data_dir: &Path, application_id: &str) -> Result<Verdict, LogError> {
    let mut verdict = Verdict::default();
    look(log, data_dir, application_id, &mut verdict)?;
    Ok(verdict)
}

/// As [`check`]; and reads the inputs once more, as far as the epochs did, which may take long: that there are as many
/// committed records between where an epoch began and where it ended as its entry says it read. More are records that
/// were skipped, a fault always. Fewer are none where records were deleted, or the topic is compacted; nor is a topic
/// that is gone, or was created anew.
///
/// # Errors
/// As [`check`]; an input cannot be read for another reason than damage.
pub fn check_with_inputs(
    log: &dyn Log,
    data_dir: &Path,
    application_id: &str,
) -> Result<Verdict, LogError> {
    let mut verdict = Verdict::default();
    let history = look(log, data_dir, application_id, &mut verdict)?;
    inputs::check(log, &history, &mut verdict)?;
    Ok(verdict)
}

/// Checks all but the inputs, and returns what the entries say: nothing, if the epoch log is damaged.
fn look(
    log: &dyn Log,
    data_dir: &Path,
    application_id: &str,
    verdict: &mut Verdict,
) -> Result<History, LogError> {
    let state_dir = data_dir.join("state").join(application_id);
    let found = snapshots::check(&state_dir, application_id, verdict)?;
    let read = EpochLogView::read(log, application_id);
    let Some(view) = verdict.note(read)? else {
        return Ok(History::default());
    };
    let mut history = entries::check(&view, verdict);
    snapshots::compare(&found, &view, &history, verdict);
    outputs::check(log, &view, &history, verdict)?;
    for inputs in snapshots::inputs(&found, &view) {
        history.know(&inputs);
    }
    Ok(history)
}
