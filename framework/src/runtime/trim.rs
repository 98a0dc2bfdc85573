//! Keeping the epoch log short: entries that no kept snapshot needs and that are old enough are deleted.

use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::epoch_log::epoch_topic;
use super::periodic::Periodic;
use crate::connect::{Log, TopicPartition};
use crate::error::{LogError, RunError};
use crate::snapshot::SnapshotKeeper;

/// It does not look more often than this, however often snapshots are taken.
const SELDOM: Duration = Duration::from_millis(10);

/// Shortens the epoch log of an application `every` so often, within reason, the first time at once, until the result is dropped.
pub(crate) fn keep_short(
    log: Arc<dyn Log>,
    application_id: &str,
    keeper: Arc<SnapshotKeeper>,
    retention: Duration,
    every: Duration,
) -> Result<Periodic, RunError> {
    let partition = TopicPartition::new(epoch_topic(application_id), 0);
    let mut begins_at = 0;
    Periodic::start("tiderace-trim", every.max(SELDOM), move || {
        match trim(&*log, &partition, &keeper, retention, begins_at) {
            Ok(first) => begins_at = first,
            Err(error) => tracing::warn!(
                %error,
                "the epoch log could not be shortened; nothing is lost, it is tried again"
            ),
        }
    })
}

/// Deletes what is old and needed by no snapshot, and returns the offset at which the log begins now at least.
fn trim(
    log: &dyn Log,
    partition: &TopicPartition,
    keeper: &SnapshotKeeper,
    retention: Duration,
    begins_at: i64,
) -> Result<i64, LogError> {
    let Some(oldest) = keeper.oldest() else {
        return Ok(begins_at);
    };
    if oldest.log.offset <= begins_at {
        return Ok(begins_at);
    }
    let millis = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let young = Clock::system().wall_millis().saturating_sub(millis);
    let young = log.offset_for_time(partition, young)?;
    let before = young.unwrap_or(i64::MAX).min(oldest.log.offset);
    if before > begins_at {
        log.delete_records(partition, before)?;
    }
    Ok(before.max(begins_at))
}
