//! Topics that one writer holds together: it adds records, syncs them, and makes them all visible with one
//! commit record. The plain writer and the transactions are this with different manners.

use std::path::Path;
use std::thread;

use super::batch::record_length;
use super::catalog::Change;
use super::commits::{AppendError, Commits};
use super::partition_writer::PartitionWriter;
use super::segment::Place;
use super::topic_file;
use crate::connect::SinkRecord;
use crate::error::LogError;
use crate::lock_file::LockFile;

/// Files that are synced at the same time: the disk then serves them in one go.
const SYNCS_AT_ONCE: usize = 8;

struct Output {
    name: String,
    id: u64,
    max_message_bytes: usize,
    partitions: Vec<PartitionWriter>,
    _lock: LockFile,
}

/// Where a record went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added {
    /// Bytes that it takes.
    pub(super) bytes: usize,
    /// The offset that it has once it is committed.
    pub(super) offset: i64,
}

/// The topics with their locks.
pub(super) struct Outputs {
    commits: Commits,
    topics: Vec<Output>,
    /// Index of the topic written last: mostly it is written next.
    last: usize,
    location: String,
}

impl Outputs {
    /// Locks these topics and cuts their torn tails off.
    pub(super) fn open(log: &Path, location: &str, names: &[String]) -> Result<Outputs, LogError> {
        let no_topic = |name: &str| LogError::NoTopic {
            topic: name.to_owned(),
            location: location.to_owned(),
        };
        let mut commits = Commits::open_to_append(log)?;
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        let mut locked = Vec::new();
        for name in &names {
            commits
                .catalog()
                .named(name)
                .ok_or_else(|| no_topic(name))?;
            locked.push(topic_file::lock_writer(log, name)?);
        }
        // What was committed, and whether the topics are still there, is certain only behind their locks.
        commits.refresh()?;
        let mut topics = Vec::new();
        for (name, lock) in names.into_iter().zip(locked) {
            let (id, state) = commits
                .catalog()
                .named(&name)
                .ok_or_else(|| no_topic(&name))?;
            let described = topic_file::read(log, id, &name)?;
            let max_message_bytes = described.max_message_bytes();
            let segment_bytes = described.segment_bytes();
            let directory = log.join(&name);
            let partitions = (0..)
                .zip(&state.partitions)
                .map(|(partition, extent)| {
                    let place = Place::new(&directory, id, partition);
                    PartitionWriter::open(place, *extent, segment_bytes)
                })
                .collect::<Result<_, _>>()?;
            topics.push(Output {
                name,
                id,
                max_message_bytes,
                partitions,
                _lock: lock,
            });
        }
        Ok(Outputs {
            commits,
            topics,
            last: 0,
            location: location.to_owned(),
        })
    }

    /// Adds a record to the open batch of its partition.
    pub(super) fn add(&mut self, record: &SinkRecord<'_>) -> Result<Added, LogError> {
        if self
            .topics
            .get(self.last)
            .is_none_or(|topic| topic.name != record.topic)
        {
            self.last = self
                .topics
                .iter()
                .position(|topic| topic.name == record.topic)
                .ok_or_else(|| {
                    LogError::Refused(format!(
                        "topic `{}` is not among those that are written here",
                        record.topic
                    ))
                })?;
        }
        let topic = &mut self.topics[self.last];
        let count = topic.partitions.len();
        let Some(partition) = topic.partitions.get_mut(record.partition as usize) else {
            return Err(LogError::Refused(format!(
                "topic `{}` has {count} partitions in {}, there is no partition {}",
                record.topic, self.location, record.partition
            )));
        };
        let bytes = record_length(record);
        if bytes > topic.max_message_bytes {
            return Err(LogError::TooLarge {
                topic: record.topic.to_owned(),
                partition: record.partition,
                bytes,
                limit: topic.max_message_bytes,
            });
        }
        let offset = partition.add(record)?;
        Ok(Added { bytes, offset })
    }

    /// Returns when everything added is on the disk, visible to nobody.
    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        self.partitions()
            .try_for_each(PartitionWriter::write_batch)?;
        let mut unsynced: Vec<_> = self
            .partitions()
            .filter(|partition| partition.is_unsynced())
            .collect();
        let sync = |partitions: &[&mut PartitionWriter]| {
            partitions.iter().try_for_each(|partition| partition.sync())
        };
        let share = unsynced.len().div_ceil(SYNCS_AT_ONCE).max(1);
        let (first, others) = unsynced.split_at(share.min(unsynced.len()));
        thread::scope(|scope| {
            let others: Vec<_> = others
                .chunks(share)
                .map(|chunk| scope.spawn(move || sync(chunk)))
                .collect();
            let first = sync(first);
            others
                .into_iter()
                .map(|other| other.join().expect("syncing does not panic"))
                .fold(first, Result::and)
        })?;
        unsynced.iter_mut().for_each(|partition| partition.synced());
        Ok(())
    }

    /// Makes everything that [`sync`](Self::sync) has put on the disk visible at once.
    pub(super) fn commit(&mut self) -> Result<(), AppendError> {
        let extents: Vec<_> = self
            .partitions()
            .filter_map(|partition| partition.uncommitted())
            .collect();
        if extents.is_empty() {
            return Ok(());
        }
        self.commits.append(Change::Commit(extents))?;
        self.partitions().for_each(PartitionWriter::committed);
        Ok(())
    }

    /// Goes back to what the commits file says, whatever has failed before.
    pub(super) fn roll_back(&mut self) -> Result<(), LogError> {
        self.commits.refresh()?;
        for topic in &mut self.topics {
            for (number, partition) in (0..).zip(&mut topic.partitions) {
                let gone = || LogError::NoTopic {
                    topic: topic.name.clone(),
                    location: self.location.clone(),
                };
                partition.roll_back(
                    self.commits
                        .catalog()
                        .extent(topic.id, number)
                        .ok_or_else(gone)?,
                )?;
            }
        }
        Ok(())
    }

    fn partitions(&mut self) -> impl Iterator<Item = &mut PartitionWriter> {
        self.topics
            .iter_mut()
            .flat_map(|topic| &mut topic.partitions)
    }
}

impl Drop for Outputs {
    /// Leaves no torn tail behind where it can.
    fn drop(&mut self) {
        if !self.partitions().all(|partition| partition.is_clean()) {
            let _ = self.roll_back();
        }
    }
}
