//! The entries of the epoch log: everything that a replay needs and that does not follow from the input alone.
//!
//! An entry is JSON under its epoch as key (8 bytes, big-endian). Entry 0 stands before any input is read, a start
//! entry behind the epochs that a start is to replay, an epoch's entry in the transaction of its outputs. Each names
//! the hash of the one before it, so that a missing or changed entry shows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tiderace_operators::dataflow::Epoch;
use tiderace_operators::record::EventTime;
use xxhash_rust::xxh3::xxh3_128;

use super::report::{Counts, NodeCounts};
use crate::config::Guarantee;
use crate::topology::Fingerprint;

/// Version of the entries' form.
pub(crate) const VERSION: u32 = 1;

/// An entry of the epoch log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// Entry 0.
    Origin(Origin),
    /// A start of the application.
    Start(Start),
    /// A committed epoch.
    Epoch(EpochEntry),
    /// The end of all that stands before it.
    Reset(Reset),
}

/// What is fixed before any input is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) version: u32,
    pub(crate) application_id: String,
    pub(crate) topology: Fingerprint,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) shards: u32,
    pub(crate) inputs: Vec<Input>,
    #[serde(default)]
    pub(crate) outputs: Vec<Output>,
    /// Hash of the entry before it: none, or that of a reset.
    pub(crate) previous: String,
}

/// Where reading of a topic begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Input {
    pub(crate) topic: String,
    /// The topic's id, where the log gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) table: bool,
    /// The first partition that is meant; 0 unless partitions were added later.
    #[serde(default)]
    pub(crate) first: u32,
    /// The last epoch before the start that has added it: the entry of that start says so. 0 behind a snapshot, which
    /// knows all partitions that were added before it.
    #[serde(skip)]
    pub(crate) after: Epoch,
    /// First offset to be read, by partition from `first` on.
    pub(crate) start: Vec<i64>,
    /// Of a table: the ends that must be reached before any stream is read.
    pub(crate) end: Vec<i64>,
}

impl Input {
    /// One partition of a stream that was added, read from `start` on and known behind epoch `after`.
    pub(crate) fn one(topic: &str, partition: u32, start: i64, after: Epoch) -> Self {
        Input {
            topic: topic.to_owned(),
            id: None,
            table: false,
            first: partition,
            after,
            start: vec![start],
            end: Vec::new(),
        }
    }
}

/// Where a topic that is written ended before the application wrote to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Output {
    pub(crate) topic: String,
    /// The topic's id, where the log gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// Offset that the next record will have at least, by partition.
    pub(crate) end: Vec<i64>,
}

/// A start of the application, by a fresh incarnation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) incarnation: String,
    /// The last epoch committed before.
    pub(crate) after: u64,
    pub(crate) workers: usize,
    /// The program that starts.
    pub(crate) topology: Fingerprint,
    /// Its parameters.
    pub(crate) parameters: BTreeMap<String, String>,
    /// Topics and partitions that are read from here on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) added: Vec<Input>,
    /// What is promised of the outputs from here on: under [`Guarantee::AtLeastOnce`] they may be there before any
    /// entry says so.
    #[serde(default, skip_serializing_if = "Guarantee::is_exactly_once")]
    pub(crate) guarantee: Guarantee,
    /// What was gone before it was read, and is left out by the user's word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lost: Vec<Loss>,
    pub(crate) previous: String,
}

/// What stands before it in the log is forgotten, and so is every snapshot of it; the next start begins anew, with an
/// entry 0 of its own. Committed by itself, which is the moment at which the application is reset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reset {
    pub(crate) application_id: String,
    /// The last epoch that is forgotten.
    pub(crate) forgets: u64,
    /// The topics that were read, with where they are to be read from.
    pub(crate) begins: Vec<Begin>,
    /// Where topics begin that are not among these, in milliseconds since 1970; their first record, without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from_time: Option<i64>,
    pub(crate) previous: String,
}

/// Where a topic is read from behind a reset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) topic: String,
    /// The topic's id, where the log gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// Tables are read from their beginning, always.
    pub(crate) table: bool,
    /// First offset to be read, by partition; a partition that is not among them begins with its first record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) start: Vec<i64>,
}

/// Offsets of a partition that were gone before they were read: reading goes on behind them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loss {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    /// The first offset that is lost.
    pub(crate) from: i64,
    /// The offset behind the last.
    pub(crate) to: i64,
}

