//! Where the rides lie and the counts go: an embedded log or a broker, with the topics of both sides.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{Log, NewTopic, TopicPartition};
use tiderace::error::LogError;
use tiderace_pipelines::load::{Order, Plan, Rides, load_rides, load_zones};
use tiderace_pipelines::read::read_partition;

/// Topic of the rides.
pub(crate) const RIDES: &str = "rides";
/// Topic of the zones' names.
pub(crate) const ZONES: &str = "zones";
/// The engine's application id and the topic that it writes.
pub(crate) const BY_ENGINE: &str = "rides-per-zone";
/// The topic that the loop by hand writes, and its application id.
pub(crate) const BY_HAND: &str = "rides-per-zone-by-hand";
/// Partitions of every topic but the zones.
const PARTITIONS: u32 = 4;

type Failure = Box<dyn std::error::Error>;

/// Where a comparison takes place.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Directory of the embedded log, and of the engine's state in any case.
    pub(crate) directory: PathBuf,
    /// A broker to use in the embedded log's stead.
    pub(crate) brokers: Option<String>,
}

impl Place {
    /// The options that name this place to the command and to the loop by hand.
    pub(crate) fn options(&self) -> Vec<String> {
        let mut options = vec![
            "--data-dir".to_owned(),
            self.directory.display().to_string(),
        ];
        if let Some(brokers) = &self.brokers {
            options.extend(["--brokers".to_owned(), brokers.clone()]);
        }
        options
    }

    /// Reads what [`options`](Self::options) wrote.
    pub(crate) fn from_options(options: &[String]) -> Option<Self> {
        let value = |name: &str| {
            options
                .windows(2)
                .find(|pair| pair[0] == name)
                .map(|pair| pair[1].clone())
        };
        Some(Place {
            directory: PathBuf::from(value("--data-dir")?),
            brokers: value("--brokers"),
        })
    }

    /// Opens the log.
    pub(crate) fn open(&self) -> Result<Arc<dyn Log>, LogError> {
        Ok(match &self.brokers {
            Some(brokers) => Arc::new(KafkaLog::connect(brokers, &BTreeMap::new())?),
            None => Arc::new(EmbeddedLog::open(&self.directory)?),
        })
    }

    /// Loads the built-in rides `scale` times, and the zones; returns how many rides there are.
    pub(crate) fn load(&self, scale: u64) -> Result<u64, Failure> {
        let log = self.open()?;
        create(&*log, RIDES, PARTITIONS)?;
        create(&*log, ZONES, 1)?;
        let rides = Rides::built_in();
        let plan = Plan::new(&rides, scale, Order::Time, Duration::ZERO, 0);
        load_rides(&*log, RIDES, &rides, &plan, &mut |_, _| {
            ControlFlow::Continue(())
        })?;
        load_zones(&*log, ZONES)?;
        Ok(rides.len() as u64 * scale)
    }

    /// Deletes what an earlier run wrote, of either side.
    pub(crate) fn reset(&self) -> Result<(), Failure> {
        let log = self.open()?;
        let written = [BY_ENGINE, BY_HAND].iter().flat_map(|name| {
            [
                name.to_string(),
                format!("{name}-late"),
                format!("{name}-epochs"),
            ]
        });
        let there = log.topics()?;
        for topic in written.filter(|topic| there.contains(topic)) {
            log.delete_topic(&topic)?;
            wait_until(
                || Ok(log.topic(&topic)?.is_none()),
                &format!("topic `{topic}` is gone"),
            )?;
        }
        create(&*log, BY_HAND, PARTITIONS)?;
        match std::fs::remove_dir_all(self.directory.join("state").join(BY_ENGINE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Values of the first `limit` rides of each partition, with the partition.
    pub(crate) fn rides(&self, limit: usize) -> Result<Vec<(usize, Vec<u8>)>, Failure> {
        let log = self.open()?;
        let mut rides = Vec::new();
        for partition in 0..PARTITIONS {
            let mut taken = 0;
            read(&*log, RIDES, partition, |value| {
                rides.push((partition as usize, value.1.to_vec()));
                taken += 1;
                if taken < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
        }
        Ok(rides)
    }

    /// A fingerprint of every record of a topic of counts, by partition, in order.
    pub(crate) fn fingerprints(&self, topic: &str) -> Result<Vec<Vec<u64>>, Failure> {
        let log = self.open()?;
        let partition = |partition| {
            let mut prints = Vec::new();
            read(&*log, topic, partition, |record| {
                let mut hasher = DefaultHasher::new();
                record.hash(&mut hasher);
                prints.push(hasher.finish());
                ControlFlow::Continue(())
            })?;
            Ok(prints)
        };
        (0..PARTITIONS).map(partition).collect()
    }
}

fn create(log: &dyn Log, topic: &str, partitions: u32) -> Result<(), Failure> {
    if log.topic(topic)?.is_none() {
        // The rides are of 2020: a broker would delete them at once.
        let config = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        log.create_topic(&NewTopic {
            name: topic.to_owned(),
            partitions,
            config,
        })?;
        wait_until(
            || Ok(log.topic(topic)?.is_some()),
            &format!("topic `{topic}` is there"),
        )?;
    }
    Ok(())
}

/// Asks until it is so. A broker answers with errors while a change has not reached all of it.
fn wait_until(mut so: impl FnMut() -> Result<bool, LogError>, what: &str) -> Result<(), Failure> {
    let begin = Instant::now();
    loop {
        let answer = so();
        match answer {
            Ok(true) => return Ok(()),
            _ if begin.elapsed() < Duration::from_secs(30) => {
                std::thread::sleep(Duration::from_millis(50))
            }
            Ok(false) => return Err(format!("waited 30 s in vain until {what}").into()),
            Err(error) => return Err(format!("waited 30 s in vain until {what}: {error}").into()),
        }
    }
}

/// Key, value and timestamp of a record.
type Seen<'a> = (&'a [u8], &'a [u8], i64);

fn read(
    log: &dyn Log,
    topic: &str,
    partition: u32,
    mut each: impl FnMut(Seen<'_>) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let description = log
        .topic(topic)?
        .ok_or_else(|| format!("there is no topic `{topic}`"))?;
    let offsets = description.partitions[partition as usize];
    let partition = TopicPartition::new(topic, partition);
    let visit = &mut |batch: &dyn tiderace::connect::RecordBatch, index: usize| {
        let record = batch.get(index);
        each((
            record.key.unwrap_or_default(),
            record.value.unwrap_or_default(),
            record.timestamp,
        ))
    };
    let _ = read_partition(log, &partition, offsets.first, offsets.end, &|| true, visit)?;
    Ok(())
}
