//! Input that is gone at a start: deleted before it was read, or before what was read of it needed no replay any more.
//!
//! What was never read may be left out if the user names the topic: reading goes on with the first record held, the
//! start entry says what was lost, and every later start takes it from there. What a replay needs may not: the state
//! would be another one than that of which results are committed.

use tiderace_operators::dataflow::Epoch;

use super::entry::{EpochEntry, Loss, Share};
use super::recover::Recovered;
use super::slot::Slot;
use crate::error::{Gap, RunError};

/// What a start lacks.
#[derive(Default)]
pub(super) struct Losses {
    unread: Vec<Gap>,
    unreplayed: Vec<Gap>,
    /// The first and the last epoch that lacks records of its own.
    epochs: Option<(Epoch, Epoch)>,
}

impl Losses {
    /// Looks at a partition of which `first` is the first offset held, and has it read from there on if it would begin
    /// before that.
    pub(super) fn look(&mut self, slot: &mut Slot, first: i64, recovered: &Recovered) {
        let lacking = lacking(recovered, slot, first);
        for epoch in &lacking {
            let (since, _) = self.epochs.unwrap_or((*epoch, *epoch));
            self.epochs = Some((since.min(*epoch), self.last().max(*epoch)));
        }
        let is_whole = lacking.is_empty();
        let read = shares(&recovered.epochs, slot).last();
        let next = read.map_or(slot.start, |(_, share)| share.end);
        let gap = |wanted| Gap {
            partition: slot.partition.clone(),
            wanted,
            first,
        };
        if !is_whole {
            self.unreplayed.push(gap(slot.start));
        }
        let accepted = recovered.losses().iter().filter(|loss| {
            *loss.topic == *slot.partition.topic && loss.partition == slot.partition.partition
        });
        let next = accepted.map(|loss| loss.to).fold(next, i64::max);
        if is_whole && next < first {
            self.unread.push(gap(next));
        }
        slot.start = slot.start.max(first);
    }

    fn last(&self) -> Epoch {
        self.epochs.map_or(0, |(_, last)| last)
    }

    /// What is lost from this start on, by topics `accepted` by name.
    ///
    /// # Errors
    /// Something is missing that a replay needs, or whose loss is not accepted.
    pub(super) fn accepted(self, accepted: &[String]) -> Result<Vec<Loss>, RunError> {
        if let Some((first, last)) = self.epochs {
            let gaps = self.unreplayed;
            return Err(RunError::Irreproducible { gaps, first, last });
        }
        let is_accepted = |gap: &Gap| accepted.iter().any(|topic| **topic == *gap.partition.topic);
        let (lost, gaps): (Vec<_>, Vec<_>) = self.unread.into_iter().partition(is_accepted);
        if !gaps.is_empty() {
            return Err(RunError::Lost { gaps });
        }
        for gap in &lost {
            tracing::warn!(
                topic = &*gap.partition.topic,
                partition = gap.partition.partition,
                from = gap.wanted,
                to = gap.first,
                "{} offsets are lost and left out for good, as was accepted",
                gap.offsets()
            );
        }
        let loss = |gap: Gap| Loss {
            topic: gap.partition.topic.to_string(),
            partition: gap.partition.partition,
            from: gap.wanted,
            to: gap.first,
        };
        Ok(lost.into_iter().map(loss).collect())
    }
}

/// The epochs to be replayed whose records of a partition are not all held, given the first offset that is.
pub(super) fn lacking(recovered: &Recovered, slot: &Slot, first: i64) -> Vec<Epoch> {
    let mut next = slot.start;
    let lacks = |(epoch, share): (Epoch, &Share)| {
        // Offsets may have gone that no record had; who reads counts.
        let held = share.end - first.max(next);
        next = share.end;
        (u64::try_from(held).unwrap_or(0) < share.records).then_some(epoch)
    };
    shares(&recovered.epochs, slot).filter_map(lacks).collect()
}

/// What epochs that are to be replayed read of a partition.
fn shares<'a>(epochs: &'a [EpochEntry], slot: &Slot) -> impl Iterator<Item = (Epoch, &'a Share)> {
    let partition = slot.partition.clone();
    let is = move |share: &&Share| {
        *share.topic == *partition.topic && share.partition == partition.partition
    };
    epochs
        .iter()
        .filter_map(move |entry| Some((entry.epoch, entry.read.iter().find(&is)?)))
}
