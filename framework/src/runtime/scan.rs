//! Reading what a partition holds at this moment, for those who only look.

use std::time::Duration;

use crate::connect::{Fetched, Log, PartitionOffsets, RecordBatch, TopicPartition};
use crate::error::LogError;

/// Memory that the reader's client may buffer, in bytes.
const MEMORY: usize = 16 << 20;
/// How long one look for records takes at most.
const LOOK: Duration = Duration::from_millis(100);
/// How long an open transaction may hide the end: longer than one may last.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hands the committed records of a partition from its first one to its end as of now to `take`.
pub(crate) fn scan(
    log: &dyn Log,
    partition: &TopicPartition,
    held: PartitionOffsets,
    mut take: impl FnMut(&dyn RecordBatch, usize),
) -> Result<(), LogError> {
    if held.first >= held.end {
        return Ok(());
    }
    let mut source = log.source(&[(partition.clone(), held.first)], MEMORY)?;
    let mut last = crate::clock::instant();
    loop {
        match source.poll(LOOK)? {
            Fetched::Batch(batch) => {
                last = crate::clock::instant();
                for index in 0..batch.len() {
                    if batch.get(index).offset >= held.end {
                        return Ok(());
                    }
                    take(&*batch, index);
                }
                if batch.get(batch.len() - 1).offset + 1 >= held.end {
                    return Ok(());
                }
            }
            Fetched::CaughtUp { position, .. } if position >= held.end => return Ok(()),
            Fetched::CaughtUp { .. } | Fetched::Nothing => {
                if last.elapsed() >= PATIENCE {
                    let reason = format!(
                        "{partition}: a transaction stays open and hides what lies behind it"
                    );
                    return Err(LogError::Client {
                        location: log.location(),
                        reason,
                    });
                }
            }
        }
    }
}
