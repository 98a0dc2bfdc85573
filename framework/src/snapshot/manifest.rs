//! The manifest: what makes a snapshot exist, and everything in it but the entries.
//!
//! One line of JSON, a checksum (XXH3-64 in 16 digits) in front of the rest:
//! `{"checksum":"0123456789abcdef","version":1,...}` and a line feed. The checksum is over all bytes behind its
//! comma, so that not one byte can change unseen. In every later version both stay where they are.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tiderace_operators::dataflow::Epoch;
use tiderace_operators::record::EventTime;
use xxhash_rust::xxh3::xxh3_64;

use super::data_file::newer;
use super::error::SnapshotError;

/// Version of the manifests written, and the newest read.
pub(super) const VERSION: u32 = 1;

/// What stands before the checksum.
const BEFORE: &[u8] = b"{\"checksum\":\"";

/// What stands between the checksum and what it is of.
const BEHIND: &[u8] = b"\",";

/// A snapshot: the state at the close of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub(super) version: u32,
    /// Whose state it is.
    pub application_id: String,
    /// The epoch at whose close the state was this.
    pub epoch: Epoch,
    /// When it was written, in milliseconds since 1970 by this machine's clock; decides nothing.
    pub written: i64,
    /// Hash of the topology that wrote it.
    pub topology: String,
    /// Entry 0 of the epoch log, as the runtime gave it.
    pub origin: serde_json::Value,
    /// How many shards there are.
    pub shards: u32,
    /// How many workers wrote it; decides nothing.
    pub workers: usize,
    /// The epoch's entry in the epoch log.
    pub log: LogPlace,
    /// How far the inputs were read.
    pub inputs: Vec<InputPlace>,
    /// What else the runtime needs to go on, as it gave it.
    pub standing: serde_json::Value,
    /// The steps with state.
    pub steps: Vec<StepState>,
    /// The data files, the base first.
    pub(super) files: Vec<FileRef>,
}

/// Where an epoch's entry stands in the epoch log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlace {
    /// The offset behind it.
    pub offset: i64,
    /// Its hash, by which the next entry names it.
    pub hash: String,
}

/// How far a partition was read, and what follows from that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPlace {
    /// The topic.
    pub topic: String,
    /// The topic's id, where the log has such: tells a topic that was deleted and created again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// The partition.
    pub partition: u32,
    /// Whether it is read into a table.
    pub table: bool,
    /// The next offset to be read.
    pub offset: i64,
    /// The largest timestamp seen; [`EventTime::MIN`] if none was.
    pub largest: EventTime,
    /// Whether it counts in the watermark.
    pub status: InputStatus,
}

/// Whether a partition counts in the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputStatus {
    /// It counts.
    Active,
    /// It is silent and left out until it speaks.
    Idle,
    /// It has been read to the end of a bounded run.
    Ended,
}

/// A step with state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepState {
    /// Its name, under which its entries are found again.
    pub name: String,
    /// What it is and does: state is not taken over by a step that does something else under this name.
    pub description: String,
    /// Its watermark.
    pub watermark: EventTime,
    /// Entries of earlier snapshots with smaller keys are gone; the files say so too.
    #[serde(with = "super::hex")]
    pub(super) floor: Vec<u8>,
}

/// A data file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileRef {
    pub(super) name: String,
    /// The epoch up to which it brings the state.
    pub(super) epoch: Epoch,
    pub(super) bytes: u64,
    /// Checksum of the whole.
    #[serde(with = "super::hex::checksum")]
    pub(super) checksum: u64,
    pub(super) kind: FileKind,
    /// By name, the steps whose entries in this file count, with the floor of each when it was written. A step that
    /// a later program has not is left out from then on, so that another of its name does not find the old entries.
    pub(super) floors: BTreeMap<String, Floor>,
    /// The largest floors of later epochs that had no file of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) after: BTreeMap<String, Floor>,
}

/// The smallest key that was not gone from earlier files.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Floor(#[serde(with = "super::hex")] pub(super) Vec<u8>);

/// What a file stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FileKind {
    /// On nothing.
    Base,
    /// On the files before it.
    Delta,
}

impl Manifest {
    /// The bytes that are published.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("a manifest holds nothing that JSON cannot");
        let mut rest = json[1..].to_vec();
        rest.push(b'\n');
        let mut bytes = BEFORE.to_vec();
        bytes.extend_from_slice(format!("{:016x}", xxh3_64(&rest)).as_bytes());
        bytes.extend_from_slice(BEHIND);
        bytes.extend_from_slice(&rest);
        bytes
    }

    /// Reads what was published at `path`; `application_id` is whose it must be.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`], or [`SnapshotError::Refused`] for what is whole but not for this program.
    pub(super) fn from_bytes(
        bytes: &[u8],
        path: &Path,
        application_id: &str,
    ) -> Result<Self, SnapshotError> {
        let damaged = |reason: String| SnapshotError::Damaged {
            object: path.to_owned(),
            offset: 0,
            reason,
        };
        let rest = checked(bytes)
            .ok_or_else(|| damaged("it is no manifest, or its checksum differs".to_owned()))?;
        let mut json = b"{".to_vec();
        json.extend_from_slice(rest);
        let unread = |error: serde_json::Error| damaged(format!("it cannot be read: {error}"));

        /// What every version has.
        #[derive(Deserialize)]
        struct Begin {
            version: u32,
        }
        let begin: Begin = serde_json::from_slice(&json).map_err(unread)?;
        if begin.version != VERSION {
            return Err(newer(path, begin.version, VERSION));
        }
        let manifest: Manifest = serde_json::from_slice(&json).map_err(unread)?;
        if manifest.application_id != application_id {
            return Err(SnapshotError::Refused(format!(
                "{} is a snapshot of application `{}`, not of `{application_id}`: every application has a directory \
                 of its own. Use another --data-dir, or move the files of the other one away",
                path.display(),
                manifest.application_id
            )));
        }
        Ok(manifest)
    }

    /// The state of a step, by its name.
    pub(super) fn step(&self, name: &str) -> Option<&StepState> {
        self.steps.iter().find(|step| step.name == name)
    }
}

/// The bytes behind the checksum, if it fits them.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (sum, rest) = bytes.strip_prefix(BEFORE)?.split_at_checked(16)?;
    let rest = rest.strip_prefix(BEHIND)?;
    (sum == format!("{:016x}", xxh3_64(rest)).as_bytes()).then_some(rest)
}
