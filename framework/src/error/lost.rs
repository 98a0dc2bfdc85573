//! Input that was gone before it could be read, or read again.

use std::fmt;

use crate::connect::TopicPartition;

/// Offsets of a partition that are no longer held, though they were to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Topic and partition.
    pub partition: TopicPartition,
    /// The offset that was to be read next.
    pub wanted: i64,
    /// The first offset held.
    pub first: i64,
}

impl Gap {
    /// How many offsets are missing: as many records, or fewer where transactions or compaction have left holes.
    pub fn offsets(&self) -> u64 {
        u64::try_from(self.first - self.wanted).unwrap_or(0)
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (partition, wanted, first) = (&self.partition, self.wanted, self.first);
        write!(
            f,
            "{partition}: {} offsets, from {wanted} to {}; the first one held is {first}",
            self.offsets(),
            first - 1
        )
    }
}

fn list(gaps: &[Gap]) -> String {
    let each: Vec<_> = gaps.iter().map(|gap| format!("\n  - {gap}")).collect();
    each.concat()
}

/// Says what is missing that was never read.
pub(super) fn unread(gaps: &[Gap]) -> String {
    let mut topics: Vec<_> = gaps.iter().map(|gap| &gap.partition.topic).collect();
    topics.dedup();
    let flags = topics.iter().map(|topic| format!(" --accept-loss {topic}"));
    format!(
        "records are no longer held that have not been read yet:{}\nNothing was read or written, and what was committed is \
         safe. To leave them out for good and go on behind them, start with{}: the epoch log will say so. A longer \
         retention of the topic (retention.ms, retention.bytes) keeps it from happening again",
        list(gaps),
        flags.collect::<String>()
    )
}

/// Says what is missing of what a replay has to read again, for epochs from `first` to `last`.
pub(super) fn unreplayed(gaps: &[Gap], first: u64, last: u64) -> String {
    format!(
        "epochs up to {last} have to be replayed, and records that they read, from epoch {first} on, are no longer held:\
         {}\nNothing was read or written, and what was committed is safe. Without these records the state cannot be made \
         again, so their loss cannot be accepted. Bring back a snapshot of epoch {last} or later; or begin anew, \
         with `tiderace reset` or another --application-id",
        list(gaps)
    )
}

/// Says what is missing of the records that an epoch has read of a partition, or that it has not read all.
pub(super) fn vanished(
    partition: &TopicPartition,
    table: bool,
    (counted, found): (u64, u64),
    end: i64,
    epoch: u64,
) -> String {
    if found > counted {
        return format!(
            "replayed, {partition} holds {found} records where the epoch had read {counted}, up to offset {end}: it skipped \
             some, and what is committed lacks them; no step is to blame. Nothing was written. `tiderace check --inputs` \
             names every such epoch. Bring back a snapshot of epoch {epoch} or later to go on without these records; or \
             begin anew, with `tiderace reset` or another --application-id, and they are read"
        );
    }
    let what = match table {
        true => {
            "The others were rows of a table that newer rows of their keys have replaced, and the topic was compacted \
             since, or they were deleted"
        }
        false => "The others were deleted since, or the topic was compacted",
    };
    format!(
        "replayed, {partition} holds {found} of the {counted} records that the epoch had read up to offset {end}. {what}; no \
         step is to blame. Without them the state cannot be made again. Nothing was written, and what was committed is \
         safe. Bring back a snapshot of epoch {epoch} or later; or begin anew, with `tiderace reset` or another \
         --application-id. A \
         min.compaction.lag.ms of the topic that is longer than the oldest snapshot gets old, or snapshots that are taken \
         more often (snapshot.interval.ms), keep it from happening again"
    )
}
