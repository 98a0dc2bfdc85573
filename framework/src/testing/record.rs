//! Records as tests write and read them.

use tiderace_operators::key::Key;
use tiderace_operators::record::EventTime;

use crate::connect::Header;

/// A record of a topic, typed.
#[derive(Clone, Debug, PartialEq)]
pub struct TestRecord<K, V> {
    /// The key, `None` for a null one.
    pub key: Option<K>,
    /// The value.
    pub value: V,
    /// The record's timestamp; a record piped in without one gets 0.
    pub timestamp: EventTime,
    /// The partition; a record piped in without one goes where its key belongs, or to partition 0.
    pub partition: Option<u32>,
}

impl<K: Key, V> TestRecord<K, V> {
    /// A record with this key and value.
    pub fn new(key: impl Into<Option<K>>, value: V) -> Self {
        TestRecord {
            key: key.into(),
            value,
            timestamp: EventTime::from_millis(0),
            partition: None,
        }
    }

    /// A record without a key.
    pub fn of_value(value: V) -> Self {
        TestRecord::new(None, value)
    }

    /// The record with this timestamp.
    pub fn at(self, timestamp: EventTime) -> Self {
        TestRecord { timestamp, ..self }
    }

    /// The record with this timestamp, in milliseconds since the epoch.
    pub fn at_millis(self, millis: i64) -> Self {
        self.at(EventTime::from_millis(millis))
    }

    /// The record in this partition.
    pub fn in_partition(self, partition: u32) -> Self {
        TestRecord {
            partition: Some(partition),
            ..self
        }
    }
}

impl<K: Key, V> From<(K, V)> for TestRecord<K, V> {
    fn from((key, value): (K, V)) -> Self {
        TestRecord::new(key, value)
    }
}

impl<K: Key, V> From<(K, V, EventTime)> for TestRecord<K, V> {
    fn from((key, value, timestamp): (K, V, EventTime)) -> Self {
        TestRecord::new(key, value).at(timestamp)
    }
}

impl<K: Key, V> From<(K, V, i64)> for TestRecord<K, V> {
    /// Key, value and timestamp in milliseconds since the epoch.
    fn from((key, value, millis): (K, V, i64)) -> Self {
        TestRecord::new(key, value).at_millis(millis)
    }
}

/// A record of a topic as its bytes: bad data piped in, late records and dead letters read out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawRecord {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The key's bytes, `None` for a null key.
    pub key: Option<Vec<u8>>,
    /// The value's bytes, `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since the epoch, -1 for none.
    pub timestamp: i64,
    /// The headers, in order.
    pub headers: Vec<Header>,
}
