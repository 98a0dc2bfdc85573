//! [`Connection`]: the short way from a program to a log. Writes typed records, runs a topology, reads typed records.
//!
//! It adds no power: whatever it does can be done with a [`Log`](crate::connect::Log) and the
//! [`Engine`](crate::Engine), which long-running programs use to watch and stop their runs. It creates topics in
//! an embedded log only; those of a cluster are other people's too.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tiderace_operators::key::{self, Data, Key};
use tiderace_operators::record::EventTime;

use crate::config::Config;
use crate::connect::embedded::EmbeddedLog;
use crate::connect::kafka::KafkaLog;
use crate::connect::{
    Fetched, Log, NO_TIMESTAMP, NewTopic, RawRecord, SinkRecord, Topic, TopicDescription,
    TopicPartition, partition_for,
};
use crate::error::{LogError, ReadError, RunError};
use crate::runtime::{Engine, Report};
use crate::topology::Topology;

/// Memory that a reader's client may buffer, in bytes.
const READ_MEMORY: usize = 16 << 20;

/// How long one look for records takes at most.
const PATIENCE: Duration = Duration::from_millis(100);

/// A log, and the directory where the state of applications lies beside it.
///
/// ```
/// # use tiderace::{Connection, StreamsBuilder, Topic};
/// const WORDS: Topic<u32, String> = Topic::bytes("words");
/// const SHOUTED: Topic<u32, String> = Topic::bytes("shouted");
/// let builder = StreamsBuilder::new("shout");
/// builder.stream(WORDS).map_values(|word| word.to_uppercase()).to(SHOUTED);
///
/// let connection = Connection::temporary()?;
/// connection.write(WORDS, [(1, "tide".to_owned())])?;
/// let report = connection.run(builder.build()?)?;
/// assert_eq!((report.counts.read, report.counts.processed), (1, 1));
/// assert_eq!(connection.read(SHOUTED)?[0].value, "TIDE");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection {
    log: Arc<dyn Log>,
    config: Config,
    /// Removed with the connection.
    _temporary: Option<TempDir>,
}

/// A record with its types, as [`Connection::read`] finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedRecord<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// The record's timestamp, `None` if it has none.
    pub timestamp: Option<EventTime>,
    /// The partition that holds it.
    pub partition: u32,
    /// Its offset there.
    pub offset: i64,
}

impl Connection {
    /// Opens the log that the configuration names: Kafka with brokers, else the embedded one in the data directory.
    ///
    /// # Errors
    /// The brokers cannot be reached, or the directory holds no usable log.
    pub fn open(config: Config) -> Result<Self, LogError> {
        let log: Arc<dyn Log> = match &config.brokers {
            Some(brokers) => Arc::new(KafkaLog::connect(brokers, &config.kafka)?),
            None => Arc::new(EmbeddedLog::open(&config.data_dir)?),
        };
        Ok(Connection {
            log,
            config,
            _temporary: None,
        })
    }

    /// Opens an embedded log in a new directory, which is removed with the connection: for tests and first steps.
    ///
    /// # Errors
    /// The system's directory for temporary files cannot be written.
    pub fn temporary() -> Result<Self, LogError> {
        let directory = tempfile::tempdir().map_err(|source| LogError::CannotWrite {
            file: std::env::temp_dir(),
            source,
        })?;
        let connection = Self::to_directory(directory.path())?;
        Ok(Connection {
            _temporary: Some(directory),
            ..connection
        })
    }

    /// Opens the embedded log of a directory, which is created if it is missing, with defaults for all else.
    ///
    /// # Errors
    /// The directory cannot be written or holds a damaged log.
    pub fn to_directory(directory: impl Into<PathBuf>) -> Result<Self, LogError> {
        Self::open(Config {
            data_dir: directory.into(),
            ..Config::default()
        })
    }

    /// The log itself.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// Creates a topic of so many partitions unless it is there. Other methods create missing topics of an
    /// embedded log with one.
    ///
    /// # Errors
    /// The log refuses, or the topic has another number of partitions.
    pub fn create<K: Key, V: Data>(
        &self,
        topic: Topic<K, V>,
        partitions: u32,
    ) -> Result<(), LogError> {
        match self.log.topic(topic.name())? {
            None => self.create_topic(topic.name(), partitions),
            Some(found) if found.partitions.len() == partitions as usize => Ok(()),
            Some(found) => Err(LogError::Refused(format!(
                "topic `{}` has {} partitions, not {partitions}",
                topic.name(),
                found.partitions.len()
            ))),
        }
    }