/// A committed epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochEntry {
    pub(crate) epoch: u64,
    pub(crate) incarnation: String,
    pub(crate) topology: Fingerprint,
    /// What was read of each partition that was read at all.
    pub(crate) read: Vec<Share>,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) counts: Counts,
    /// Rows read from the topics of tables.
    pub(crate) rows: u64,
    pub(crate) windows_closed: u64,
    /// By topic.
    pub(crate) outputs: BTreeMap<String, Digest>,
    /// By the step's name, if it did anything. None in entries of before it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) steps: Option<BTreeMap<String, StepDigest>>,
    /// What is promised of the outputs: only under [`Guarantee::ExactlyOnce`] they are in the entry's transaction.
    #[serde(default, skip_serializing_if = "Guarantee::is_exactly_once")]
    pub(crate) guarantee: Guarantee,
    pub(crate) previous: String,
}

/// What a step did in an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepDigest {
    /// The verdicts that it gave.
    #[serde(flatten)]
    pub(crate) counts: NodeCounts,
    /// Results of several records that it let go of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) results: Option<ResultsDigest>,
}

/// The results that a step let go of in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResultsDigest {
    pub(crate) records: u64,
    /// The sum of their hashes, 32 hexadecimal digits; see [`NodeTally`](tiderace_operators::tally::NodeTally).
    pub(crate) hash: String,
}

/// What an epoch read of a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    /// Offset of the last record taken, plus one.
    pub(crate) end: i64,
    pub(crate) records: u64,
    /// Offsets of records rejected and left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) skipped: Vec<i64>,
    /// Offsets of records rejected and sent to the dead-letter topic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dead_lettered: Vec<i64>,
}

/// What does not follow from the input alone. Takes effect at the start of its epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decision {
    /// A silent partition is left out of the watermark.
    Idle { topic: String, partition: u32 },
    /// A partition is in the watermark (again).
    Active { topic: String, partition: u32 },
    /// A partition of a bounded run has been read to its end.
    Ended { topic: String, partition: u32 },
    /// A partition that the topic was given while it was read; it is read from `start` on and counts in the watermark.
    Added {
        topic: String,
        partition: u32,
        start: i64,
    },
    /// The input has ended; the largest stream time of all partitions.
    End { stream_time: EventTime },
    /// The watermark was moved by hand.
    Watermark { time: EventTime },
}

/// What an epoch wrote to a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    pub(crate) records: u64,
    /// XXH3-128 over the records in canonical order, before partitioning, 32 hexadecimal digits: what a replay is
    /// compared by.
    pub(crate) hash: String,
    /// What each partition got, if it got anything: what the topic is checked by.
    #[serde(default)]
    pub(crate) partitions: Vec<PartitionDigest>,
}

/// What an epoch wrote to a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionDigest {
    pub(crate) partition: u32,
    pub(crate) records: u64,
    /// XXH3-128 over the records in the order in which they lie there.
    pub(crate) hash: String,
}

impl Digest {
    /// Whether the same records were written, into whatever partitions: their number may have changed.
    pub(crate) fn is_same(&self, other: &Digest) -> bool {
        self.records == other.records && self.hash == other.hash
    }
}

/// The hash by which the next entry names this one.
pub(crate) fn hash(entry: &[u8]) -> String {
    format!("{:032x}", xxh3_128(entry))
}

#[cfg(test)]
impl Start {
    /// The start of an unchanged program, for tests.
    pub(crate) fn of(incarnation: &str, after: u64, previous: String) -> Self {
        Start {
            incarnation: incarnation.to_owned(),
            after,
            workers: 1,
            topology: Fingerprint::default(),
            parameters: BTreeMap::new(),
            added: Vec::new(),
            guarantee: Guarantee::ExactlyOnce,
            lost: Vec::new(),
            previous,
        }
    }
}

impl Entry {
    /// Whether the application begins with it: what stands before in the log is forgotten.
    pub(crate) fn begins_anew(&self) -> bool {
        matches!(self, Entry::Origin(_) | Entry::Reset(_))
    }

    /// The hash of the entry before it.
    pub(crate) fn previous(&self) -> &str {
        match self {
            Entry::Origin(entry) => &entry.previous,
            Entry::Start(entry) => &entry.previous,
            Entry::Epoch(entry) => &entry.previous,
            Entry::Reset(entry) => &entry.previous,
        }
    }

    /// The bytes that are written.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("entries hold nothing that JSON cannot")
    }
}
