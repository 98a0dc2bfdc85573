//! Keeping the epoch log short: entries that no kept snapshot needs and that are old enough are deleted.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::clock::Clock;
use super::epoch_log::epoch_topic;
use crate::connect::{Log, TopicPartition};
use crate::error::{LogError, RunError};
use crate::snapshot::SnapshotKeeper;

/// Shortens the epoch log of an application now and then, until it is dropped.
pub(crate) struct Trimmer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Trimmer {
    /// Looks `every` so often whether there is something to delete; the first time at once.
    pub(crate) fn start(
        log: Arc<dyn Log>,
        application_id: &str,
        keeper: Arc<SnapshotKeeper>,
        retention: Duration,
        every: Duration,
    ) -> Result<Self, RunError> {
        let partition = TopicPartition::new(epoch_topic(application_id), 0);
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("tiderace-trim".into())
            .spawn(move || {
                let mut begins_at = 0;
                loop {
                    match trim(&*log, &partition, &keeper, retention, begins_at) {
                        Ok(first) => begins_at = first,
                        Err(error) => tracing::warn!(
                            %error,
                            "the epoch log could not be shortened; nothing is lost, it is tried again"
                        ),
                    }
                    if stopped.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            });
        let thread =
            thread.map_err(|e| RunError::Bug(format!("no thread could be started: {e}")))?;
        Ok(Trimmer {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Trimmer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, nothing depends on it.
            let _ = thread.join();
        }
    }
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