    /// Sends records and returns when they are durable. A record's timestamp is the event time that the topic
    /// finds in the value, or else the time of the call; a null key (`Option<K>`) goes to partition 0.
    ///
    /// # Errors
    /// A key or value without a form in the topic's format; the topic or the log does not take it.
    pub fn write<K: Key, V: Data>(
        &self,
        topic: Topic<K, V>,
        records: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), LogError> {
        let partitions = self.found(topic.name())?.partitions.len();
        let partitions = u32::try_from(partitions).expect("partitions are counted in u32");
        let mut writer = self.log.writer(topic.name())?;
        let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
        for (key, value) in records {
            key_bytes.clear();
            value_bytes.clear();
            let refused =
                |reason: String| LogError::Refused(format!("topic `{}`: {reason}", topic.name()));
            let layout = key::encode(&key, &mut key_bytes)
                .map_err(|e| refused(format!("the key has no such form: {e}")))?;
            (topic.encode)(&value, &mut value_bytes).map_err(refused)?;
            let partition = match layout.null {
                true => 0,
                false => partition_for(&key_bytes[..layout.inner], partitions),
            };
            writer.send(&SinkRecord {
                topic: topic.name(),
                partition,
                timestamp: topic
                    .timestamp
                    .map_or_else(now, |of| of(&value))
                    .as_millis(),
                key: (!layout.null).then_some(&key_bytes),
                value: Some(&value_bytes),
                headers: &[],
            })?;
        }
        writer.flush()
    }

    /// Runs a topology to the end of its input, or with `follow` in the configuration until the process ends.
    ///
    /// # Errors
    /// Why the run ended without success. Everything committed before stays.
    pub fn run(&self, topology: Topology) -> Result<Report, RunError> {
        for topic in [topology.source_topics(), topology.sink_topics()].concat() {
            self.found(&topic)?;
        }
        Engine::start(topology, Arc::clone(&self.log), &self.config)?.join()
    }

    /// Reads all that a topic holds at the moment and is committed, by partition, then offset.
    ///
    /// # Errors
    /// The log cannot be read, or holds a record that the topic's types do not fit: a null key needs
    /// `Option<K>`, and a tombstone has no value at all.
    pub fn read<K: Key, V: Data>(
        &self,
        topic: Topic<K, V>,
    ) -> Result<Vec<TypedRecord<K, V>>, ReadError> {
        let mut records = Vec::new();
        for (number, held) in (0..).zip(self.found(topic.name())?.partitions) {
            let partition = TopicPartition::new(topic.name(), number);
            self.read_partition(topic, &partition, (held.first, held.end), &mut records)?;
        }
        Ok(records)
    }

    fn read_partition<K: Key, V: Data>(
        &self,
        topic: Topic<K, V>,
        partition: &TopicPartition,
        (first, end): (i64, i64),
        records: &mut Vec<TypedRecord<K, V>>,
    ) -> Result<(), ReadError> {
        if first >= end {
            return Ok(());
        }
        let mut source = self
            .log
            .source(&[(partition.clone(), first)], READ_MEMORY)?;
        loop {
            let batch = match source.poll(PATIENCE)? {
                Fetched::Batch(batch) => batch,
                Fetched::CaughtUp { .. } => return Ok(()),
                Fetched::Nothing => continue,
            };
            for raw in (0..batch.len()).map(|index| batch.get(index)) {
                if raw.offset >= end {
                    return Ok(());
                }
                records.push(typed(topic, partition, &raw)?);
                if raw.offset + 1 >= end {
                    return Ok(());
                }
            }
        }
    }

    /// A topic's description; one that is missing in an embedded log is created.
    fn found(&self, name: &str) -> Result<TopicDescription, LogError> {
        if self.config.brokers.is_none() && self.log.topic(name)?.is_none() {
            self.create_topic(name, 1)?;
        }
        self.log.topic(name)?.ok_or_else(|| LogError::NoTopic {
            topic: name.to_owned(),
            location: self.log.location(),
        })
    }

    fn create_topic(&self, name: &str, partitions: u32) -> Result<(), LogError> {
        // A broker deletes records by their timestamps, and event time may be years ago.
        let config = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        self.log.create_topic(&NewTopic {
            name: name.to_owned(),
            partitions,
            config,
        })
    }
}

fn typed<K: Key, V: Data>(
    topic: Topic<K, V>,
    partition: &TopicPartition,
    raw: &RawRecord<'_>,
) -> Result<TypedRecord<K, V>, ReadError> {
    let bad = |reason: String| ReadError::Data {
        partition: partition.clone(),
        offset: raw.offset,
        reason,
    };
    let key = match raw.key {
        Some(bytes) => {
            key::decode(bytes).map_err(|e| bad(format!("the key's bytes do not fit: {e}")))?
        }
        None => key::null()
            .ok_or_else(|| bad("the key is null; read it as a topic of `Option` keys".into()))?,
    };
    let value = raw
        .value
        .ok_or_else(|| bad("the value is null (a tombstone)".into()))?;
    Ok(TypedRecord {
        key,
        value: (topic.decode)(value).map_err(bad)?,
        timestamp: Some(raw.timestamp)
            .filter(|at| *at != NO_TIMESTAMP)
            .map(EventTime::from_millis),
        partition: partition.partition,
        offset: raw.offset,
    })
}

fn now() -> EventTime {
    let since = crate::clock::wall().duration_since(SystemTime::UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    EventTime::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}
