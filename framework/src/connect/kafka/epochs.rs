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

pub(super) fn topic_of(application_id: &str) -> String {
    format!("{application_id}-epochs")
}

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
