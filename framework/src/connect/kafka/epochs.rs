//! The epoch log of an application: the one partition of `<application_id>-epochs`.

use std::sync::Arc;
use std::time::Duration;

use super::log::Cluster;
use super::source::KafkaSource;
use crate::connect::{EpochRecord, Fetched, RecordBatch, Source, TopicPartition, TransactionError};
use crate::error::LogError;

/// How long the end may stay behind an open transaction: longer than a transaction may last.
const LIMIT: Duration = Duration::from_secs(30);
const MEMORY: usize = 8 << 20;
/// How long a fetch waits: what is read is there, only the end is waited for.
const WAIT: Duration = Duration::from_millis(2);
/// Behind an entry just confirmed lie at most so many records that are no entries: nobody else writes here, and of each
/// turn a marker or two may have followed.
const NEAR: i64 = 6;
/// How long nothing may come before an entry is looked for further back.
const QUIET: Duration = Duration::from_secs(2);

/// The committed entries from `offset` on, or from the first one held if that is 0. Every transaction that is
/// open now has ended when this returns.
pub(super) fn read(
    cluster: &Arc<Cluster>,
    topic: &str,
    offset: i64,
) -> Result<Vec<EpochRecord>, TransactionError> {
    let held = cluster.client.offsets(topic, 0)?;
    let from = if offset == 0 { held.first } else { offset };
    let mut source = KafkaSource::open(
        cluster.clone(),
        &[(TopicPartition::new(topic, 0), from)],
        MEMORY,
        WAIT,
    )?;
    let mut entries = Vec::new();
    let started = crate::clock::instant();
    loop {
        match source.poll(Duration::from_millis(100))? {
            Fetched::Batch(batch) => take(cluster, topic, batch.as_ref(), &mut entries)?,
            Fetched::CaughtUp { position, .. } if position >= held.end => return Ok(entries),
            Fetched::CaughtUp { .. } | Fetched::Nothing => {}
        }
        if started.elapsed() >= LIMIT {
            let reason = format!(
                "topic `{topic}`: a transaction stays open and hides the end; if no other instance of the \
                 application runs, it hangs in the broker (see `kafka-transactions.sh find-hanging`)"
            );
            return Err(LogError::Client {
                location: cluster.properties.location(),
                reason,
            }
            .into());
        }
    }
}

/// The offset of the entry with these bytes, which is committed and one of the last: behind it are at most so many
/// `others`. It does not wait for the end: the next transaction may be open, and hide that.
pub(super) fn find(
    cluster: &Arc<Cluster>,
    topic: &str,
    key: &[u8],
    value: &[u8],
    others: i64,
) -> Result<i64, TransactionError> {
    let held = cluster.client.offsets(topic, 0)?;
    let mut back = NEAR + others;
    loop {
        let from = held.end.saturating_sub(back).max(held.first);
        if let Some(offset) = find_from(cluster, topic, from, key, value)? {
            return Ok(offset);
        }
        if from == held.first {
            let reason = format!(
                "topic `{topic}`: an entry that was committed is not there; have records of it been deleted?"
            );
            return Err(LogError::Client {
                location: cluster.properties.location(),
                reason,
            }
            .into());
        }
        back *= 16;
    }
}

/// Looks for an entry until none has come for a while.
fn find_from(
    cluster: &Arc<Cluster>,
    topic: &str,
    from: i64,
    key: &[u8],
    value: &[u8],
) -> Result<Option<i64>, TransactionError> {
    let partition = TopicPartition::new(topic, 0);
    let mut source = KafkaSource::open(cluster.clone(), &[(partition, from)], MEMORY, WAIT)?;
    let mut quiet_since = crate::clock::instant();
    while quiet_since.elapsed() < QUIET {
        let Fetched::Batch(batch) = source.poll(Duration::from_millis(100))? else {
            continue;
        };
        quiet_since = crate::clock::instant();
        let is = |index: &usize| {
            let record = batch.get(*index);
            record.key == Some(key) && record.value == Some(value)
        };
        if let Some(found) = (0..batch.len()).rev().find(is) {
            return Ok(Some(batch.get(found).offset));
        }
    }
    Ok(None)
}

fn take(
    cluster: &Cluster,
    topic: &str,
    batch: &dyn RecordBatch,
    entries: &mut Vec<EpochRecord>,
) -> Result<(), LogError> {
    for index in 0..batch.len() {
        let record = batch.get(index);
        let epoch = record
            .key
            .and_then(|key| key.try_into().ok())
            .map(u64::from_be_bytes);
        let (Some(epoch), Some(value)) = (epoch, record.value) else {
            let reason = format!(
                "topic `{topic}`, offset {}: not an entry of an epoch log",
                record.offset
            );
            return Err(LogError::Client {
                location: cluster.properties.location(),
                reason,
            });
        };
        entries.push(EpochRecord {
            offset: record.offset,
            epoch,
            value: value.to_vec(),
        });
    }
    Ok(())
}
