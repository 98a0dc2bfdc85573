//! Reads committed records of several partitions, in turn.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::buffers::Buffers;
use super::catalog::Extent;
use super::commits::Commits;
use super::reader::Reader;
use super::segment::Place;
use crate::connect::{Fetched, Source, TopicPartition};
use crate::error::LogError;

/// How long a source with nothing to read waits before it looks at the commits file again.
const PAUSE: Duration = Duration::from_millis(2);

struct Slot {
    partition: TopicPartition,
    /// The topic's id: another topic of the same name is not the one that was opened.
    topic: u64,
    reader: Reader,
    paused: bool,
    /// Whether it has been said that this position is the end.
    caught_up: bool,
}

/// A reader of partitions that follows the commits file.
pub(super) struct EmbeddedSource {
    /// The log's directory.
    log: PathBuf,
    commits: Commits,
    location: String,
    slots: Vec<Slot>,
    /// The slot whose turn it is.
    next: usize,
    buffers: Buffers,
}

impl EmbeddedSource {
    /// Opens partitions, each at an offset.
    pub(super) fn open(
        log: &Path,
        location: &str,
        assignment: &[(TopicPartition, i64)],
    ) -> Result<EmbeddedSource, LogError> {
        let mut source = EmbeddedSource {
            log: log.to_owned(),
            commits: Commits::open(log)?,
            location: location.to_owned(),
            slots: Vec::with_capacity(assignment.len()),
            next: 0,
            buffers: Buffers::default(),
        };
        for (partition, offset) in assignment {
            let slot = source.open_slot(partition.clone(), *offset)?;
            source.slots.push(slot);
        }
        Ok(source)
    }

    /// Opens a partition at an offset.
    fn open_slot(&mut self, partition: TopicPartition, wanted: i64) -> Result<Slot, LogError> {
        let commits = &mut self.commits;
        let (place, extent) = find(&self.log, &self.location, commits, &partition)?;
        if let Some(gone) = gone(&partition, wanted, &extent) {
            return Err(gone);
        }
        if wanted > extent.end {
            return Err(LogError::Beyond {
                partition,
                wanted,
                end: extent.end,
            });
        }
        let (topic, number) = (place.topic, place.partition);
        let reader = Reader::open(place, &extent, wanted).map_err(|error| {
            // Records may have been deleted since the look at the commits file.
            let now = commits
                .refresh()
                .ok()
                .and_then(|()| commits.catalog().extent(topic, number));
            now.and_then(|extent| gone(&partition, wanted, &extent))
                .unwrap_or(error)
        })?;
        Ok(Slot {
            partition,
            topic,
            reader,
            paused: false,
            caught_up: false,
        })
    }

    /// The file that a slot reads and the position in it.
    pub(super) fn whereabouts(&self, slot: usize) -> (PathBuf, u64) {
        self.slots[slot].reader.whereabouts()
    }

    /// Gives each partition that is not paused a turn, until one has something to say.
    fn take_turns(&mut self) -> Result<Option<Fetched>, LogError> {
        let mut looked = false;
        for _ in 0..self.slots.len() {
            let slot = self.next;
            self.next = (slot + 1) % self.slots.len();
            if self.slots[slot].paused {
                continue;
            }
            if let Some(fetched) = self.fetch(slot, &mut looked)? {
                return Ok(Some(fetched));
            }
        }
        Ok(None)
    }

    /// What a slot has to say. `looked` is whether the commits file has been looked at in this round.
    fn fetch(&mut self, index: usize, looked: &mut bool) -> Result<Option<Fetched>, LogError> {
        let slot = &mut self.slots[index];
        let mut committed = self
            .commits
            .catalog()
            .extent(slot.topic, slot.partition.partition);
        if !*looked && committed.is_some_and(|extent| extent.end == slot.reader.offset()) {
            *looked = true;
            self.commits.poll()?;
            committed = self
                .commits
                .catalog()
                .extent(slot.topic, slot.partition.partition);
        }
        let Some(extent) = committed else {
            return Err(LogError::NoTopic {
                topic: slot.partition.topic.to_string(),
                location: self.location.clone(),
            });
        };
        if let Some(gone) = gone(&slot.partition, slot.reader.offset(), &extent) {
            return Err(gone);
        }
        if let Some(mut records) = slot.reader.next(&extent, &self.buffers)? {
            records.slot = index;
            slot.caught_up = false;
            return Ok(Some(Fetched::Batch(Arc::new(records))));
        }
        if slot.caught_up {
            return Ok(None);
        }
        slot.caught_up = true;
        Ok(Some(Fetched::CaughtUp {
            slot: index,
            position: slot.reader.offset(),
        }))
    }

    /// A file that is missing because its topic, or its records, have just been deleted is not damaged.
    fn explain(&mut self, error: LogError) -> LogError {
        if self.commits.refresh().is_err() {
            return error;
        }
        let catalog = self.commits.catalog();
        let deleted = |slot: &Slot| match catalog.extent(slot.topic, slot.partition.partition) {
            Some(extent) => gone(&slot.partition, slot.reader.offset(), &extent),
            None => Some(LogError::NoTopic {
                topic: slot.partition.topic.to_string(),
                location: self.location.clone(),
            }),
        };
        self.slots.iter().find_map(deleted).unwrap_or(error)
    }

    fn slot(&mut self, slot: usize) -> Result<&mut Slot, LogError> {
        let count = self.slots.len();
        self.slots.get_mut(slot).ok_or_else(|| {
            LogError::Refused(format!(
                "the source has {count} partitions, there is no slot {slot}"
            ))
        })
    }
}

impl Source for EmbeddedSource {
    fn poll(&mut self, timeout: Duration) -> Result<Fetched, LogError> {
        let started = crate::clock::instant();
        loop {
            if let Some(fetched) = self.take_turns().map_err(|error| self.explain(error))? {
                return Ok(fetched);
            }
            let left = timeout.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(Fetched::Nothing);
            }
            std::thread::sleep(left.min(PAUSE));
        }
    }

    fn pause(&mut self, slot: usize) -> Result<(), LogError> {
        self.slot(slot)?.paused = true;
        Ok(())
    }

    fn resume(&mut self, slot: usize) -> Result<(), LogError> {
        self.slot(slot)?.paused = false;
        Ok(())
    }

    fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        self.commits.refresh()?;
        let slot = self.open_slot(partition.clone(), offset)?;
        self.slots.push(slot);
        Ok(())
    }
}

/// The error for an offset whose record is no longer held, if it is not.
fn gone(partition: &TopicPartition, wanted: i64, extent: &Extent) -> Option<LogError> {
    (wanted < extent.first).then(|| LogError::Gone {
        partition: partition.clone(),
        wanted,
        first: extent.first,
    })
}

/// Where a partition lies and how far it is committed.
pub(super) fn find(
    log: &Path,
    location: &str,
    commits: &Commits,
    partition: &TopicPartition,
) -> Result<(Place, Extent), LogError> {
    let name = &*partition.topic;
    let Some((id, state)) = commits.catalog().named(name) else {
        return Err(LogError::NoTopic {
            topic: name.to_owned(),
            location: location.to_owned(),
        });
    };
    let Some(extent) = state.partitions.get(partition.partition as usize) else {
        let count = state.partitions.len();
        return Err(LogError::Refused(format!(
            "{partition}: there are {count} partitions in {location}"
        )));
    };
    Ok((
        Place::new(&log.join(name), id, partition.partition),
        *extent,
    ))
}
