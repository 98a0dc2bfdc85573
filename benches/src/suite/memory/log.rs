//! A log in memory. What is read was made before; what is written is kept until the log is dropped.
//!
//! It is a log like any other to the engine: exactly once, with the epoch log and everything else that a user has.
//! It loses all with the process, and one process has it: nothing is fenced.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tiderace::connect::{
    EpochRecord, Log, NewTopic, PartitionOffsets, Source, TopicDescription, TopicPartition,
    Transactions, Writer,
};
use tiderace::error::LogError;

use super::outputs::{Chunk, Same, Summary};
use super::records::Partition;
use super::source::{MemorySource, Slot};
use super::transactions::{MemoryTransactions, MemoryWriter, Moment};

/// A topic that is read.
#[derive(Clone)]
pub(super) struct Input {
    pub(super) topic: &'static str,
    pub(super) partitions: Vec<Arc<dyn Partition>>,
    /// Records that a poll brings at most.
    pub(super) poll: usize,
}

/// Topics in memory. Clones share them.
#[derive(Clone)]
pub(super) struct MemoryLog(Arc<Topics>);

struct Topics {
    inputs: Vec<Input>,
    written: Mutex<Written>,
}

/// What was written.
#[derive(Default)]
pub(super) struct Written {
    /// Topics of one partition each.
    outputs: BTreeMap<String, Vec<Chunk>>,
    epochs: BTreeMap<String, EpochLog>,
    /// When each transaction was confirmed.
    pub(super) confirmed: Vec<Moment>,
}

/// The entries of an application's epoch log with their timestamps, those that were deleted left out.
#[derive(Default)]
struct EpochLog {
    first: i64,
    entries: Vec<(EpochRecord, i64)>,
}

impl EpochLog {
    fn end(&self) -> i64 {
        self.first + self.entries.len() as i64
    }
}

impl Written {
    /// Makes what a transaction wrote visible.
    pub(super) fn append(&mut self, topic: &str, mut chunk: Chunk) {
        chunk.at = Some(Instant::now());
        if let Some(chunks) = self.outputs.get_mut(topic) {
            chunks.push(chunk);
        }
    }

    /// Adds an entry and returns its offset.
    pub(super) fn add_entry(&mut self, topic: &str, entry: EpochRecord, timestamp: i64) -> i64 {
        let log = self.epochs.entry(topic.to_owned()).or_default();
        let offset = log.end();
        log.entries
            .push((EpochRecord { offset, ..entry }, timestamp));
        offset
    }

    /// The entries from `offset` on.
    pub(super) fn entries(&self, topic: &str, offset: i64) -> Vec<EpochRecord> {
        let entries = self.epochs.get(topic).map(|log| &log.entries);
        let entries = entries.into_iter().flatten().map(|(entry, _)| entry);
        entries
            .filter(|entry| entry.offset >= offset)
            .cloned()
            .collect()
    }
}

impl MemoryLog {
    /// A log with these topics to read, and empty ones of these names to write.
    pub(super) fn new(inputs: &[Input], outputs: &[&str]) -> Self {
        let empty = |topic: &&str| ((*topic).to_owned(), Vec::new());
        let written = Written {
            outputs: outputs.iter().map(empty).collect(),
            ..Written::default()
        };
        MemoryLog(Arc::new(Topics {
            inputs: inputs.to_vec(),
            written: Mutex::new(written),
        }))
    }

    pub(super) fn written(&self) -> MutexGuard<'_, Written> {
        // Whoever panics while holding it ends the benchmark.
        self.0
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// When each transaction's records in an output became visible, with the largest of their timestamps.
    pub(super) fn visible(&self, topic: &str) -> Vec<(Instant, i64)> {
        let written = self.written();
        let chunks = written.outputs.get(topic).into_iter().flatten();
        chunks
            .filter_map(|chunk| Some((chunk.at?, chunk.latest()?)))
            .collect()
    }

