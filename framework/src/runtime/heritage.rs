//! What one life of a run leaves to the next.

use super::epoch_log::taken_over;
use super::poison::Poison;
use super::recover::Recovered;
use super::report::SharedProgress;
use crate::error::RunError;

/// What goes from life to life.
#[derive(Default)]
pub(super) struct Heritage {
    /// Live figures, over all lives.
    pub(super) progress: SharedProgress,
    /// Records to be rejected.
    pub(super) poison: Poison,
    /// Offset behind the entries of the epoch log that stood there before the first life.
    since: Option<i64>,
    /// The incarnations of the lives so far.
    own: Vec<String>,
}

impl Heritage {
    /// Notes that a life goes on, as `incarnation`, from what it has recovered.
    ///
    /// # Errors
    /// Another instance has started since the first life did: it was meant to take over, and a restart that nobody
    /// asked for must not fence it in turn. It takes the fence that this start has raised for a time-out, once.
    pub(super) fn live_on(
        &mut self,
        recovered: &Recovered,
        application_id: &str,
        incarnation: &str,
    ) -> Result<(), RunError> {
        let since = *self.since.get_or_insert(recovered.log_end);
        if let Some(newer) = recovered.foreign_start(since, &self.own) {
            let what = taken_over(application_id, newer);
            return Err(RunError::Fenced(format!(
                "{what} while this one was restarting; this one has committed nothing since"
            )));
        }
        self.own.push(incarnation.to_owned());
        Ok(())
    }
}
