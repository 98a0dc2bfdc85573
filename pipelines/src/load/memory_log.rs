//! A log in memory for tests of loading: it can be told to refuse records after so many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tiderace::connect::{
    Fetched, Header, Log, NewTopic, PartitionOffsets, RawRecord, RecordBatch, SinkRecord, Source,
    TopicDescription, TopicPartition, Transactions, Writer,
};
use tiderace::error::LogError;

/// A record as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MemoryTopic {
    pub(super) config: BTreeMap<String, String>,
    pub(super) partitions: Vec<Vec<Sent>>,
}

#[derive(Clone, Default)]
pub(super) struct MemoryLog(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    topics: BTreeMap<String, MemoryTopic>,
    /// Records that are still taken.
    room: Option<u64>,
}

impl MemoryLog {
    /// Takes `records` more, then refuses all.
    pub(super) fn refuse_after(&self, records: u64) {
        self.0.lock().unwrap().room = Some(records);
    }

    /// Takes records again.
    pub(super) fn take_all(&self) {
        self.0.lock().unwrap().room = None;
    }

    /// What a topic holds.
    pub(super) fn contents(&self, topic: &str) -> MemoryTopic {
        self.0.lock().unwrap().topics[topic].clone()
    }
}

impl Log for MemoryLog {
    fn location(&self) -> String {
        "memory".into()
    }

    fn topics(&self) -> Result<Vec<String>, LogError> {
        Ok(self.0.lock().unwrap().topics.keys().cloned().collect())
    }

    fn topic(&self, name: &str) -> Result<Option<TopicDescription>, LogError> {
        let state = self.0.lock().unwrap();
        Ok(state.topics.get(name).map(|topic| TopicDescription {
            name: name.into(),
            id: None,
            partitions: topic
                .partitions
                .iter()
                .map(|records| PartitionOffsets {
                    first: 0,
                    end: records.len() as i64,
                })
                .collect(),
            config: topic.config.clone(),
        }))
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        let partitions = vec![Vec::new(); topic.partitions as usize];
        let created = MemoryTopic {
            config: topic.config.clone(),
            partitions,
        };
        self.0
            .lock()
            .unwrap()
            .topics
            .insert(topic.name.clone(), created);
        Ok(())
    }

    fn delete_topic(&self, name: &str) -> Result<(), LogError> {
        self.0.lock().unwrap().topics.remove(name);
        Ok(())
    }

    fn add_partitions(&self, _: &str, _: u32) -> Result<(), LogError> {
        Err(LogError::Refused("not part of loading".into()))
    }

    fn delete_records(&self, _: &TopicPartition, _: i64) -> Result<(), LogError> {
        Err(LogError::Refused("not part of loading".into()))
    }

    fn offset_for_time(&self, _: &TopicPartition, _: i64) -> Result<Option<i64>, LogError> {
        Err(LogError::Refused("not part of loading".into()))
    }

    fn source(
        &self,
        assignment: &[(TopicPartition, i64)],
        _: usize,
    ) -> Result<Box<dyn Source>, LogError> {
        let [(partition, from)] = assignment else {
            return Err(LogError::Refused(
                "loading reads a partition at a time".into(),
            ));
        };
        let records = self
            .contents(&partition.topic)
            .partitions
            .swap_remove(partition.partition as usize);
        Ok(Box::new(MemorySource {
            records,
            from: *from as usize,
            read: false,
        }))
    }

    fn transactions(&self, _: &str, _: &[String]) -> Result<Box<dyn Transactions>, LogError> {
        Err(LogError::Refused("not part of loading".into()))
    }

    fn writer(&self, _: &str) -> Result<Box<dyn Writer>, LogError> {
        Ok(Box::new(self.clone()))
    }

    fn takes_nonpositive_timestamps(&self) -> bool {
        true
    }
}

impl Writer for MemoryLog {
    fn send(&mut self, record: &SinkRecord<'_>) -> Result<(), LogError> {
        let mut state = self.0.lock().unwrap();
        if let Some(room) = &mut state.room {
            *room = room
                .checked_sub(1)
                .ok_or_else(|| LogError::Refused("no room".into()))?;
        }
        let topic = state
            .topics
            .get_mut(record.topic)
            .expect("the topic was created");
        topic.partitions[record.partition as usize].push(Sent {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
        });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}

struct MemorySource {
    records: Vec<Sent>,
    from: usize,
    read: bool,
}

impl Source for MemorySource {
    fn poll(&mut self, _: Duration) -> Result<Fetched, LogError> {
        if self.read || self.from >= self.records.len() {
            return Ok(Fetched::CaughtUp {
                slot: 0,
                position: self.records.len() as i64,
            });
        }
        self.read = true;
        Ok(Fetched::Batch(Arc::new(MemoryBatch {
            records: self.records.clone(),
            from: self.from,
        })))
    }

    fn pause(&mut self, _: usize) -> Result<(), LogError> {
        Ok(())
    }

    fn resume(&mut self, _: usize) -> Result<(), LogError> {
        Ok(())
    }
}

struct MemoryBatch {
    records: Vec<Sent>,
    from: usize,
}

impl RecordBatch for MemoryBatch {
    fn slot(&self) -> usize {
        0
    }

    fn len(&self) -> usize {
        self.records.len() - self.from
    }

    fn get(&self, index: usize) -> RawRecord<'_> {
        let record = &self.records[self.from + index];
        RawRecord {
            offset: (self.from + index) as i64,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
        }
    }

    fn headers(&self, _: usize) -> Vec<Header> {
        Vec::new()
    }

    fn memory(&self) -> usize {
        0
    }
}