    /// What is in all outputs together.
    pub(super) fn summary(&self, same: Same) -> Vec<Summary> {
        let written = self.written();
        let chunks = written.outputs.values();
        chunks.map(|chunks| Summary::of(chunks, same)).collect()
    }

    /// Opens an application's transactions, of one turn.
    pub(super) fn open(&self, application_id: &str) -> MemoryTransactions {
        let epochs = format!("{application_id}-epochs");
        self.written().epochs.entry(epochs.clone()).or_default();
        MemoryTransactions::new(self.clone(), epochs)
    }

    fn input(&self, topic: &str) -> Option<&Input> {
        self.0.inputs.iter().find(|input| input.topic == topic)
    }

    fn no_topic(&self, topic: &str) -> LogError {
        LogError::NoTopic {
            topic: topic.to_owned(),
            location: self.location(),
        }
    }

    fn slot(&self, partition: &TopicPartition, offset: i64) -> Result<Slot, LogError> {
        let topic = &partition.topic;
        let input = self.input(topic).ok_or_else(|| self.no_topic(topic))?;
        let held = input.partitions.get(partition.partition as usize);
        let held = held.ok_or_else(|| LogError::Refused(format!("{partition} is not there")))?;
        let end = held.count() as i64;
        let wanted = usize::try_from(offset).ok().filter(|_| offset <= end);
        let next = wanted.ok_or_else(|| LogError::Beyond {
            partition: partition.clone(),
            wanted: offset,
            end,
        })?;
        Ok(Slot::new(Arc::clone(held), next, input.poll))
    }

    /// What a log in memory does not do, since no run asks for it.
    fn refuse<T>(what: &str) -> Result<T, LogError> {
        let refused = format!("a log in memory cannot {what}");
        Err(LogError::Refused(refused))
    }
}

impl Log for MemoryLog {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn topics(&self) -> Result<Vec<String>, LogError> {
        let written = self.written();
        let inputs = self.0.inputs.iter().map(|input| input.topic.to_owned());
        let names = inputs
            .chain(written.outputs.keys().cloned())
            .chain(written.epochs.keys().cloned());
        let mut names: Vec<_> = names.collect();
        names.sort();
        Ok(names)
    }

    fn topic(&self, name: &str) -> Result<Option<TopicDescription>, LogError> {
        let until = |first, end| PartitionOffsets { first, end };
        let written = self.written();
        let read = self.input(name).map(|input| {
            let partitions = input.partitions.iter();
            partitions.map(|of| until(0, of.count() as i64)).collect()
        });
        let output = || {
            let chunks = written.outputs.get(name)?;
            let records: u64 = chunks.iter().map(Chunk::records).sum();
            Some(vec![until(0, records as i64)])
        };
        let epochs = || {
            let log = written.epochs.get(name)?;
            Some(vec![until(log.first, log.end())])
        };
        let partitions = read.or_else(output).or_else(epochs);
        Ok(partitions.map(|partitions| TopicDescription {
            name: name.to_owned(),
            id: None,
            partitions,
            config: BTreeMap::new(),
        }))
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        if topic.partitions != 1 || self.topic(&topic.name)?.is_some() {
            return Self::refuse("create a topic that is there, or one of several partitions");
        }
        let mut written = self.written();
        written.outputs.insert(topic.name.clone(), Vec::new());
        Ok(())
    }

    fn delete_topic(&self, name: &str) -> Result<(), LogError> {
        let gone = self.written().outputs.remove(name);
        gone.map(|_| ()).ok_or_else(|| self.no_topic(name))
    }

    fn add_partitions(&self, _: &str, _: u32) -> Result<(), LogError> {
        Self::refuse("add partitions")
    }

    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<(), LogError> {
        let mut written = self.written();
        let Some(log) = written.epochs.get_mut(&*partition.topic) else {
            return Self::refuse("delete records of anything but epoch logs");
        };
        if before > log.end() {
            return Err(LogError::Beyond {
                partition: partition.clone(),
                wanted: before,
                end: log.end(),
            });
        }
        log.first = log.first.max(before);
        log.entries.retain(|(entry, _)| entry.offset >= before);
        Ok(())
    }

