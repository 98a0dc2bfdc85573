//! The log itself: a directory, and what can be asked of it. It keeps no state of its own, so any number of
//! these, in any number of processes, say the same.

use std::path::PathBuf;

use super::catalog::Change;
use super::commits::{AppendError, Commits, lock_directory};
use super::disk;
use super::outputs::Outputs;
use super::reader::Reader;
use super::retention::remove_below;
use super::source::{EmbeddedSource, find};
use super::topic_file;
use super::transactions::EmbeddedTransactions;
use super::writer::PlainWriter;
use crate::connect::{
    Log, NewTopic, PartitionOffsets, Source, TopicDescription, TopicPartition, Transactions,
    Writer, epoch_topic, has_partitions,
};
use crate::error::LogError;

/// A partitioned log in a directory: see the [module](super).
#[derive(Clone, Debug)]
pub struct EmbeddedLog {
    /// `DIR/log`.
    directory: PathBuf,
    location: String,
    writable: bool,
}

impl EmbeddedLog {
    /// Opens the log in the data directory `dir`, as `dir/log`, and creates both if they are missing.
    ///
    /// # Errors
    /// The directory cannot be written, or holds topics and no commits file.
    pub fn open(dir: impl Into<PathBuf>) -> Result<EmbeddedLog, LogError> {
        let log = EmbeddedLog::new(dir.into(), true);
        if !log.directory.join("commits").exists() {
            std::fs::create_dir_all(&log.directory).map_err(disk::cannot_write(&log.directory))?;
            Commits::create_if_missing(&log.directory)?;
            let data = log
                .directory
                .parent()
                .expect("the log's directory lies in the data directory");
            disk::sync_directory(data)?;
        }
        log.checked()
    }

    /// Opens the log in the data directory `dir`, which must be there; whatever would write is refused.
    ///
    /// # Errors
    /// There is no log in this directory.
    pub fn open_read_only(dir: impl Into<PathBuf>) -> Result<EmbeddedLog, LogError> {
        let log = EmbeddedLog::new(dir.into(), false);
        if !Commits::expected(&log.directory)? {
            return Err(LogError::Refused(format!("there is no {}", log.location)));
        }
        log.checked()
    }

    fn new(dir: PathBuf, writable: bool) -> EmbeddedLog {
        let dir = if dir.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            dir
        };
        let location = format!("embedded log {}", dir.display());
        EmbeddedLog {
            directory: dir.join("log"),
            location,
            writable,
        }
    }

    fn checked(self) -> Result<EmbeddedLog, LogError> {
        self.commits()?;
        Ok(self)
    }

    fn commits(&self) -> Result<Commits, LogError> {
        Commits::open(&self.directory)
    }

    fn check_writable(&self) -> Result<(), LogError> {
        if self.writable {
            return Ok(());
        }
        Err(LogError::Refused(format!(
            "{} has been opened to read only",
            self.location
        )))
    }

    fn no_topic(&self, name: &str) -> LogError {
        LogError::NoTopic {
            topic: name.to_owned(),
            location: self.location.clone(),
        }
    }

    fn outputs(&self, names: &[String]) -> Result<Outputs, LogError> {
        self.check_writable()?;
        Outputs::open(&self.directory, &self.location, names)
    }
}

impl Log for EmbeddedLog {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn topics(&self) -> Result<Vec<String>, LogError> {
        Ok(self.commits()?.catalog().names())
    }

    fn topic(&self, name: &str) -> Result<Option<TopicDescription>, LogError> {
        let commits = self.commits()?;
        let Some((id, state)) = commits.catalog().named(name) else {
            return Ok(None);
        };
        let partitions = state
            .partitions
            .iter()
            .map(|extent| PartitionOffsets {
                first: extent.first,
                end: extent.end,
            })
            .collect();
        let described = topic_file::read(&self.directory, id, name)?;
        Ok(Some(TopicDescription {
            name: name.to_owned(),
            id: described.topic_id,
            partitions,
            config: described.config,
        }))
    }

    fn partitions(&self, name: &str) -> Result<Option<usize>, LogError> {
        let commits = self.commits()?;
        let named = commits.catalog().named(name);
        Ok(named.map(|(_, state)| state.partitions.len()))
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        self.check_writable()?;
        topic_file::check_new(topic)?;
        let _locked = lock_directory(&self.directory)?;
        let mut commits = Commits::open_to_append(&self.directory)?;
        if commits.catalog().named(&topic.name).is_some() {
            return Err(LogError::Refused(format!(
                "topic `{}` exists already in {}",
                topic.name, self.location
            )));
        }
        let id = commits.catalog().next_id();
        topic_file::create(&self.directory, id, topic)?;
        let change = Change::Create {
            id,
            name: topic.name.clone(),
            partitions: topic.partitions,
        };
        commits.append(change).map_err(AppendError::into_cause)
    }

