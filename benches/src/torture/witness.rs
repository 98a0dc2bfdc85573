//! What a reader of committed records has seen: a fingerprint of every output, and what the epoch log says.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Fetched, Log, RecordBatch, Source, TopicPartition};
use tiderace_testing::kafka::Tail;

use super::site::{OUTPUTS, PARTITIONS, Site};
use crate::Failure;

/// Fingerprints of a topic's records, by partition, in order.
pub(super) type Prints = Vec<Vec<u64>>;

/// Reads what is committed as it comes.
pub(super) enum Follower {
    /// All partitions of all topics, and for each of them the topic's number and the partition.
    Embedded(Box<dyn Source>, Vec<(usize, usize)>),
    /// A reader a topic.
    Kafka(Vec<Tail>),
}

/// A committed record: fingerprint and value.
struct Seen<'a> {
    print: u64,
    value: &'a [u8],
}

impl Follower {
    /// Follows topics of the embedded log in `directory`, each with its number of partitions.
    pub(super) fn embedded(directory: &Path, topics: &[(&str, usize)]) -> Result<Self, Failure> {
        let log = EmbeddedLog::open_read_only(directory)?;
        let (mut assignment, mut places) = (Vec::new(), Vec::new());
        for (number, (topic, partitions)) in topics.iter().enumerate() {
            for partition in 0..*partitions {
                assignment.push((TopicPartition::new(*topic, u32::try_from(partition)?), 0));
                places.push((number, partition));
            }
        }
        Ok(Follower::Embedded(
            log.source(&assignment, 1 << 20)?,
            places,
        ))
    }

    /// Hands over what has come since the last call: topic, partition, record.
    fn take(&mut self, each: &mut dyn FnMut(usize, usize, Seen<'_>)) -> Result<(), Failure> {
        match self {
            Follower::Embedded(source, places) => loop {
                match source.poll(Duration::ZERO)? {
                    Fetched::Nothing => return Ok(()),
                    Fetched::CaughtUp { .. } => {}
                    Fetched::Batch(batch) => {
                        let (topic, partition) = places[batch.slot()];
                        for index in 0..batch.len() {
                            each(topic, partition, seen(&*batch, index));
                        }
                    }
                }
            },
            Follower::Kafka(tails) => {
                for (topic, tail) in tails.iter_mut().enumerate() {
                    tail.take(&mut |partition, record| {
                        let print = fingerprint(
                            record.timestamp,
                            record.key.as_deref(),
                            record.value.as_deref(),
                            &record.headers,
                        );
                        let value = record.value.as_deref().unwrap_or_default();
                        each(topic, partition as usize, Seen { print, value });
                    });
                }
                Ok(())
            }
        }
    }
}

fn seen(batch: &dyn RecordBatch, index: usize) -> Seen<'_> {
    let record = batch.get(index);
    let headers = batch.headers(index);
    let headers: Vec<(String, Option<Vec<u8>>)> = headers
        .into_iter()
        .map(|header| (header.name, header.value))
        .collect();
    Seen {
        print: fingerprint(record.timestamp, record.key, record.value, &headers),
        value: record.value.unwrap_or_default(),
    }
}

/// Of everything that byte-equal outputs have to agree in. The same in every process of one build.
fn fingerprint(
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(String, Option<Vec<u8>>)],
) -> u64 {
    let mut hasher = DefaultHasher::new();
    (timestamp, key, value, headers).hash(&mut hasher);
    hasher.finish()
}

/// An entry of the epoch log, as much of it as is judged.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Entry {
    Origin {},
    Start {},
    Epoch(Epoch),
}

#[derive(Deserialize)]
struct Epoch {
    epoch: u64,
    read: Vec<Share>,
    outputs: BTreeMap<String, Written>,
}

#[derive(Deserialize)]
struct Share {
    topic: String,
    partition: u32,
    end: i64,
    records: u64,
}

#[derive(Deserialize)]
struct Written {
    records: u64,
}

/// What the epoch log has said so far.
#[derive(Default)]
pub(super) struct Epochs {
    /// Epochs committed.
    pub(super) epochs: u64,
    /// Starts of the application.
    pub(super) starts: u64,
    /// Rides that the epochs have read.
    pub(super) read: u64,
    /// Records that the epochs say they wrote, by output.
    written: [u64; OUTPUTS.len()],
    ends: BTreeMap<(String, u32), i64>,
    /// What an epoch log must not say, with the epoch.
    pub(super) wrong: Vec<String>,
}

impl Epochs {
    fn add(&mut self, value: &[u8]) {
        match serde_json::from_slice(value) {
            Ok(Entry::Origin {}) => {}
            Ok(Entry::Start {}) => self.starts += 1,
            Ok(Entry::Epoch(entry)) => self.epoch(entry),
            Err(error) => self.wrong.push(format!("an entry is no entry: {error}")),
        }
    }

    fn epoch(&mut self, entry: Epoch) {
        if entry.epoch != self.epochs + 1 {
            let (found, before) = (entry.epoch, self.epochs);
            self.wrong.push(format!("epoch {found} follows {before}"));
        }
        self.epochs = entry.epoch;
        for share in entry.read {
            if share.topic == "rides" {
                self.read += share.records;
            }
            let (of, end) = ((share.topic, share.partition), share.end);
            if self.ends.get(&of).is_some_and(|before| *before >= end) {
                let (topic, partition) = &of;
                self.wrong.push(format!(
                    "epoch {}: topic `{topic}`, partition {partition} goes back to offset {end}",
                    entry.epoch
                ));
            }
            self.ends.insert(of, end);
        }
        for (topic, written) in entry.outputs {
            if let Some(of) = OUTPUTS.iter().position(|output| *output == topic) {
                self.written[of] += written.records;
            }
        }
    }
}

/// Everything committed by one application so far.
pub(super) struct Witness {
    follower: Follower,
    pub(super) outputs: [Prints; OUTPUTS.len()],
    pub(super) epochs: Epochs,
}

impl Witness {
    /// Watches the outputs, and the epoch log of `application_id`; all topics must exist.
    pub(super) fn new(site: &Site, application_id: &str) -> Result<Self, Failure> {
        let epochs = format!("{application_id}-epochs");
        let topics = [
            (OUTPUTS[0], PARTITIONS),
            (OUTPUTS[1], PARTITIONS),
            (&epochs, 1),
        ];
        Ok(Witness {
            follower: site.follow(&topics)?,
            outputs: [(); OUTPUTS.len()].map(|()| vec![Vec::new(); PARTITIONS]),
            epochs: Epochs::default(),
        })
    }

    /// Takes in what was committed since the last look.
    pub(super) fn look(&mut self) -> Result<(), Failure> {
        let (outputs, epochs) = (&mut self.outputs, &mut self.epochs);
        self.follower
            .take(&mut |topic, partition, seen| match outputs.get_mut(topic) {
                Some(output) => output[partition].push(seen.print),
                None => epochs.add(seen.value),
            })
    }

    /// How many results there are.
    pub(super) fn results(&self) -> u64 {
        count(&self.outputs[0])
    }

    /// Whether the outputs hold as many records as the epoch log says: no epoch is visible in part.
    pub(super) fn is_whole(&self) -> bool {
        let held = self.outputs.each_ref().map(count);
        held == self.epochs.written
    }
}

/// How many records a topic has.
pub(super) fn count(prints: &Prints) -> u64 {
    prints.iter().map(|partition| partition.len() as u64).sum()
}
