//! Outputs that were sent and not acknowledged: the log's client holds what it keeps of them, at most a copy.

use super::in_flight::{InFlight, Part};

/// What a client keeps of a record beside its bytes.
const OVERHEAD: usize = 100;

/// Bytes that are counted together.
const TOGETHER: usize = 64 << 10;

/// Counts what was sent as in flight; gone when dropped.
pub(crate) struct Ahead {
    in_flight: InFlight,
    /// Bytes from which on they have to be acknowledged.
    most: usize,
    bytes: usize,
    /// How many of them are counted.
    counted: usize,
}

impl Ahead {
    /// Nothing was sent yet, and it may be so many bytes.
    pub(crate) fn new(in_flight: InFlight, most: usize) -> Self {
        Ahead {
            in_flight,
            most,
            bytes: 0,
            counted: 0,
        }
    }

    /// Counts a record of so many bytes; true if what was sent has to be acknowledged before the next.
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        self.bytes += bytes + OVERHEAD;
        let more = self.bytes - self.counted;
        if more >= TOGETHER {
            self.counted = self.bytes;
            self.in_flight.add(Part::Sending, more);
        }
        self.bytes >= self.most
    }

    pub(crate) fn acknowledged(&mut self) {
        self.bytes = 0;
        let counted = std::mem::take(&mut self.counted);
        self.in_flight.release(Part::Sending, counted);
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.acknowledged();
    }
}
