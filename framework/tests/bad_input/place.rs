//! A directory with an embedded log, and pipelines that run on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, SinkRecord};
use tiderace::{Config, Engine, OnError, Report, RunError, StreamsBuilder, Topic, Topology};

use crate::support::{Owned, new_topic, read_all};

/// An event time.
pub(crate) const TIME: i64 = 1_593_561_600_000;

/// How long a run may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Ride {
    pub(crate) zone: u32,
}

pub(crate) const RIDES: Topic<String, Ride> = Topic::json("rides");
pub(crate) const ZONES: Topic<String, u32> = Topic::json("zones");
pub(crate) const COUNTS: Topic<String, u64> = Topic::json("counts");

/// `rides` to `zones`, value by value.
pub(crate) fn zones(on_error: OnError) -> Topology {
    let builder = StreamsBuilder::new("app");
    builder.on_error(on_error);
    builder.stream(RIDES).map_values(|ride| ride.zone).to(ZONES);
    builder.build().unwrap()
}

/// An embedded log, deleted at the end.
pub(crate) struct Place {
    directory: TempDir,
    pub(crate) log: Arc<EmbeddedLog>,
}

impl Place {
    /// With topics of so many partitions.
    pub(crate) fn new(topics: &[(&str, u32)]) -> Place {
        let directory = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(directory.path()).unwrap();
        for (name, partitions) in topics {
            log.create_topic(&new_topic(name, *partitions)).unwrap();
        }
        let log = Arc::new(log);
        Place { directory, log }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The first segment of a partition.
    pub(crate) fn segment(&self, topic: &str, partition: u32) -> PathBuf {
        let of = format!("log/{topic}/{partition}/00000000000000000000.segment");
        self.path().join(of)
    }

    /// Sends records to their topics.
    pub(crate) fn send(&self, records: &[SinkRecord<'_>]) {
        for record in records {
            let mut writer = self.log.writer(record.topic).unwrap();
            writer.send(record).unwrap();
            writer.flush().unwrap();
        }
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            data_dir: self.path().to_owned(),
            ..Config::default()
        }
    }

    /// As [`config`](Self::config), for a run that ends by an error: its one epoch closes neither by the clock nor by
    /// the end of a partition, so what was read before the bad record is of the record's epoch.
    pub(crate) fn one_epoch(&self) -> Config {
        Config {
            follow: true,
            commit_interval: Duration::from_secs(3600),
            ..self.config()
        }
    }

    /// Runs to the input's end.
    pub(crate) fn run(&self, topology: Topology) -> Result<Report, RunError> {
        self.run_with(topology, &self.config())
    }

    pub(crate) fn run_with(&self, topology: Topology, config: &Config) -> Result<Report, RunError> {
        let running = Engine::start(topology, self.log.clone(), config)?;
        assert!(running.wait(PATIENCE), "the run does not end");
        running.join()
    }

    /// Forgets the snapshots that runs have left, so that the next start replays the whole epoch log, as behind a
    /// crash before the first one.
    pub(crate) fn forget_snapshots(&self) {
        std::fs::remove_dir_all(self.path().join("state/app/snapshots")).unwrap();
    }

    /// The records of a topic by partition.
    pub(crate) fn read(&self, topic: &str) -> Vec<Vec<Owned>> {
        let partitions = self.log.topic(topic).unwrap().unwrap().partitions;
        (0..partitions.len())
            .map(|partition| read_all(&*self.log, topic, partition as u32).unwrap())
            .collect()
    }

    /// The values of a topic as text, partition after partition.
    pub(crate) fn texts(&self, topic: &str) -> Vec<String> {
        let text = |record: Owned| String::from_utf8(record.value.unwrap()).unwrap();
        self.read(topic).into_iter().flatten().map(text).collect()
    }
}

/// A record as `rides` holds them.
pub(crate) fn ride(partition: u32, value: &str) -> SinkRecord<'_> {
    SinkRecord {
        topic: "rides",
        partition,
        timestamp: TIME,
        key: Some(b"key"),
        value: Some(value.as_bytes()),
        headers: &[],
    }
}
