//! Whether the counts are right: of every key the last one, and none twice or out of order.

use std::time::Duration;

use tiderace::connect::{Fetched, RecordBatch, TopicPartition};

use super::job::COUNTS;
use super::place::{PARTITIONS, Place};
use crate::Failure;

/// Reads what was written and compares it with what was sent; returns how many counts there are.
pub(super) fn verify(place: &Place, sent: &[u32]) -> Result<u64, Failure> {
    let log = place.open()?;
    let partitions: Vec<_> = (0..PARTITIONS)
        .map(|partition| (TopicPartition::new(COUNTS, partition), 0))
        .collect();
    let mut source = log.source(&partitions, 8 << 20)?;
    let mut counts = vec![0_u64; sent.len()];
    let mut written = 0;
    let mut caught_up = vec![false; partitions.len()];
    while caught_up.contains(&false) {
        match source.poll(Duration::from_secs(1))? {
            Fetched::Nothing => {}
            // One whose last transaction is ending just now is told of once more behind its end.
            Fetched::CaughtUp { slot, .. } => caught_up[slot] = true,
            Fetched::Batch(batch) => take(&*batch, &mut counts, &mut written)?,
        }
    }
    let mut keys = counts.iter().zip(sent).enumerate();
    match keys.find(|(_, (count, sent))| **count != u64::from(**sent)) {
        None => Ok(written),
        Some((key, (count, sent))) => {
            Err(format!("key {key} was sent {sent} times and counted {count} times").into())
        }
    }
}

/// Takes counts into account.
fn take(batch: &dyn RecordBatch, counts: &mut [u64], written: &mut u64) -> Result<(), Failure> {
    for index in 0..batch.len() {
        let record = batch.get(index);
        let number = |bytes: Option<&[u8]>| -> Option<u64> {
            Some(u64::from_be_bytes(bytes?.try_into().ok()?))
        };
        let (key, count) = number(record.key)
            .zip(number(record.value))
            .ok_or("a count that is none")?;
        let before = counts
            .get_mut(usize::try_from(key)?)
            .ok_or("a key that was never sent")?;
        if count <= *before {
            return Err(format!("key {key} is counted {count} behind {before}").into());
        }
        *before = count;
        *written += 1;
    }
    Ok(())
}
