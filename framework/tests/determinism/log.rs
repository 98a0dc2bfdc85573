//! A log in memory that delivers its partitions in batches of a given size and in an order that a seed shuffles, and
//! remembers the epoch in which each record was committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tiderace::connect::{
    EpochRecord, Fetched, Header, Log, NewTopic, PartitionOffsets, RawRecord, RecordBatch,
    SinkRecord, Source, TopicDescription, TopicPartition, TransactionError, Transactions, Writer,
};
use tiderace::error::LogError;
use tiderace_testing::kills::Random;

/// A record as it lies in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The epoch that wrote it, 0 for input.
    pub(crate) epoch: u64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
}

/// The records of a topic by partition.
pub(crate) type Partitions = Vec<Vec<Held>>;

/// How a log delivers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    /// Records of a batch, at most.
    pub(crate) batch: usize,
    /// Seed of the order of the partitions.
    pub(crate) seed: u64,
}

#[derive(Default)]
struct Topics(BTreeMap<String, Partitions>);

/// The log. Clones share the topics, not the delivery.
#[derive(Clone)]
pub(crate) struct ShuffledLog {
    topics: Arc<Mutex<Topics>>,
    delivery: Delivery,
}

impl ShuffledLog {
    /// A log with an input and empty outputs of so many partitions.
    pub(crate) fn new(
        input: &str,
        records: Partitions,
        outputs: &[&str],
        partitions: usize,
    ) -> Self {
        let mut topics = BTreeMap::from([(input.to_owned(), records)]);
        for output in outputs {
            topics.insert((*output).to_owned(), vec![Vec::new(); partitions]);
        }
        ShuffledLog {
            topics: Arc::new(Mutex::new(Topics(topics))),
            delivery: Delivery { batch: 1, seed: 0 },
        }
    }

    /// The same topics, delivered in another way.
    pub(crate) fn delivering(&self, delivery: Delivery) -> Self {
        ShuffledLog {
            topics: Arc::clone(&self.topics),
            delivery,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap()
    }

    /// A copy of the topics as they are.
    pub(crate) fn copy(&self) -> Self {
        ShuffledLog {
            topics: Arc::new(Mutex::new(Topics(self.lock().0.clone()))),
            delivery: self.delivery,
        }
    }

    /// What a topic holds.
    pub(crate) fn contents(&self, topic: &str) -> Partitions {
        self.lock().0[topic].clone()
    }

    /// Takes back everything that was committed after an epoch, as if the run had ended there.
    pub(crate) fn forget_after(&self, epoch: u64) {
        for partition in self.lock().0.values_mut().flatten() {
            partition.retain(|record| record.epoch <= epoch);
        }
    }

    /// Changes the last record of a topic's first partition.
    pub(crate) fn tamper(&self, topic: &str, change: impl FnOnce(&mut Held)) {
        let mut topics = self.lock();
        change(topics.0.get_mut(topic).unwrap()[0].last_mut().unwrap());
    }
}

impl Log for ShuffledLog {
    fn location(&self) -> String {
        "memory".into()
    }

    fn topics(&self) -> Result<Vec<String>, LogError> {
        Ok(self.lock().0.keys().cloned().collect())
    }

    fn topic(&self, name: &str) -> Result<Option<TopicDescription>, LogError> {
        let offsets = |records: &Vec<Held>| PartitionOffsets {
            first: 0,
            end: records.len() as i64,
        };
        Ok(self.lock().0.get(name).map(|topic| TopicDescription {
            name: name.into(),
            id: None,
            partitions: topic.iter().map(offsets).collect(),
            config: BTreeMap::new(),
        }))
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        let partitions = vec![Vec::new(); topic.partitions as usize];
        self.lock().0.insert(topic.name.clone(), partitions);
        Ok(())
    }

    fn delete_topic(&self, name: &str) -> Result<(), LogError> {
        self.lock().0.remove(name);
        Ok(())
    }

    fn add_partitions(&self, _: &str, _: u32) -> Result<(), LogError> {
        Err(LogError::Refused("nobody adds partitions".into()))
    }

    fn delete_records(&self, _: &TopicPartition, _: i64) -> Result<(), LogError> {
        Err(LogError::Refused("no record is old".into()))
    }

    fn offset_for_time(&self, _: &TopicPartition, _: i64) -> Result<Option<i64>, LogError> {
        // No record is older than any time.
        Ok(Some(0))
    }

    fn source(
        &self,
        assignment: &[(TopicPartition, i64)],
        _: usize,
    ) -> Result<Box<dyn Source>, LogError> {
        let topics = self.lock();
        let slot = |(of, next): &(TopicPartition, i64)| Slot {
            records: Arc::new(topics.0[&*of.topic][of.partition as usize].clone()),
            next: *next as usize,
            paused: false,
            caught_up: false,
        };
        Ok(Box::new(ShuffledSource {
            slots: assignment.iter().map(slot).collect(),
            batch: self.delivery.batch,
            random: Random::new(self.delivery.seed),
        }))
    }

    fn transactions(
        &self,
        application_id: &str,
        _: &[String],
    ) -> Result<Box<dyn Transactions>, LogError> {
        let epochs = format!("{application_id}-epochs");
        let mut topics = self.lock();
        topics
            .0
            .entry(epochs.clone())
            .or_insert_with(|| vec![Vec::new()]);
        Ok(Box::new(Turn {
            log: self.clone(),
            epochs,
            open: Vec::new(),
        }))
    }

