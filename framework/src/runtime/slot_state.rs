//! What the epochs of a run know of a partition.

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::record::EventTime;

use super::lead::Lead;
use super::slot::{Slot, Status};

/// A partition as the ticker sees it.
pub(crate) struct SlotState {
    pub(super) slot: Slot,
    pub(super) status: Status,
    /// What its source wants it to be; `None` until the source has looked.
    pub(super) wish: Option<Status>,
    pub(super) stream_time: EventTime,
    /// Whether there may be records to read, as far as its source has said.
    pub(super) has_more: bool,
    pub(super) lead: Lead,
    /// Of a table: the epoch in which its end was reached.
    pub(super) reached: Option<Epoch>,
    /// Offset behind what closed epochs have read.
    pub(super) next: i64,
}

impl SlotState {
    /// Before anything was read of it.
    pub(super) fn new(slot: Slot) -> Self {
        SlotState {
            status: slot.status,
            wish: None,
            stream_time: EventTime::MIN,
            has_more: true,
            lead: Lead::default(),
            reached: (slot.table && slot.start >= slot.table_end).then_some(0),
            next: slot.start,
            slot,
        }
    }

    pub(super) fn wants_change(&self) -> bool {
        self.wish.is_some_and(|wish| wish != self.status)
    }
}
