//! Where lives take place: a log with topics of its own, and what it holds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use std::path::Path;

use tempfile::TempDir;
use tiderace::Guarantee;
use tiderace::connect::{Fetched, Log, NewTopic, SinkRecord, TopicPartition};
use tiderace_testing::kafka::Kafka;

use crate::entries::Entries;
use crate::input::{OUTPUTS, PARTITIONS, records};
use crate::life::Life;

/// A record: timestamp, key, value.
pub(crate) type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// A log with the input of an application that has not begun.
pub(crate) struct Site {
    pub(crate) log: Arc<dyn Log>,
    broker: Option<&'static Kafka>,
    directory: TempDir,
    suffix: String,
}

/// What a life has committed.
pub(crate) struct Written {
    pub(crate) guarantee: Guarantee,
    pub(crate) epochs: u64,
    /// Records, by topic and partition.
    pub(crate) records: Vec<usize>,
    /// Of these the records of its last epoch.
    pub(crate) last: Vec<usize>,
}

impl Site {
    /// A fresh one on the embedded log, and one on the broker if there is one.
    pub(crate) fn on_each_log() -> impl Iterator<Item = Site> {
        let kafka = Kafka::shared().map(|broker| Site::on(Some(broker)));
        [Site::on(None)].into_iter().chain(kafka)
    }

    /// A fresh one on this broker, or on an embedded log.
    pub(crate) fn on(broker: Option<&'static Kafka>) -> Site {
        let directory = tempfile::tempdir().unwrap();
        let suffix = broker.map_or_else(String::new, |broker| broker.fresh_name(""));
        let mut site = Site {
            log: Arc::new(
                tiderace::connect::embedded::EmbeddedLog::open(directory.path()).unwrap(),
            ),
            broker,
            directory,
            suffix,
        };
        site.log = site.life(Guarantee::ExactlyOnce, 1).log();
        for name in ["visits"].iter().chain(&OUTPUTS) {
            let config = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
            let name = site.topic(name);
            let (partitions, config) = (PARTITIONS, config);
            let topic = NewTopic {
                name,
                partitions,
                config,
            };
            site.log.create_topic(&topic).unwrap();
        }
        site.load();
        site
    }

    fn load(&self) {
        let topic = self.topic("visits");
        let mut writer = self.log.writer(&topic).unwrap();
        for partition in 0..PARTITIONS {
            for (timestamp, key, value) in records(partition) {
                let record = SinkRecord {
                    topic: &topic,
                    partition,
                    timestamp,
                    key: key.as_deref(),
                    value: value.as_deref(),
                    headers: &[],
                };
                writer.send(&record).unwrap();
            }
        }
        writer.flush().unwrap();
    }