    fn writer(&self, _: &str) -> Result<Box<dyn Writer>, LogError> {
        Err(LogError::Refused(
            "the input is there from the start".into(),
        ))
    }

    fn takes_nonpositive_timestamps(&self) -> bool {
        true
    }
}

struct Slot {
    records: Arc<Vec<Held>>,
    next: usize,
    paused: bool,
    caught_up: bool,
}

/// Delivers a batch of a partition that the seed chooses, and sometimes nothing, so that what is there meanwhile is
/// read.
struct ShuffledSource {
    slots: Vec<Slot>,
    batch: usize,
    random: Random,
}

impl Source for ShuffledSource {
    fn poll(&mut self, timeout: Duration) -> Result<Fetched, LogError> {
        let has_something = |slot: &Slot| !slot.paused && !slot.caught_up;
        let ready: Vec<usize> = (0..self.slots.len())
            .filter(|slot| has_something(&self.slots[*slot]))
            .collect();
        if ready.is_empty() {
            std::thread::park_timeout(timeout.min(Duration::from_millis(1)));
            return Ok(Fetched::Nothing);
        }
        let choice = self.random.number() as usize;
        if choice.is_multiple_of(4) {
            std::thread::yield_now();
            return Ok(Fetched::Nothing);
        }
        let index = ready[(choice >> 8) % ready.len()];
        let slot = &mut self.slots[index];
        let from = slot.next;
        slot.next = slot.records.len().min(from + self.batch);
        if from == slot.next {
            slot.caught_up = true;
            return Ok(Fetched::CaughtUp {
                slot: index,
                position: from as i64,
            });
        }
        Ok(Fetched::Batch(Arc::new(Batch {
            slot: index,
            records: Arc::clone(&slot.records),
            range: from..slot.next,
        })))
    }

    fn pause(&mut self, slot: usize) -> Result<(), LogError> {
        self.slots[slot].paused = true;
        Ok(())
    }

    fn resume(&mut self, slot: usize) -> Result<(), LogError> {
        self.slots[slot].paused = false;
        Ok(())
    }
}

struct Batch {
    slot: usize,
    records: Arc<Vec<Held>>,
    range: std::ops::Range<usize>,
}

impl RecordBatch for Batch {
    fn slot(&self) -> usize {
        self.slot
    }

    fn len(&self) -> usize {
        self.range.len()
    }

    fn get(&self, index: usize) -> RawRecord<'_> {
        let at = self.range.start + index;
        let record = &self.records[at];
        RawRecord {
            offset: at as i64,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
        }
    }

    fn headers(&self, index: usize) -> Vec<Header> {
        self.records[self.range.start + index].headers.clone()
    }

    fn memory(&self) -> usize {
        let bytes = |of: &Option<Vec<u8>>| of.as_ref().map_or(0, Vec::len);
        let records = &self.records[self.range.clone()];
        records
            .iter()
            .map(|record| bytes(&record.key) + bytes(&record.value))
            .sum()
    }
}

/// A transaction at a time.
struct Turn {
    log: ShuffledLog,
    epochs: String,
    open: Vec<(String, u32, Held)>,
}

impl Transactions for Turn {
    fn turns(&self) -> usize {
        1
    }

    fn begin(&mut self, _: usize) -> Result<(), TransactionError> {
        self.open.clear();
        Ok(())
    }

    fn send(&mut self, _: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        let held = Held {
            epoch: 0,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.to_vec(),
        };
        self.open
            .push((record.topic.to_owned(), record.partition, held));
        Ok(())
    }

    fn flush(&mut self, _: usize) -> Result<(), TransactionError> {
        Ok(())
    }

    fn send_offsets(
        &mut self,
        _: usize,
        _: &[(TopicPartition, i64)],
    ) -> Result<(), TransactionError> {
        Ok(())
    }

    fn commit(&mut self, _: usize) -> Result<(), TransactionError> {
        if self.open.is_empty() {
            // Offsets alone.
            return Ok(());
        }
        // What stands before an entry, behind the one before it, is of its epoch.
        let mut epoch = None;
        let of_epochs = self.open.drain(..).rev().map(|(topic, partition, held)| {
            if topic == self.epochs {
                epoch = Some(epoch_of(&held));
            }
            let epoch = epoch.expect("an entry comes behind its outputs");
            (topic, partition, Held { epoch, ..held })
        });
        let of_epochs: Vec<_> = of_epochs.collect();
        let mut topics = self.log.lock();
        for (topic, partition, held) in of_epochs.into_iter().rev() {
            topics.0.get_mut(&topic).unwrap()[partition as usize].push(held);
        }
        Ok(())
    }

    fn confirm(&mut self, _: usize) -> Result<(), TransactionError> {
        Ok(())
    }

    fn entry_offset(&mut self, _: usize) -> Result<Option<i64>, TransactionError> {
        let entries = self.log.contents(&self.epochs).remove(0).len();
        Ok(entries.checked_sub(1).map(|last| last as i64))
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        self.open.clear();
        Ok(())
    }

    fn read_epochs(&mut self, offset: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        let entries = self.log.contents(&self.epochs).remove(0);
        let record = |(at, held): (usize, Held)| EpochRecord {
            offset: at as i64,
            epoch: epoch_of(&held),
            value: held.value.unwrap(),
        };
        let from = offset as usize;
        Ok(entries
            .into_iter()
            .enumerate()
            .skip(from)
            .map(record)
            .collect())
    }
}

/// The epoch in the key of an entry.
fn epoch_of(entry: &Held) -> u64 {
    u64::from_be_bytes(entry.key.as_deref().unwrap().try_into().unwrap())
}
