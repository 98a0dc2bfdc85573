//! Whether what an application has left is sound: its epoch log in itself, and its outputs against the log.
//!
//! Each part is a file with a function that adds what it finds to a [`Verdict`]; snapshots are to be one more.
//! Everything is read, nothing is written, and a running application is not disturbed: its epochs up to the moment
//! of the check are looked at.

mod entries;
mod outputs;
mod weaker;

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

/// Checks the epoch log of `application_id` and the topics it has written: that the entries' hashes chain, epochs are
/// consecutive, offsets grow and counts add up, and that the outputs are what the entries' digests say. Outputs that
/// a weaker guarantee has doubled or lost are told from others and are no fault.
///
/// # Errors
/// There is no such application, or the log cannot be read for another reason than damage, which is a finding.
pub fn check(log: &dyn Log, application_id: &str) -> Result<Verdict, LogError> {
    let mut verdict = Verdict::default();
    let read = EpochLogView::read(log, application_id);
    let Some(view) = verdict.note(read)? else {
        return Ok(verdict);
    };
    let history = entries::check(&view, &mut verdict);
    outputs::check(log, &view, &history, &mut verdict)?;
    Ok(verdict)
}
