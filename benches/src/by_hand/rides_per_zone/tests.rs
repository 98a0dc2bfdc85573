use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tiderace::connect::{
    EpochRecord, Fetched, Header, NewTopic, PartitionOffsets, RawRecord, RecordBatch, SinkRecord,
    Source, TopicDescription, TopicPartition, Transactions, Writer,
};
use tiderace::error::LogError;
use tiderace_testing::oracle;

use super::*;

/// Key, value and timestamp of a record.
type Held = (Vec<u8>, Vec<u8>, i64);

/// Topics in memory: partitions of records. What a transaction sends is held back until it commits.
#[derive(Clone, Default)]
struct MemoryLog {
    topics: Arc<Mutex<BTreeMap<String, Vec<Vec<Held>>>>>,
    sent: Vec<Vec<(String, u32, Held)>>,
    committing: Vec<(String, u32, Held)>,
}

impl MemoryLog {
    fn hold(&self, topic: &str, partitions: Vec<Vec<Held>>) {
        self.topics
            .lock()
            .unwrap()
            .insert(topic.to_owned(), partitions);
    }

    fn held(&self, topic: &str) -> Vec<Vec<Held>> {
        self.topics.lock().unwrap()[topic].clone()
    }
}

impl Log for MemoryLog {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn topics(&self) -> Result<Vec<String>, LogError> {
        unreachable!("the loop knows its topics")
    }

    fn topic(&self, name: &str) -> Result<Option<TopicDescription>, LogError> {
        let topics = self.topics.lock().unwrap();
        let describe = |partitions: &Vec<Vec<Held>>| TopicDescription {
            name: name.to_owned(),
            id: None,
            partitions: partitions
                .iter()
                .map(|held| PartitionOffsets {
                    first: 0,
                    end: held.len() as i64,
                })
                .collect(),
            config: BTreeMap::new(),
        };
        Ok(topics.get(name).map(describe))
    }

    fn create_topic(&self, _: &NewTopic) -> Result<(), LogError> {
        unreachable!("the loop creates no topic")
    }

    fn delete_topic(&self, _: &str) -> Result<(), LogError> {
        unreachable!("the loop deletes no topic")
    }

    fn add_partitions(&self, _: &str, _: u32) -> Result<(), LogError> {
        unreachable!("the loop grows nothing")
    }

    fn delete_records(&self, _: &TopicPartition, _: i64) -> Result<(), LogError> {
        unreachable!("the loop deletes nothing")
    }

    fn offset_for_time(&self, _: &TopicPartition, _: i64) -> Result<Option<i64>, LogError> {
        unreachable!("the loop reads from the beginning")
    }

    fn source(
        &self,
        assignment: &[(TopicPartition, i64)],
        _: usize,
    ) -> Result<Box<dyn Source>, LogError> {
        let topics = self.topics.lock().unwrap();
        let partition = |(partition, first): &(TopicPartition, i64)| {
            assert_eq!(*first, 0);
            topics[&*partition.topic][partition.partition as usize].clone()
        };
        Ok(Box::new(MemorySource {
            partitions: assignment.iter().map(partition).collect(),
            next: vec![0; assignment.len()],
            turn: 0,
        }))
    }

    fn transactions(&self, _: &str, _: &[String]) -> Result<Box<dyn Transactions>, LogError> {
        Ok(Box::new(MemoryLog {
            sent: vec![Vec::new(); 2],
            ..self.clone()
        }))
    }

    fn writer(&self, _: &str) -> Result<Box<dyn Writer>, LogError> {
        unreachable!("the loop writes in transactions")
    }

    fn takes_nonpositive_timestamps(&self) -> bool {
        true
    }
}

/// Hands out a few records of each partition in turn.
struct MemorySource {
    partitions: Vec<Vec<Held>>,
    next: Vec<usize>,
    turn: usize,
}

struct MemoryBatch {
    slot: usize,
    first: usize,
    records: Vec<Held>,
}

impl RecordBatch for MemoryBatch {
    fn slot(&self) -> usize {
        self.slot
    }

    fn len(&self) -> usize {
        self.records.len()
    }

    fn get(&self, index: usize) -> RawRecord<'_> {
        let (key, value, timestamp) = &self.records[index];
        RawRecord {
            offset: (self.first + index) as i64,
            timestamp: *timestamp,
            key: Some(key),
            value: Some(value),
        }
    }

    fn headers(&self, _: usize) -> Vec<Header> {
        Vec::new()
    }

    fn memory(&self) -> usize {
        0
    }
}

impl Source for MemorySource {
    fn poll(&mut self, _: Duration) -> Result<Fetched, LogError> {
        let slot = self.turn % self.partitions.len();
        self.turn += 1;
        let (first, held) = (self.next[slot], &self.partitions[slot]);
        let records: Vec<_> = held.iter().skip(first).take(7).cloned().collect();
        if records.is_empty() {
            return Ok(Fetched::CaughtUp {
                slot,
                position: first as i64,
            });
        }
        self.next[slot] += records.len();
        Ok(Fetched::Batch(Arc::new(MemoryBatch {
            slot,
            first,
            records,
        })))
    }

