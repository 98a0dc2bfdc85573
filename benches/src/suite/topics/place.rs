//! Where topics lie: an embedded log in a directory, or a broker.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark waits and gives up by the clock"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{Log, NewTopic};
use tiderace::error::LogError;

use crate::Failure;

/// Partitions of inputs and outputs.
pub(super) const PARTITIONS: u32 = 4;

/// How long a broker may take to make or delete a topic.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory, and brokers to use in place of the embedded log in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) brokers: Option<String>,
}

impl Place {
    pub(super) fn open(&self) -> Result<Arc<dyn Log>, LogError> {
        Ok(match &self.brokers {
            Some(brokers) => Arc::new(KafkaLog::connect(brokers, &BTreeMap::new())?),
            None => Arc::new(EmbeddedLog::open(&self.directory)?),
        })
    }

    /// Makes a topic that keeps records of any age.
    pub(super) fn create(&self, topic: &str) -> Result<(), Failure> {
        let log = self.open()?;
        log.create_topic(&NewTopic {
            name: topic.to_owned(),
            partitions: PARTITIONS,
            config: BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]),
        })?;
        let begun = Instant::now();
        while log.topic(topic)?.is_none() {
            if begun.elapsed() > PATIENCE {
                return Err(format!("topic `{topic}` is not there after {PATIENCE:?}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Deletes the topics whose names begin so, and what applications of such names have left here.
    pub(super) fn delete(&self, prefix: &str) -> Result<(), Failure> {
        let log = self.open()?;
        for topic in log.topics()?.iter().filter(|it| it.starts_with(prefix)) {
            log.delete_topic(topic)?;
        }
        let states = self.directory.join("state");
        for entry in std::fs::read_dir(states).into_iter().flatten() {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}