    fn offset_for_time(
        &self,
        partition: &TopicPartition,
        timestamp: i64,
    ) -> Result<Option<i64>, LogError> {
        let written = self.written();
        let Some(log) = written.epochs.get(&*partition.topic) else {
            return Self::refuse("look for a time in anything but epoch logs");
        };
        let young = log.entries.iter().find(|(_, at)| *at >= timestamp);
        Ok(young.map(|(entry, _)| entry.offset))
    }

    fn source(
        &self,
        assignment: &[(TopicPartition, i64)],
        _: usize,
    ) -> Result<Box<dyn Source>, LogError> {
        let slots = assignment
            .iter()
            .map(|(partition, offset)| self.slot(partition, *offset));
        Ok(Box::new(MemorySource::new(
            slots.collect::<Result<_, _>>()?,
        )))
    }

    fn transactions(
        &self,
        application_id: &str,
        _: &[String],
    ) -> Result<Box<dyn Transactions>, LogError> {
        Ok(Box::new(self.open(application_id)))
    }

    fn writer(&self, topic: &str) -> Result<Box<dyn Writer>, LogError> {
        if !self.written().outputs.contains_key(topic) {
            return Err(self.no_topic(topic));
        }
        Ok(Box::new(MemoryWriter::new(self.clone(), topic)))
    }

    fn takes_nonpositive_timestamps(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::memory::keyed::{KEPT_OUT, count_topology};
    use crate::suite::memory::pairs;
    use tiderace::{Config, Engine};

    #[test]
    fn the_engine_goes_on_where_it_stopped_and_verifies_what_it_wrote() {
        let pairs = pairs::make(5_000, 100);
        let log = MemoryLog::new(&[pairs::input(&pairs)], &[KEPT_OUT.name()]);
        let state = tempfile::tempdir().unwrap();
        let run = || {
            let config = Config {
                epoch_records: 1_000,
                data_dir: state.path().to_owned(),
                ..Config::default()
            };
            let log = Arc::new(log.clone());
            let running = Engine::start(count_topology().unwrap(), log, &config).unwrap();
            running.join().unwrap()
        };
        let first = run();
        assert_eq!((first.resumed, first.counts.read), (false, 5_000));
        assert!(first.last_epoch >= 5, "{first:?}");
        let written = log.summary(Same::LastOfKey);
        assert_eq!(written[0].records, 2);

        // Without its snapshot all epochs are replayed and compared with their digests.
        std::fs::remove_dir_all(state.path().join("state")).unwrap();
        let second = run();
        assert_eq!((second.resumed, second.counts.read), (true, 0));
        assert_eq!(log.summary(Same::LastOfKey), written);
    }

    #[test]
    fn an_epoch_log_is_found_by_time_and_shortened() {
        let log = MemoryLog::new(&[], &["out"]);
        log.open("app");
        for epoch in 0..4 {
            let entry = EpochRecord {
                offset: 0,
                epoch,
                value: Vec::new(),
            };
            let offset = log
                .written()
                .add_entry("app-epochs", entry, epoch as i64 * 10);
            assert_eq!(offset, epoch as i64);
        }
        assert_eq!(log.topics().unwrap(), ["app-epochs", "out"]);
        let partition = TopicPartition::new("app-epochs", 0);
        let found = |time| log.offset_for_time(&partition, time).unwrap();
        assert_eq!((found(0), found(15), found(31)), (Some(0), Some(2), None));
        log.delete_records(&partition, 2).unwrap();
        assert!(log.delete_records(&partition, 5).is_err());
        let offsets = log.topic("app-epochs").unwrap().unwrap().partitions;
        assert_eq!(offsets, [PartitionOffsets { first: 2, end: 4 }]);
        let left = log.written().entries("app-epochs", 3);
        assert_eq!(left.iter().map(|it| it.epoch).collect::<Vec<_>>(), [3]);
    }
}
