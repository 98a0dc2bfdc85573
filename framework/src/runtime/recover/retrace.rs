//! Going through the epoch log: from where it is read, and what its entries come to.

use super::{Kept, Recovered};
use crate::connect::{EpochRecord, Log, TopicPartition, Transactions};
use crate::error::{LogError, RunError};
use crate::runtime::entry::{self, Entry};
use crate::runtime::epoch_log::{RESET, epoch_topic, failed};
use crate::snapshot::LogPlace;

/// Reads the log behind a snapshot, or from its first entry on without one, and goes through it.
pub(super) fn read(
    transactions: &mut dyn Transactions,
    application_id: &str,
    log: &dyn Log,
    kept: Option<Kept>,
) -> Result<Recovered, RunError> {
    let mut from = kept.as_ref().map_or(0, |kept| kept.place.offset);
    let topic = epoch_topic(application_id);
    let held = log.topic(&topic)?;
    let first = held.and_then(|topic| topic.partitions.first().map(|of| of.first));
    let gone = first.filter(|first| from < *first && kept.is_some());
    if gone.is_some() {
        // Nothing follows the snapshot any more, unless the log begins anew.
        from = 0;
    }
    let records = transactions.read_epochs(from).map_err(failed)?;
    if let (Some(first), Some(kept), false) = (gone, &kept, begins_anew(&records)) {
        return Err(RunError::Log(LogError::Gone {
            partition: TopicPartition::new(topic, 0),
            wanted: kept.place.offset,
            first,
        }));
    }
    retrace(records, application_id, kept)
}

/// Whether an application begins with one of these entries.
fn begins_anew(records: &[EpochRecord]) -> bool {
    records
        .iter()
        .filter_map(at_zero)
        .any(|entry| entry.begins_anew())
}

/// An entry whose key says that it may be one without an epoch.
fn at_zero(record: &EpochRecord) -> Option<Entry> {
    (record.epoch == 0).then(|| serde_json::from_slice(&record.value).ok())?
}

/// Goes through the entries behind a snapshot, or from the first one on without one, and checks their chain. What
/// stands before the last reset does not count, nor does a snapshot of it.
///
/// # Errors
/// They do not follow each other, or not the snapshot, or this version cannot read one.
pub(crate) fn retrace(
    mut records: Vec<EpochRecord>,
    application_id: &str,
    kept: Option<Kept>,
) -> Result<Recovered, RunError> {
    let is_reset = |record: &EpochRecord| matches!(at_zero(record), Some(Entry::Reset(_)));
    let forgotten = kept.as_ref().is_some_and(|kept| {
        // The offset that a snapshot names may lie before the entry of its epoch, before entry 0 even.
        let anew = |record: &EpochRecord| at_zero(record).is_some_and(|it| it.begins_anew());
        let anew = records.iter().rposition(anew);
        anew.is_some_and(|anew| {
            let mut behind = records[anew..].iter();
            !behind.any(|record| entry::hash(&record.value) == kept.place.hash)
        })
    });
    if let Some(reset) = records.iter().rposition(is_reset) {
        records.drain(..reset);
    }
    let mut recovered = Recovered::new(kept.filter(|_| !forgotten));
    recovered.forgotten = forgotten;
    let known = |record: &EpochRecord| entry::hash(&record.value) == recovered.last_hash;
    if let Some(known) = records.iter().position(known) {
        records.drain(..=known);
    }
    for record in records {
        let entry: Entry = serde_json::from_slice(&record.value).map_err(|e| {
            RunError::Refused(format!(
                "the epoch log of `{application_id}` holds an entry at offset {} that this version cannot read: {e}",
                record.offset
            ))
        })?;
        let begins = !recovered.resumed && recovered.reset.is_none();
        if begins && !entry.begins_anew() {
            return Err(RunError::Refused(format!(
                "the epoch log of `{application_id}` begins with epoch {} at offset {}: older entries are deleted, and there \
                 is no snapshot to begin with. Bring the snapshots back, or use another --data-dir or --application-id to \
                 begin anew",
                record.epoch, record.offset
            )));
        }
        // Of what a reset has forgotten the last entry need not be held.
        if !begins && entry.previous() != recovered.last_hash {
            let reason = format!(
                "its entry does not follow the one before it: the epoch log of `{application_id}` is damaged, or it is not \
                 the one that the snapshot of epoch {} was taken of",
                recovered.basis.epoch
            );
            return Err(RunError::Replay {
                epoch: record.epoch,
                reason,
            });
        }
        recovered.last_hash = entry::hash(&record.value);
        recovered.log_end = record.offset + 1;
        recovered.resumed = !matches!(entry, Entry::Reset(_));
        if !recovered.resumed {
            recovered.starts.push((record.offset, RESET.to_owned()));
        }
        if let Entry::Start(start) = &entry {
            let start = (record.offset, start.incarnation.clone());
            recovered.starts.push(start);
        }
        if matches!(entry, Entry::Epoch(_)) {
            recovered.place = Some(LogPlace {
                offset: recovered.log_end,
                hash: recovered.last_hash.clone(),
            });
        }
        recovered.take(entry);
    }
    Ok(recovered)
}
