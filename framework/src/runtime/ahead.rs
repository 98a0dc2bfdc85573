//! Outputs that were sent and not acknowledged: the log's client holds a copy of them.

use super::in_flight::{InFlight, Part};
use crate::connect::SinkRecord;

/// What a client keeps of a record beside its bytes.
const OVERHEAD: usize = 100;

/// Counts what was sent as in flight; gone when dropped.
pub(crate) struct Ahead {
    in_flight: InFlight,
    bytes: usize,
}

impl Ahead {
    /// Nothing was sent yet.
    pub(crate) fn new(in_flight: InFlight) -> Self {
        Ahead {
            in_flight,
            bytes: 0,
        }
    }

    pub(crate) fn add(&mut self, record: &SinkRecord<'_>) {
        let length = |of: Option<&[u8]>| of.map_or(0, <[u8]>::len);
        let bytes = length(record.key) + length(record.value) + OVERHEAD;
        self.bytes += bytes;
        self.in_flight.add(Part::Sending, bytes);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn acknowledged(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.in_flight.release(Part::Sending, bytes);
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.acknowledged();
    }
}