    fn topic(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    pub(crate) fn application(&self) -> String {
        self.topic("modes")
    }

    pub(crate) fn is_kafka(&self) -> bool {
        self.broker.is_some()
    }

    /// The directory of its state, and of the embedded log.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A life here, to the end of the input.
    pub(crate) fn life(&self, guarantee: Guarantee, workers: usize) -> Life {
        Life {
            brokers: self.broker.map(|broker| broker.bootstrap().to_owned()),
            directory: self.directory.path().to_owned(),
            suffix: self.suffix.clone(),
            application: self.application(),
            guarantee,
            workers,
            strike: None,
        }
    }

    /// Has the next life replay the whole epoch log.
    pub(crate) fn forget_snapshots(&self) {
        let state = self.directory.path().join("state").join(self.application());
        std::fs::remove_dir_all(state.join("snapshots")).unwrap();
    }

    /// The committed records of the outputs, by topic and partition.
    pub(crate) fn rows(&self) -> Vec<Vec<Row>> {
        let of = OUTPUTS.iter().map(|name| self.read(&self.topic(name)));
        of.collect::<Vec<_>>().concat()
    }

    /// How many records the outputs hold, and how many of them a reader of committed ones sees now. An embedded log
    /// lets nobody see others.
    pub(crate) fn written_and_visible(&self) -> Option<(usize, usize)> {
        let broker = self.broker?;
        let count = |read: &dyn Fn(&str) -> Vec<Vec<tiderace_testing::kafka::Record>>| {
            let of = OUTPUTS.iter().map(|name| read(&self.topic(name)));
            of.map(|rows| rows.concat().len()).sum()
        };
        Some((
            count(&|topic| broker.read_uncommitted(topic)),
            count(&|topic| broker.read_visible(topic)),
        ))
    }

    /// What each life has committed, in their order: the epoch log, checked.
    pub(crate) fn written(&self) -> Vec<Written> {
        let rows = self
            .read(&format!("{}-epochs", self.application()))
            .concat();
        let entries: Vec<Vec<u8>> = rows.into_iter().filter_map(|(_, _, value)| value).collect();
        let bytes = entries.iter().map(Vec::as_slice);
        let checked = Entries::checked(&self.to_string(), bytes);
        assert_eq!(checked.ends(&self.topic("visits")), [150, 150], "{self}");
        let mut lives: Vec<Written> = Vec::new();
        for entry in &entries {
            let entry: Value = serde_json::from_slice(entry).unwrap();
            let guarantee = match &entry["guarantee"] {
                Value::Null => Guarantee::ExactlyOnce,
                of => serde_json::from_value(of.clone()).unwrap(),
            };
            match (entry["kind"].as_str().unwrap(), lives.last_mut()) {
                ("start", _) => lives.push(Written {
                    guarantee,
                    epochs: 0,
                    records: vec![0; OUTPUTS.len() * PARTITIONS as usize],
                    last: Vec::new(),
                }),
                ("epoch", Some(life)) => {
                    assert_eq!(guarantee, life.guarantee, "{self}");
                    life.epochs += 1;
                    life.last = self.outputs(&entry);
                    for (sum, more) in life.records.iter_mut().zip(&life.last) {
                        *sum += more;
                    }
                }
                _ => {}
            }
        }
        lives
    }

    /// How many records an epoch wrote, by topic and partition.
    fn outputs(&self, entry: &Value) -> Vec<usize> {
        let of_topic = |name: &&str| {
            let mut counts = vec![0; PARTITIONS as usize];
            let of = &entry["outputs"][self.topic(name)]["partitions"];
            for part in of.as_array().into_iter().flatten() {
                let number = |field: &str| part[field].as_u64().unwrap() as usize;
                counts[number("partition")] = number("records");
            }
            counts
        };
        OUTPUTS.iter().flat_map(of_topic).collect()
    }

    fn read(&self, topic: &str) -> Vec<Vec<Row>> {
        if let Some(broker) = self.broker {
            let row = |of: tiderace_testing::kafka::Record| (of.timestamp, of.key, of.value);
            let records = broker.read_committed(topic);
            let rows = |of: Vec<_>| of.into_iter().map(row).collect();
            return records.into_iter().map(rows).collect();
        }
        let partitions = self.log.topic(topic).unwrap().unwrap().partitions.len();
        (0..partitions as u32)
            .map(|partition| self.read_partition(TopicPartition::new(topic, partition)))
            .collect()
    }

    fn read_partition(&self, partition: TopicPartition) -> Vec<Row> {
        let mut source = self.log.source(&[(partition, 0)], 1 << 20).unwrap();
        let mut rows = Vec::new();
        loop {
            match source.poll(Duration::from_secs(10)).unwrap() {
                Fetched::Batch(batch) => rows.extend((0..batch.len()).map(|index| {
                    let record = batch.get(index);
                    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                    (record.timestamp, owned(record.key), owned(record.value))
                })),
                Fetched::CaughtUp { .. } => return rows,
                Fetched::Nothing => panic!("{self}: neither a record nor the end came"),
            }
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.log.location())
    }
}
