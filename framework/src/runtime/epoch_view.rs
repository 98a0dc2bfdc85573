//! The epoch log of an application for those who only look: nobody is fenced, nothing is written.

use super::entry::{self, Entry};
use super::epoch_log::epoch_topic;
use super::scan::scan;
use crate::connect::{Log, TopicPartition};
use crate::error::LogError;
use crate::snapshot::LogPlace;

/// The committed entries of an application's epoch log as they lie there, sound or not; `tiderace check` tells.
#[derive(Clone, Debug)]
pub struct EpochLogView {
    application_id: String,
    entries: Vec<LoggedEntry>,
    /// Whether the log begins with the application's first entry.
    whole: bool,
}

/// An entry of an epoch log.
#[derive(Clone, Debug)]
pub struct LoggedEntry {
    /// Its offset in the epoch log's topic.
    pub offset: i64,
    /// The epoch under which it was written, from the record's key; `None` if that is no epoch. Entry 0 has 0, a
    /// start entry the last epoch before it.
    pub epoch: Option<u64>,
    /// When its commit was begun, in milliseconds since 1970, by the clock of the machine that wrote it.
    pub committed_at: i64,
    /// The entry as it was written: JSON, unless the log is damaged.
    pub json: Vec<u8>,
}

impl EpochLogView {
    /// Reads the epoch log of `application_id` up to its end.
    ///
    /// # Errors
    /// There is no such log, it cannot be reached, or its topic is damaged.
    pub fn read(log: &dyn Log, application_id: &str) -> Result<EpochLogView, LogError> {
        let topic = epoch_topic(application_id);
        let Some(found) = log.topic(&topic)? else {
            return Err(LogError::Refused(format!(
                "no application `{application_id}` has run on {}: there is no topic `{topic}`",
                log.location()
            )));
        };
        let mut entries = Vec::new();
        if let Some(held) = found.partitions.first() {
            scan(
                log,
                &TopicPartition::new(topic, 0),
                *held,
                |batch, index| {
                    let record = batch.get(index);
                    let epoch = record.key.and_then(|key| key.try_into().ok());
                    entries.push(LoggedEntry {
                        offset: record.offset,
                        epoch: epoch.map(u64::from_be_bytes),
                        committed_at: record.timestamp,
                        json: record.value.unwrap_or_default().to_vec(),
                    });
                },
            )?;
        }
        Ok(EpochLogView {
            application_id: application_id.to_owned(),
            whole: found.partitions.first().is_some_and(|held| held.first == 0)
                || entries.first().is_some_and(LoggedEntry::begins_anew),
            entries,
        })
    }

    /// The application.
    pub fn application_id(&self) -> &str {
        &self.application_id
    }

    /// Its entries, oldest first.
    pub fn entries(&self) -> &[LoggedEntry] {
        &self.entries
    }

    /// The entries that count: those from the last reset on.
    pub(crate) fn current(&self) -> &[LoggedEntry] {
        let is_reset = |logged: &LoggedEntry| matches!(logged.at_zero(), Some(Entry::Reset(_)));
        let reset = self.entries.iter().rposition(is_reset);
        &self.entries[reset.unwrap_or(0)..]
    }

    /// Whether a snapshot that names this place in the log is of what a reset has forgotten. Its offset may lie before
    /// the entry of its epoch, before entry 0 even; the entry's hash tells.
    pub(crate) fn has_forgotten(&self, place: &LogPlace) -> bool {
        let anew = self.entries.iter().rposition(|logged| logged.begins_anew());
        anew.is_some_and(|anew| {
            let mut behind = self.entries[anew..].iter();
            place.offset <= self.entries[anew].offset
                && !behind.any(|logged| entry::hash(&logged.json) == place.hash)
        })
    }

    /// The epochs that were committed, oldest first, each with the time of its commit in milliseconds since 1970.
    pub fn committed(&self) -> Vec<(u64, i64)> {
        let entries = self.current().iter().filter(|logged| logged.is_epoch());
        let committed = entries.filter_map(|logged| Some((logged.epoch?, logged.committed_at)));
        committed.collect()
    }

    /// Whether the log begins with the application's first entry; older ones are deleted after a while.
    pub fn is_whole(&self) -> bool {
        self.whole
    }
}

impl LoggedEntry {
    /// Whether the application begins with it.
    fn begins_anew(&self) -> bool {
        self.at_zero().is_some_and(|entry| entry.begins_anew())
    }

    /// The entry, if its key says that it may be one without an epoch.
    fn at_zero(&self) -> Option<Entry> {
        (self.epoch == Some(0)).then(|| self.entry().ok())?
    }

    /// Whether it is a committed epoch's, as far as can be told.
    pub(crate) fn is_epoch(&self) -> bool {
        matches!(self.entry(), Ok(Entry::Epoch(_)))
    }

    /// The entry, if this version can read it.
    pub(crate) fn entry(&self) -> Result<Entry, String> {
        serde_json::from_slice(&self.json).map_err(|error| error.to_string())
    }
}
