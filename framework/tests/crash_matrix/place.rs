//! Where the lives of an application take place: a directory with an embedded log, and what a crash leaves of it.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Fetched, Log, NewTopic, SinkRecord, TopicPartition};
use tiderace::{Config, Engine, Report};

use crate::topologies::{APPLICATION, PARTITIONS, Scenario, TOPICS, names, visits};

/// How long a life may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A record without its offset.
pub(crate) type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// The directory in which the next life takes place.
pub(crate) struct Place {
    directory: Mutex<TempDir>,
    /// What the crash of the present life has left.
    left: Mutex<Option<TempDir>>,
}

impl Place {
    /// A log with the input, and nothing else.
    pub(crate) fn with_input() -> Place {
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
        for partition in 0..PARTITIONS {
            for visit in visits(partition) {
                let value = serde_json::to_vec(&visit).unwrap();
                send(&log, "visits", partition, visit.page, &value);
            }
        }
        for (page, name) in names() {
            send(&log, "names", 0, page, &serde_json::to_vec(&name).unwrap());
        }
        place
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

    fn log(&self) -> EmbeddedLog {
        EmbeddedLog::open(self.path()).unwrap()
    }

    /// Ends the process, as far as the next life can tell: what is on the disk now is what it finds.
    pub(crate) fn crash(&self) -> ! {
        *self.left.lock().unwrap() = Some(copied(&self.path()));
        // No panic is reported for what is no panic.
        std::panic::resume_unwind(Box::new("killed"))
    }

    /// Starts the application and waits for its end; `Err` says how it failed.
    pub(crate) fn live(&self, scenario: &Scenario, workers: usize) -> Result<Report, String> {
        let config = Config {
            workers,
            data_dir: self.path(),
            // Epochs close by the number of their records alone.
            commit_interval: Duration::from_secs(3600),
            epoch_records: 10,
            // Each life is one; what restarts within a process is tested in `supervision`.
            max_restarts: 0,
            ..Config::default()
        };
        let log = Arc::new(self.log());
        let life = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let running = Engine::start(scenario.topology(), log, &config)?;
            assert!(running.wait(PATIENCE), "the run does not end");
            running.join()
        }));
        if let Some(left) = self.left.lock().unwrap().take() {
            *self.directory.lock().unwrap() = left;
        }
        match life {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(_) => Err("a panic at the start".to_owned()),
        }
    }

    /// Forgets the snapshots that lives have left, so that the next one replays the whole epoch log.
    pub(crate) fn forget_snapshots(&self) {
        let snapshots = self
            .path()
            .join("state")
            .join(APPLICATION)
            .join("snapshots");
        std::fs::remove_dir_all(snapshots).unwrap();
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

/// In memory where the system has a place for that: the cases sync more than they do anything else.
fn temporary() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.unwrap()
}

/// Copies a directory that others may be writing to. The commits come first: what they speak of was written before.
fn copied(from: &Path) -> TempDir {
    let to = temporary();
    let commits = Path::new("log").join("commits");
    if from.join(&commits).is_file() {
        std::fs::create_dir(to.path().join("log")).unwrap();
        std::fs::copy(from.join(&commits), to.path().join(&commits)).unwrap();
    }
    copy_missing(from, to.path());
    to
}

fn copy_missing(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_missing(&path, &copy);
        } else if !copy.exists() {
            match std::fs::copy(&path, &copy) {
                // A temporary file that has got its name meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}
