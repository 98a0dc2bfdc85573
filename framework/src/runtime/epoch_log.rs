//! The topic of an application's epoch log: entries that are committed by themselves, and who wrote the last ones.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tiderace_operators::dataflow::Epoch;

use super::clock::Clock;
use super::entry::{Entry, hash};
use crate::connect::{EpochRecord, SinkRecord, TransactionError, Transactions};
use crate::error::{LogError, RunError};

/// How often an entry is tried again when it is in doubt.
const TRIES: u32 = 5;

/// What stands for the incarnation where an application was reset.
pub(crate) const RESET: &str = "reset";

/// How long a fenced instance looks for the start entry of a newer one.
pub(crate) const NEWER_INSTANCE: Duration = Duration::from_secs(5);

/// How often the log is read while a newer instance's start entry is waited for.
const AGAIN: Duration = Duration::from_millis(100);

/// The name of the topic.
pub(crate) fn epoch_topic(application_id: &str) -> String {
    format!("{application_id}-epochs")
}

/// An entry as a record of the topic; `key` is its epoch, big-endian.
pub(crate) fn entry_record<'a>(topic: &'a str, key: &'a [u8], entry: &'a [u8]) -> SinkRecord<'a> {
    SinkRecord {
        topic,
        partition: 0,
        timestamp: Clock::system().wall_millis(),
        key: Some(key),
        value: Some(entry),
        headers: &[],
    }
}

/// The epoch log as one incarnation sees it.
pub(crate) struct EpochLog<'a> {
    pub(crate) transactions: &'a mut dyn Transactions,
    pub(crate) application_id: &'a str,
    pub(crate) incarnation: &'a str,
    /// Offset behind the entries that were there when this incarnation started.
    pub(crate) end: i64,
    /// How long one that was fenced waits for the start entry of whoever fenced it.
    pub(crate) newer_instance: Duration,
}

/// What lies where an entry belongs.
enum Place {
    There,
    Free,
    Taken,
}

impl EpochLog<'_> {
    /// Commits an entry by itself: entry 0 and start entries. In doubt, the log says whether it is there. Who was fenced
    /// looks for a newer instance first, and goes on once if there is none: the broker may have given the transaction up.
    pub(crate) fn write(&mut self, epoch: Epoch, entry: &[u8]) -> Result<(), RunError> {
        let mut outcome = self.try_write(epoch, entry);
        let mut fenced = false;
        for _ in 0..TRIES {
            let reason = match outcome {
                Err(TransactionError::Doubt(reason)) => reason,
                // Read before any new producer is made: that would fence whoever fenced this one.
                Err(TransactionError::Fenced(reason)) if !std::mem::replace(&mut fenced, true) => {
                    self.superseded()?;
                    reason
                }
                outcome => return outcome.map_err(failed),
            };
            tracing::warn!(
                reason,
                "an entry of the epoch log is in doubt: making new producers"
            );
            outcome = match self.look_for(entry) {
                Ok(Place::Taken) => {
                    return Err(RunError::Fenced(
                        "another instance has written to the epoch log meanwhile".into(),
                    ));
                }
                Ok(Place::There) => Ok(()),
                Ok(Place::Free) => self.try_write(epoch, entry),
                Err(error) => Err(error),
            };
        }
        outcome.map_err(failed)
    }

    fn try_write(&mut self, epoch: Epoch, entry: &[u8]) -> Result<(), TransactionError> {
        let topic = epoch_topic(self.application_id);
        self.transactions.begin(0)?;
        self.transactions
            .send(0, &entry_record(&topic, &epoch.to_be_bytes(), entry))?;
        self.transactions.flush(0)?;
        self.transactions.commit(0)?;
        self.transactions.confirm(0)
    }

    /// Makes new producers and looks for an entry whose writing is in doubt. Another instance that has read the log
    /// meanwhile goes on behind what it has read, so anything else behind the entry's place takes it.
    fn look_for(&mut self, entry: &[u8]) -> Result<Place, TransactionError> {
        self.transactions.renew()?;
        let (entries, _) = self.behind()?;
        Ok(match entries.last() {
            Some(last) if last.value == entry => Place::There,
            Some(last) if hash(&last.value) != previous(entry) => Place::Taken,
            _ => Place::Free,
        })
    }

    /// The incarnation of another instance that started in these entries, if there is one; [`RESET`] if the application
    /// was reset.
    pub(crate) fn newer(&self, entries: &[EpochRecord]) -> Option<String> {
        entries.iter().find_map(
            |record| match serde_json::from_slice::<Entry>(&record.value) {
                Ok(Entry::Start(start)) if start.incarnation != self.incarnation => {
                    Some(start.incarnation)
                }
                // Whoever resets knows its own entry by its bytes.
                Ok(Entry::Reset(_)) if self.incarnation != RESET => Some(RESET.to_owned()),
                _ => None,
            },
        )
    }

    /// The entries behind those that were there when this incarnation started, and the incarnation of another instance
    /// among them. One that has deleted entries which this one does not know is another one, too.
    pub(crate) fn behind(
        &mut self,
    ) -> Result<(Vec<EpochRecord>, Option<String>), TransactionError> {
        match self.transactions.read_epochs(self.end) {
            Err(TransactionError::Failed(LogError::Gone { .. })) => {
                let entries = self.transactions.read_epochs(0)?;
                let newer = self.newer(&entries).unwrap_or_else(|| "unknown".to_owned());
                Ok((entries, Some(newer)))
            }
            read => {
                let entries = read?;
                let newer = self.newer(&entries);
                Ok((entries, newer))
            }
        }
    }

    /// For one that was fenced: fails if a newer incarnation has written its start entry, for which it waits a
    /// moment, since it is written right after the fencing.
    pub(crate) fn superseded(&mut self) -> Result<(), RunError> {
        let until = crate::clock::instant() + self.newer_instance;
        loop {
            let (_, newer) = self.behind().map_err(failed)?;
            if let Some(incarnation) = newer {
                let what = taken_over(self.application_id, &incarnation);
                return Err(RunError::Fenced(format!(
                    "{what}; this one has committed nothing since"
                )));
            }
            if crate::clock::instant() >= until {
                return Ok(());
            }
            std::thread::park_timeout(AGAIN);
        }
    }
}

/// Says who has fenced an instance.
pub(crate) fn taken_over(application_id: &str, incarnation: &str) -> String {
    if incarnation == RESET {
        return format!("`{application_id}` has been reset");
    }
    format!("a newer instance of `{application_id}` (incarnation {incarnation}) has taken over")
}

/// The hash by which an entry of this version names the one before it.
fn previous(entry: &[u8]) -> String {
    let entry: Entry =
        serde_json::from_slice(entry).expect("what is written was made by this version");
    entry.previous().to_owned()
}

/// An error of a step outside an epoch's commit.
pub(crate) fn failed(error: TransactionError) -> RunError {
    match error {
        TransactionError::Failed(error) => error.into(),
        TransactionError::Fenced(reason) => RunError::Fenced(format!("fenced: {reason}")),
        TransactionError::Doubt(reason) => {
            RunError::InDoubt(format!("the log does not answer: {reason}"))
        }
    }
}
