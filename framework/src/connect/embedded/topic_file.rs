//! The directory of a topic: its description in a file of its own, a directory a partition, and the lock of
//! its one writer. Whether the topic is there is for the commits file to say.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{self, cannot_read, damaged};
use super::format::{Format, PREAMBLE, frame, unframe};
use super::segment::SEGMENT_BYTES;
use super::topic_config;
use crate::connect::{NewTopic, is_topic_name};
use crate::error::LogError;
use crate::lock_file::LockFile;

const FORMAT: Format = Format {
    magic: *b"TIDEtopc",
    version: 1,
};
/// A directory for each, so there is a limit.
const MAX_PARTITIONS: u32 = 10_000;

/// What a topic's file holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TopicFile {
    /// The topic's number in the commits file.
    id: u64,
    /// How many partitions it was created with; the commits file knows how many there are.
    partitions: u32,
    /// The topic's id, which no other topic has, in this or another directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) topic_id: Option<String>,
    /// The topic's configuration, by name.
    pub(super) config: BTreeMap<String, String>,
}

/// Refuses a topic that cannot be created.
pub(super) fn check_new(topic: &NewTopic) -> Result<(), LogError> {
    let name = &topic.name;
    let refused = |reason: String| Err(LogError::Refused(reason));
    if !is_topic_name(name) {
        return refused(format!(
            "topic name `{name}` is not valid: it takes 1 to 249 letters, digits, `.`, `_` or `-`, and not just `.` or `..`"
        ));
    }
    if name == "commits" {
        return refused(
            "topic name `commits` is taken: the log's own file is called so".to_owned(),
        );
    }
    check_partitions(name, topic.partitions)?;
    topic_config::check(topic)
}

/// Refuses a number of partitions that no topic can have.
pub(super) fn check_partitions(name: &str, partitions: u32) -> Result<(), LogError> {
    if (1..=MAX_PARTITIONS).contains(&partitions) {
        return Ok(());
    }
    Err(LogError::Refused(format!(
        "topic `{name}`: {partitions} partitions are not between 1 and {MAX_PARTITIONS}"
    )))
}

/// Makes the directories of partitions that are about to be there, over what an interrupted attempt has left.
pub(super) fn add_partitions(
    log: &Path,
    name: &str,
    partitions: std::ops::Range<u32>,
) -> Result<(), LogError> {
    let directory = log.join(name);
    for partition in partitions {
        disk::create_directory(&directory.join(partition.to_string()))?;
    }
    disk::sync_directory(&directory)
}

/// Writes the directory of a topic that is about to be there, over what an interrupted attempt has left.
pub(super) fn create(log: &Path, id: u64, topic: &NewTopic) -> Result<(), LogError> {
    let directory = log.join(&topic.name);
    disk::remove_directory(&directory)?;
    disk::create_directory(&directory)?;
    add_partitions(log, &topic.name, 0..topic.partitions)?;
    let described = TopicFile {
        id,
        partitions: topic.partitions,
        topic_id: Some(random_id()),
        config: topic.config.clone(),
    };
    let json = serde_json::to_vec(&described).expect("strings and numbers are JSON");
    let mut bytes = FORMAT.preamble().to_vec();
    bytes.extend(frame(&json));
    disk::publish(&path(log, &topic.name), &bytes, |_| ())?;
    disk::sync_directory(&directory)?;
    disk::sync_directory(log)
}

/// 128 random bits, 32 hexadecimal digits.
fn random_id() -> String {
    // Each state is seeded by the system anew.
    let half = || RandomState::new().hash_one((std::process::id(), crate::clock::instant()));
    format!("{:016x}{:016x}", half(), half())
}

/// Reads the description of a topic that is there.
pub(super) fn read(log: &Path, id: u64, name: &str) -> Result<TopicFile, LogError> {
    let path = path(log, name);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(
                &path,
                0,
                "the file is missing, but the topic is there",
            ));
        }
        bytes => bytes.map_err(cannot_read(&path))?,
    };
    FORMAT.check(&bytes, &path)?;
    let at = PREAMBLE as u64;
    let json = unframe(&bytes[PREAMBLE..], &path, at)?.ok_or_else(|| {
        damaged(
            &path,
            bytes.len() as u64,
            "the file ends within the description",
        )
    })?;
    let topic: TopicFile = serde_json::from_slice(json)
        .map_err(|error| damaged(&path, at, format!("no description: {error}")))?;
    if topic.id != id {
        return Err(damaged(
            &path,
            at,
            format!("it describes topic number {}, not number {id}", topic.id),
        ));
    }
    Ok(topic)
}

/// Takes the lock of the topic's one writer.
pub(super) fn lock_writer(log: &Path, name: &str) -> Result<LockFile, LogError> {
    if !log.join(name).is_dir() {
        return Err(damaged(
            &log.join(name),
            0,
            "the topic's directory is missing",
        ));
    }
    LockFile::acquire(
        &log.join(name).join("lock"),
        &format!("the writing of topic `{name}`"),
    )
}

impl TopicFile {
    /// The largest record that the topic takes, in bytes.
    pub(super) fn max_message_bytes(&self) -> usize {
        topic_config::max_message_bytes(&self.config).unwrap_or(topic_config::MAX_MESSAGE_BYTES)
    }

    /// A segment that is so long, in bytes, gets a successor with the next batch.
    pub(super) fn segment_bytes(&self) -> u64 {
        topic_config::segment_bytes(&self.config).unwrap_or(SEGMENT_BYTES)
    }
}

fn path(log: &Path, name: &str) -> PathBuf {
    log.join(name).join("topic")
}