    fn pause(&mut self, _: usize) -> Result<(), LogError> {
        unreachable!("the loop pauses nothing")
    }

    fn resume(&mut self, _: usize) -> Result<(), LogError> {
        unreachable!("the loop pauses nothing")
    }
}

impl Transactions for MemoryLog {
    fn turns(&self) -> usize {
        2
    }

    fn begin(&mut self, turn: usize) -> Result<(), TransactionError> {
        assert!(
            self.sent[turn].is_empty(),
            "the turn's last transaction is committed"
        );
        Ok(())
    }

    fn send(&mut self, turn: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        let bytes = |bytes: Option<&[u8]>| bytes.unwrap().to_vec();
        let held = (bytes(record.key), bytes(record.value), record.timestamp);
        self.sent[turn].push((record.topic.to_owned(), record.partition, held));
        Ok(())
    }

    fn flush(&mut self, _: usize) -> Result<(), TransactionError> {
        Ok(())
    }

    fn send_offsets(
        &mut self,
        _: usize,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), TransactionError> {
        assert!(!offsets.is_empty());
        Ok(())
    }

    fn commit(&mut self, turn: usize) -> Result<(), TransactionError> {
        assert!(
            self.committing.is_empty(),
            "one commit at a time is under way"
        );
        self.committing = std::mem::take(&mut self.sent[turn]);
        Ok(())
    }

    fn confirm(&mut self, _: usize) -> Result<(), TransactionError> {
        let mut topics = self.topics.lock().unwrap();
        for (topic, partition, held) in self.committing.drain(..) {
            topics.get_mut(&topic).unwrap()[partition as usize].push(held);
        }
        Ok(())
    }

    fn entry_offset(&mut self, _: usize) -> Result<Option<i64>, TransactionError> {
        unreachable!("the loop keeps no epoch log")
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        unreachable!("nothing is in doubt")
    }

    fn read_epochs(&mut self, _: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        unreachable!("the loop has no epoch log")
    }
}

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../data")
        .join(name)
}

fn utc_without_zone(millis: i64) -> String {
    utc(millis).trim_end_matches('Z').to_owned()
}

#[test]
fn the_loop_writes_the_bytes_that_the_oracle_expects() {
    let (rides, zones) = (
        oracle::rides_by_partition(&file("rides.csv")),
        oracle::read_zones(&file("taxi_zone_lookup.csv")),
    );
    let log = MemoryLog::default();
    let held = |ride: &oracle::Ride| {
        let at = utc_without_zone(ride.pickup);
        let oracle::Ride { zone, distance, .. } = ride;
        let json = format!(
            r#"{{"tpep_pickup_datetime":"{at}","trip_distance":{distance},"PULocationID":{zone},"x":[1]}}"#
        );
        (
            zone.to_string().into_bytes(),
            json.into_bytes(),
            ride.pickup,
        )
    };
    log.hold(
        "rides",
        rides
            .iter()
            .map(|partition| partition.iter().map(held).collect())
            .collect(),
    );
    let row = |(id, zone): (&u32, &oracle::Zone)| {
        let json = serde_json::json!({"zone": zone.name, "borough": zone.borough});
        (id.to_be_bytes().to_vec(), json.to_string().into_bytes(), 0)
    };
    log.hold("zones", vec![zones.iter().map(row).collect()]);
    log.hold("counts", vec![Vec::new(); 4]);

    let job = Job {
        rides: "rides",
        zones: "zones",
        output: "counts",
        window: 600_000,
        grace: 60_000,
    };
    let counts = rides_per_zone(&log, job).unwrap();

    let expected = oracle::rides_per_zone(&rides, &zones, 600_000, 60_000);
    assert_eq!(log.held("counts"), expected.partitions);
    assert_eq!(
        (counts.read, counts.processed, counts.filtered),
        (266, expected.tally.processed, expected.tally.filtered)
    );
}

#[test]
fn a_record_that_is_no_ride_is_named_by_its_offset() {
    let log = MemoryLog::default();
    log.hold("rides", vec![vec![(b"1".to_vec(), b"{}".to_vec(), 0)]]);
    log.hold("zones", vec![Vec::new()]);
    log.hold("counts", vec![Vec::new(); 4]);
    let job = Job {
        rides: "rides",
        zones: "zones",
        output: "counts",
        window: 600_000,
        grace: 60_000,
    };
    let error = rides_per_zone(&log, job).unwrap_err().to_string();
    assert!(
        error.starts_with("topic `rides`, partition 0, offset 0: missing field"),
        "{error}"
    );
}
