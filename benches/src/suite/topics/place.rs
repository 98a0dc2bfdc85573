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
use tempfile::TempDir;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{Log, NewTopic};
use tiderace::error::LogError;
use tiderace_testing::kafka::Kafka;

use crate::Failure;
use crate::suite::Options;

/// Partitions of inputs and outputs.
pub(in crate::suite) const PARTITIONS: u32 = 4;

/// How long a broker may take to make or delete a topic.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory, and brokers to use in place of the embedded log in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::suite) struct Place {
    pub(in crate::suite) directory: PathBuf,
    pub(in crate::suite) brokers: Option<String>,
}

/// A place for the time of a benchmark, with the broker that was started for it, if one was.
pub(in crate::suite) struct Broker {
    place: Place,
    _directory: TempDir,
    _started: Option<Kafka>,
}

impl Broker {
    /// The embedded log, a broker that runs, or one of its own, as it was asked for.
    pub(in crate::suite) fn start(options: &Options) -> Result<Self, Failure> {
        std::fs::create_dir_all(&options.dir)?;
        let directory = TempDir::with_prefix_in("topics-", &options.dir)?;
        let started = match (&options.brokers, options.embedded()) {
            (None, false) => {
                Some(Kafka::start_measured().ok_or("a broker needs Java 17 and Maven")?)
            }
            _ => None,
        };
        let own = started.as_ref().map(|broker| broker.bootstrap().to_owned());
        let place = Place {
            directory: directory.path().to_owned(),
            brokers: options.brokers.clone().or(own),
        };
        Ok(Broker {
            place,
            _directory: directory,
            _started: started,
        })
    }

    pub(in crate::suite) fn place(&self) -> &Place {
        &self.place
    }
}

impl Place {
    pub(in crate::suite) fn name(&self) -> &'static str {
        match self.brokers {
            Some(_) => "Kafka",
            None => "the embedded log",
        }
    }

    pub(in crate::suite) fn open(&self) -> Result<Arc<dyn Log>, LogError> {
        self.open_with(&[])
    }

    /// Opens it with these properties of Kafka's client.
    pub(in crate::suite) fn open_with(
        &self,
        properties: &[(&str, &str)],
    ) -> Result<Arc<dyn Log>, LogError> {
        let properties = properties.iter();
        let properties = properties.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Ok(match &self.brokers {
            Some(brokers) => Arc::new(KafkaLog::connect(brokers, &properties.collect())?),
            None => Arc::new(EmbeddedLog::open(&self.directory)?),
        })
    }

    /// Makes a topic that keeps records of any age.
    pub(in crate::suite) fn create(&self, topic: &str) -> Result<(), Failure> {
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
    pub(in crate::suite) fn delete(&self, prefix: &str) -> Result<(), Failure> {
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
