//! What a replay needs and is no longer held: entries of the epoch log, records of the inputs.

use std::ops::RangeInclusive;

use tiderace_operators::dataflow::Epoch;

use super::go_on;
use crate::connect::{EpochRecord, Log};
use crate::error::RunError;
use crate::runtime::epoch_log::epoch_topic;
use crate::runtime::epoch_view::EpochLogView;
use crate::runtime::inputs::describe;
use crate::runtime::kept::Found;
use crate::runtime::losses::lacking;
use crate::runtime::recover::Recovered;
use crate::runtime::slot::Slot;

/// The error that names these gaps.
pub(super) fn gone(epochs: &RangeInclusive<Epoch>, gaps: Vec<String>, remedy: String) -> RunError {
    RunError::Gone {
        what: format!(
            "epochs {} to {} cannot be replayed",
            epochs.start(),
            epochs.end()
        ),
        gaps,
        remedy,
    }
}

/// Whether the epoch log reaches back to the snapshot that was found, or to its beginning without one.
pub(super) fn of_log(
    view: &EpochLogView,
    epochs: &RangeInclusive<Epoch>,
    found: Option<&Found>,
    entries: &[EpochRecord],
) -> Option<RunError> {
    let first = view.entries().first()?;
    let topic = epoch_topic(view.application_id());
    let loaded = found.and_then(|found| found.loaded.as_ref());
    let (wanted, why) = match loaded.map(|loaded| loaded.manifest()) {
        // What lies behind its place and does not go on from it is damaged; reading it says so.
        Some(it) if it.log.offset >= first.offset || go_on(entries, &it.log.hash) => return None,
        Some(it) => (it.log.offset, format!("the snapshot of epoch {}", it.epoch)),
        None if view.is_whole() => return None,
        None => (0, "the first epoch, without a snapshot before them".into()),
    };
    let gap = format!(
        "topic `{topic}`, partition 0: the entries from offset {wanted} on are wanted, behind {why}; the first one held \
         is {}",
        first.offset
    );
    let oldest = found.and_then(|found| found.snapshots.epochs().into_iter().min());
    let remedy = match oldest {
        Some(oldest) => format!("epochs behind {oldest}, the oldest snapshot, can be"),
        None => "there is no snapshot behind which epochs can be".to_owned(),
    };
    Some(gone(epochs, vec![gap], remedy))
}

/// Whether the inputs hold all that the epochs have read; names every gap. Partitions of which nothing is wanted
/// begin where there is something.
pub(super) fn of_inputs(
    log: &dyn Log,
    recovered: &Recovered,
    epochs: &RangeInclusive<Epoch>,
    slots: &mut [Slot],
) -> Result<(), RunError> {
    let mut gaps = Vec::new();
    for slot in slots {
        let at = &slot.partition;
        let held = describe(log, &at.topic)?.partitions[at.partition as usize];
        if lacking(recovered, slot, held.first).is_empty() {
            slot.start = slot.start.max(held.first);
            continue;
        }
        let shares = recovered.epochs.iter().flat_map(|entry| &entry.read);
        let of = shares.filter(|it| *it.topic == *at.topic && it.partition == at.partition);
        let end = of.map(|share| share.end).max().unwrap_or(slot.start);
        gaps.push(format!(
            "{at}: offsets {} to {} are wanted, the first one held is {}",
            slot.start,
            end - 1,
            held.first
        ));
    }
    if gaps.is_empty() {
        return Ok(());
    }
    let remedy = match recovered.basis.epoch {
        0 => "without a snapshot before them all input from the beginning is needed".to_owned(),
        epoch => format!("the nearest snapshot before them is of epoch {epoch}"),
    };
    Err(gone(epochs, gaps, remedy))
}
