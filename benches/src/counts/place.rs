//! Where events and counts lie: a directory, with an embedded log in it or a broker beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{Log, NewTopic};
use tiderace::error::LogError;

use super::job::{APPLICATION, COUNTS, EVENTS};
use crate::Failure;

/// Partitions of both topics.
pub(super) const PARTITIONS: u32 = 4;

/// A directory, and brokers to use in the embedded log's stead.
#[derive(Clone, Debug)]
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

    /// Makes the topics.
    pub(super) fn create_topics(&self) -> Result<(), LogError> {
        self.create_topic(EVENTS, PARTITIONS)?;
        self.create_topic(COUNTS, PARTITIONS)?;
        self.create_topic(&format!("{APPLICATION}-epochs"), 1)
    }

    /// Makes a topic that keeps records of any age.
    pub(super) fn create_topic(&self, name: &str, partitions: u32) -> Result<(), LogError> {
        self.open()?.create_topic(&NewTopic {
            name: name.to_owned(),
            partitions,
            config: BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]),
        })
    }

    fn snapshots(&self) -> PathBuf {
        self.directory
            .join("state")
            .join(APPLICATION)
            .join("snapshots")
    }

    /// Keeps what the newest snapshot is made of under other names, so that it is still there when it is superseded.
    pub(super) fn keep_newest(&self, aside: &Path) -> Result<Vec<PathBuf>, Failure> {
        #[derive(Deserialize)]
        struct Manifest {
            files: Vec<File>,
        }
        #[derive(Deserialize)]
        struct File {
            name: String,
        }
        let snapshots = self.snapshots();
        let mut manifests = Vec::new();
        for entry in std::fs::read_dir(&snapshots)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".manifest") {
                manifests.push(name);
            }
        }
        let newest = manifests.into_iter().max().ok_or("there is no snapshot")?;
        let text = std::fs::read_to_string(snapshots.join(newest))?;
        // The line begins with its checksum.
        let json = text.find('{').map(|at| &text[at..]).ok_or("no manifest")?;
        let manifest: Manifest = serde_json::from_str(json)?;
        std::fs::create_dir_all(aside)?;
        let mut kept = Vec::new();
        for file in manifest.files {
            let to = aside.join(&file.name);
            if !to.exists() {
                std::fs::hard_link(snapshots.join(&file.name), &to)?;
            }
            kept.push(to);
        }
        Ok(kept)
    }
}
