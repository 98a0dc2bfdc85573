//! Where the lives of an application take place: a directory with an embedded log, and what a crash leaves of it.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Fetched, Log, NewTopic, SinkRecord, TopicPartition};
use tiderace::{Config, Engine, Report};
use tiderace_testing::folders::temporary;
use tiderace_testing::snapshots::newest;

use crate::points::Kept;
use crate::topologies::{APPLICATION, Scenario, TOPICS, Visit};

/// How long a life may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a partition is silent before it is left out of the watermark.
const IDLE: Duration = Duration::from_millis(15);

/// How a life is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) kept: Kept,
}

/// A record without its offset.
pub(crate) type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// The directory in which the next life takes place.
pub(crate) struct Place {
    directory: Mutex<TempDir>,
    /// What the crash of the present life has left.
    left: Mutex<Option<TempDir>>,
}

impl Place {
    /// Where the first life of a scenario's cases begins.
    pub(crate) fn prepared(scenario: &Scenario) -> Place {
        let place = Place::at(temporary());
        let log = place.log();
        for (name, partitions) in TOPICS {
            let name = name.to_owned();
            let config = Default::default();
            log.create_topic(&NewTopic {
                name,
                partitions,
                config,
            })
            .unwrap();
        }
        (scenario.prepare)(&place);
        place
    }

    pub(crate) fn send_visits(&self, partition: u32, visits: impl Iterator<Item = Visit>) {
        let log = self.log();
        visits.for_each(|visit| send_visit(&log, partition, &visit));
    }

    pub(crate) fn send_names(&self, names: impl Iterator<Item = (u32, String)>) {
        let log = self.log();
        for (page, name) in names {
            send(&log, "names", 0, page, &serde_json::to_vec(&name).unwrap());
        }
    }

    /// A copy of another place, as it is now.
    pub(crate) fn like(other: &Place) -> Arc<Place> {
        Arc::new(Place::at(copied(&other.path())))
    }

