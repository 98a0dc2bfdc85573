//! Whether the counts are right: of every key the last one, and none twice or out of order.

use std::time::Duration;

use tiderace::connect::{Fetched, TopicPartition};

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
    let (mut written, mut open) = (0, partitions.len());
    while open > 0 {
        match source.poll(Duration::from_secs(1))? {
            Fetched::Nothing => {}
            Fetched::CaughtUp { .. } => open -= 1,
            Fetched::Batch(batch) => {
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
                    written += 1;
                }
            }
        }
    }
    for (key, (count, sent)) in counts.iter().zip(sent).enumerate() {
        if *count != u64::from(*sent) {
            return Err(
                format!("key {key} was sent {sent} times and counted {count} times").into(),
            );
        }
    }
    Ok(written)
}
