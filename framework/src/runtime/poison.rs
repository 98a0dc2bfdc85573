//! Records that user code panicked at and that the lives after it reject, by their positions.
//!
//! A panic comes behind the source, perhaps on another worker, when the source has counted its record already. So
//! the run starts again from the last commit, and this time the source knows the record: it rejects it before any
//! step sees it, under the same verdict, and with the same trace in the epoch log, as a record that it cannot read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::connect::{Fetched, Log, RecordBatch, TopicPartition};
use crate::error::PoisonRecord;

/// Memory that the client may use to look a record up, in bytes.
const MEMORY: usize = 1 << 20;

/// How long a record is looked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why each record is rejected, by its offset.
pub(crate) type Reasons = BTreeMap<i64, String>;

/// The records to be rejected. Clones are cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Poison(Arc<HashMap<TopicPartition, Reasons>>);

impl Poison {
    /// Adds a record and why it is rejected; false if it was there before.
    pub(super) fn add(&mut self, record: &PoisonRecord, reason: String) -> bool {
        let records = Arc::make_mut(&mut self.0);
        let of = records.entry(record.partition.clone()).or_default();
        of.insert(record.offset, reason).is_none()
    }

    /// Those of a partition.
    pub(super) fn of(&self, partition: &TopicPartition) -> Reasons {
        self.0.get(partition).cloned().unwrap_or_default()
    }
}

/// Reads the key of a record again: where the panic was noticed nothing but the record's position is left. `None`
/// if it has none, or cannot be read now.
pub(super) fn key_of(log: &dyn Log, partition: &TopicPartition, offset: i64) -> Option<Vec<u8>> {
    let until = crate::clock::instant() + PATIENCE;
    let mut source = log.source(&[(partition.clone(), offset)], MEMORY).ok()?;
    while crate::clock::instant() < until {
        match source.poll(Duration::from_millis(100)).ok()? {
            Fetched::Batch(batch) => return key_in(&*batch, offset),
            Fetched::CaughtUp { position, .. } if position > offset => return None,
            Fetched::CaughtUp { .. } | Fetched::Nothing => {}
        }
    }
    None
}

fn key_in(batch: &dyn RecordBatch, offset: i64) -> Option<Vec<u8>> {
    let found = (0..batch.len()).map(|index| batch.get(index));
    let found = found.into_iter().find(|record| record.offset == offset)?;
    found.key.map(<[u8]>::to_vec)
}