    fn at(directory: TempDir) -> Place {
        Place {
            directory: Mutex::new(directory),
            left: Mutex::new(None),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.lock().unwrap().path().to_owned()
    }

    pub(crate) fn log(&self) -> EmbeddedLog {
        EmbeddedLog::open(self.path()).unwrap()
    }

    /// Ends the process, as far as the next life can tell: what is on the disk now is what it finds.
    pub(crate) fn crash(&self) -> ! {
        *self.left.lock().unwrap() = Some(copied(&self.path()));
        // No panic is reported for what is no panic.
        std::panic::resume_unwind(Box::new("killed"))
    }

    /// Waits until a snapshot is published.
    pub(crate) fn await_snapshot(&self) {
        let begun = Instant::now();
        while newest(&self.path(), APPLICATION).is_none() {
            assert!(begun.elapsed() < PATIENCE, "no snapshot is published");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Waits until a snapshot is published that was not there before, and no longer than `longest`.
    pub(crate) fn pause(&self, longest: Duration) {
        let begun = Instant::now();
        let before = newest(&self.path(), APPLICATION);
        while begun.elapsed() < longest && newest(&self.path(), APPLICATION) == before {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Starts the application and waits for its end; `Err` says how it failed.
    pub(crate) fn live(&self, scenario: &Scenario, settings: Settings) -> Result<Report, String> {
        let config = Config {
            workers: settings.workers,
            data_dir: self.path(),
            // Epochs close by the number of their records alone, unless nothing ends them but time.
            commit_interval: match scenario.accompany {
                None => Duration::from_secs(3600),
                Some(_) => Duration::from_millis(5),
            },
            epoch_records: match settings.kept {
                Kept::AtTheEnd => 10,
                // So many that bases are merged and collected.
                Kept::Often => 5,
            },
            // Each life is one; what restarts within a process is tested in `supervision`.
            max_restarts: 0,
            snapshot_interval: match settings.kept {
                Kept::AtTheEnd => Duration::from_secs(3600),
                Kept::Often => Duration::ZERO,
            },
            follow: scenario.accompany.is_some(),
            idle_timeout: IDLE,
            ..Config::default()
        };
        let log = Arc::new(self.log());
        let life = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let running = Engine::start(scenario.topology(), log.clone(), &config)?;
            if let Some(accompany) = scenario.accompany {
                accompany(&log, &running);
            }
            let ends = running.wait(PATIENCE);
            assert!(ends, "the run does not end: {:?}", running.progress());
            running.join()
        }));
        if let Some(left) = self.left.lock().unwrap().take() {
            *self.directory.lock().unwrap() = left;
            // Threads that did not notice may have come to the end.
            return Err("killed".to_owned());
        }
        match life {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(_) => Err("a panic at the start".to_owned()),
        }
    }

    /// Forgets the snapshots that lives have left, so that the next one replays the whole epoch log.
    pub(crate) fn forget_snapshots(&self) {
        std::fs::remove_dir_all(self.snapshots()).unwrap();
    }

    /// Checks what the application has left as an operator would, inputs and snapshots included.
    pub(crate) fn check(&self, name: &str) {
        let verdict =
            tiderace::runtime::check_with_inputs(&self.log(), &self.path(), APPLICATION).unwrap();
        assert!(verdict.is_sound(), "{name}: {:#?}", verdict.faults);
        assert!(verdict.input_records > Some(0), "{name}: {verdict:?}");
        assert!(verdict.snapshots > 0, "{name}: no snapshot");
    }

    /// Where a topic's partitions end.
    pub(crate) fn ends(&self, topic: &str) -> Vec<i64> {
        ends(&self.log(), topic)
    }

    fn snapshots(&self) -> PathBuf {
        self.path()
            .join("state")
            .join(APPLICATION)
            .join("snapshots")
    }

    /// What a topic holds, by partition.
    pub(crate) fn rows(&self, topic: &str) -> Vec<Vec<Row>> {
        let log = self.log();
        let ends = log.topic(topic).unwrap().unwrap().partitions;
        (0..ends.len() as u32)
            .map(|partition| read(&log, topic, partition))
            .collect()
    }
}

/// Where a topic's partitions end.
pub(crate) fn ends(log: &EmbeddedLog, topic: &str) -> Vec<i64> {
    let topic = log.topic(topic).unwrap().unwrap();
    topic.partitions.iter().map(|of| of.end).collect()
}

pub(crate) fn send_visit(log: &EmbeddedLog, partition: u32, visit: &Visit) {
    let value = serde_json::to_vec(visit).unwrap();
    send(log, "visits", partition, visit.page, &value);
}

fn send(log: &EmbeddedLog, topic: &str, partition: u32, key: u32, value: &[u8]) {
    let mut writer = log.writer(topic).unwrap();
    let record = SinkRecord {
        topic,
        partition,
        timestamp: 1_593_561_600_000,
        key: Some(&key.to_be_bytes()),
        value: Some(value),
        headers: &[],
    };
    writer.send(&record).unwrap();
    writer.flush().unwrap();
}

fn read(log: &EmbeddedLog, topic: &str, partition: u32) -> Vec<Row> {
    let partition = TopicPartition::new(topic, partition);
    let mut source = log.source(&[(partition, 0)], 1 << 20).unwrap();
    let mut rows = Vec::new();
    loop {
        match source.poll(PATIENCE).unwrap() {
            Fetched::Batch(batch) => rows.extend((0..batch.len()).map(|index| {
                let record = batch.get(index);
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                (record.timestamp, owned(record.key), owned(record.value))
            })),
            Fetched::CaughtUp { .. } => return rows,
            Fetched::Nothing => panic!("{topic}: neither a record nor the end came"),
        }
    }
}

/// Copies a directory that others may be writing to, as it could have been at one moment: no snapshot speaks of a
/// commit, and no commit of a record, that the copy has not got.
fn copied(from: &Path) -> TempDir {
    let to = temporary();
    let (state, log) = (from.join("state"), Path::new("log").join("commits"));
    while state.is_dir() {
        let before = listed(&state);
        let copy = to.path().join("state");
        copy_missing(&state, &copy);
        // Files of snapshots come, grow and go, and never change.
        if listed(&state) == before && listed(&copy) == before {
            break;
        }
        std::fs::remove_dir_all(copy).unwrap();
    }
    if from.join(&log).is_file() {
        std::fs::create_dir(to.path().join("log")).unwrap();
        std::fs::copy(from.join(&log), to.path().join(&log)).unwrap();
    }
    copy_missing(&from.join("log"), &to.path().join("log"));
    to
}

/// The files below a directory, with their lengths.
fn listed(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let Some(found) = unless_gone(entry.metadata()) else {
            continue;
        };
        let name = PathBuf::from(entry.file_name());
        if found.is_dir() {
            let below = listed(&entry.path()).into_iter();
            files.extend(below.map(|(path, length)| (name.join(path), length)));
        } else {
            files.insert(name, found.len());
        }
    }
    files
}

fn copy_missing(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_missing(&path, &copy);
        } else if !copy.exists() {
            unless_gone(std::fs::copy(&path, &copy));
        }
    }
}

/// A file may be gone, or have got another name, since its name was read.
fn unless_gone<T>(result: std::io::Result<T>) -> Option<T> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        result => Some(result.unwrap()),
    }
}