    fn delete_topic(&self, name: &str) -> Result<(), LogError> {
        self.check_writable()?;
        let _locked = lock_directory(&self.directory)?;
        let mut commits = Commits::open_to_append(&self.directory)?;
        let (id, _) = commits
            .catalog()
            .named(name)
            .ok_or_else(|| self.no_topic(name))?;
        let _writer = topic_file::lock_writer(&self.directory, name)?;
        commits
            .append(Change::Delete { id })
            .map_err(AppendError::into_cause)?;
        disk::remove_directory(&self.directory.join(name))
    }

    fn add_partitions(&self, topic: &str, total: u32) -> Result<(), LogError> {
        self.check_writable()?;
        topic_file::check_partitions(topic, total)?;
        let _locked = lock_directory(&self.directory)?;
        let mut commits = Commits::open_to_append(&self.directory)?;
        let (id, state) = commits
            .catalog()
            .named(topic)
            .ok_or_else(|| self.no_topic(topic))?;
        let count = state.partitions.len() as u32;
        if total <= count {
            return Err(has_partitions(topic, count, total));
        }
        topic_file::add_partitions(&self.directory, topic, count..total)?;
        let change = Change::Grow {
            id,
            partitions: total,
        };
        commits.append(change).map_err(AppendError::into_cause)
    }

    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<(), LogError> {
        self.check_writable()?;
        let _locked = lock_directory(&self.directory)?;
        let mut commits = Commits::open_to_append(&self.directory)?;
        let (place, extent) = find(&self.directory, &self.location, &commits, partition)?;
        if before > extent.end {
            return Err(LogError::Beyond {
                partition: partition.clone(),
                wanted: before,
                end: extent.end,
            });
        }
        if before > extent.first {
            let change = Change::Trim {
                id: place.topic,
                partition: place.partition,
                first: before,
            };
            commits.append(change).map_err(AppendError::into_cause)?;
        }
        remove_below(&place, before.max(extent.first), extent.segment)
    }

    fn offset_for_time(
        &self,
        partition: &TopicPartition,
        timestamp: i64,
    ) -> Result<Option<i64>, LogError> {
        let (mut place, mut extent) =
            find(&self.directory, &self.location, &self.commits()?, partition)?;
        loop {
            let found = Reader::open(place, &extent, extent.first)
                .and_then(|mut reader| reader.find_time(&extent, timestamp));
            let now = find(&self.directory, &self.location, &self.commits()?, partition)?;
            // Records may have been deleted under the search.
            if found.is_ok() || now.1.first == extent.first {
                return found;
            }
            (place, extent) = now;
        }
    }

    fn source(
        &self,
        assignment: &[(TopicPartition, i64)],
        _memory: usize,
    ) -> Result<Box<dyn Source>, LogError> {
        // Nothing is read ahead of `poll`, so there is nothing for `_memory` to bound.
        Ok(Box::new(EmbeddedSource::open(
            &self.directory,
            &self.location,
            assignment,
        )?))
    }

    fn transactions(
        &self,
        application_id: &str,
        outputs: &[String],
    ) -> Result<Box<dyn Transactions>, LogError> {
        let wanted = epoch_topic(application_id);
        let epochs = wanted.name.clone();
        if self.topic(&epochs)?.is_none() {
            let created = self.create_topic(&wanted);
            // Another instance may have been faster; then its lock decides.
            if self.topic(&epochs)?.is_none() {
                created?;
            }
        }
        let mut names = outputs.to_vec();
        names.push(epochs.clone());
        let outputs = self.outputs(&names)?;
        Ok(Box::new(EmbeddedTransactions::new(
            outputs,
            self.directory.clone(),
            self.location.clone(),
            epochs,
        )))
    }

    fn writer(&self, topic: &str) -> Result<Box<dyn Writer>, LogError> {
        Ok(Box::new(PlainWriter::new(
            self.outputs(&[topic.to_owned()])?,
        )))
    }

    fn takes_nonpositive_timestamps(&self) -> bool {
        true
    }
}
