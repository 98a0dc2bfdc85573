//! What a test reads: outputs, late records, dead letters.

use tiderace_operators::key::{self, Data, Key};
use tiderace_operators::record::EventTime;

use super::{RawRecord, TestRecord, TopologyTestDriver};
use crate::connect::Topic;
use crate::topology::{Kind, OnError};

impl TopologyTestDriver {
    /// Takes out what a topic was sent since the last call, in the order in which it was sent.
    ///
    /// # Panics
    /// A record is not of the topic's types.
    pub fn read_output<K: Key, V: Data>(&mut self, topic: Topic<K, V>) -> Vec<TestRecord<K, V>> {
        let decode = |record: RawRecord| {
            let key = record.key.map(|key| key::decode(&key));
            TestRecord {
                key: key
                    .transpose()
                    .unwrap_or_else(|e| panic!("topic `{}`: {e}", topic.name())),
                value: (topic.decode)(record.value.as_deref().unwrap_or_default())
                    .unwrap_or_else(|e| panic!("topic `{}`: {e}", topic.name())),
                timestamp: EventTime::from_millis(record.timestamp),
                partition: Some(record.partition),
            }
        };
        self.topics
            .take(topic.name())
            .into_iter()
            .map(decode)
            .collect()
    }

    /// As [`read_output`](Self::read_output), keys and values only.
    ///
    /// # Panics
    /// A record is not of the topic's types, or its key is null.
    pub fn read_key_values<K: Key, V: Data>(&mut self, topic: Topic<K, V>) -> Vec<(K, V)> {
        let pair = |record: TestRecord<K, V>| {
            (
                record
                    .key
                    .unwrap_or_else(|| panic!("topic `{}`: a null key", topic.name())),
                record.value,
            )
        };
        self.read_output(topic).into_iter().map(pair).collect()
    }

    /// Takes out what a topic was sent since the last call, as bytes.
    pub fn read_raw(&mut self, topic: &str) -> Vec<RawRecord> {
        self.topics.take(topic)
    }

    /// Takes out the late records that were sent to the topics of `late_to` since the last call, as they came.
    pub fn read_late(&mut self) -> Vec<RawRecord> {
        let late = |node: &crate::topology::Node| match &node.kind {
            Kind::LateSink { topic } => Some(topic.clone()),
            _ => None,
        };
        let topics: Vec<String> = self.plan.topology.nodes.iter().filter_map(late).collect();
        topics
            .iter()
            .flat_map(|topic| self.topics.take(topic))
            .collect()
    }

    /// Takes out the dead letters that were sent since the last call.
    pub fn read_dead_letters(&mut self) -> Vec<RawRecord> {
        match &self.plan.topology.on_error {
            OnError::DeadLetter(topic) => self.topics.take(topic),
            OnError::Fail | OnError::Skip => Vec::new(),
        }
    }
}
