//! A sink behind a thin wire, and how much memory a process has.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test waits by the clock and fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tiderace::connect::{EpochRecord, SinkRecord, TopicPartition, TransactionError, Transactions};

/// How fast the sink is.
#[derive(Clone, Copy)]
pub(crate) struct Wire {
    /// Bytes that it takes a second.
    pub(crate) rate: f64,
    /// After so many bytes it takes all that comes.
    pub(crate) until: u64,
}

/// Transactions over a wire.
pub(crate) struct Throttled {
    inner: Box<dyn Transactions>,
    begun: Instant,
    wire: Wire,
    /// Bytes of values that were sent.
    sent: Arc<AtomicU64>,
}

impl Throttled {
    pub(crate) fn new(inner: Box<dyn Transactions>, wire: Wire, sent: &Arc<AtomicU64>) -> Self {
        Throttled {
            inner,
            begun: Instant::now(),
            wire,
            sent: Arc::clone(sent),
        }
    }
}

impl Transactions for Throttled {
    fn turns(&self) -> usize {
        self.inner.turns()
    }

    fn begin(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.inner.begin(turn)
    }

    fn send(&mut self, turn: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        let bytes = record.value.map_or(0, <[u8]>::len) as u64;
        let sent = self.sent.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if sent <= self.wire.until {
            let due = Duration::from_secs_f64(sent as f64 / self.wire.rate);
            std::thread::sleep(due.saturating_sub(self.begun.elapsed()));
        }
        self.inner.send(turn, record)
    }

    fn flush(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.inner.flush(turn)
    }

    fn send_offsets(
        &mut self,
        turn: usize,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), TransactionError> {
        self.inner.send_offsets(turn, offsets)
    }

    fn commit(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.inner.commit(turn)
    }

    fn confirm(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.inner.confirm(turn)
    }

    fn entry_offset(&mut self, turn: usize) -> Result<Option<i64>, TransactionError> {
        self.inner.entry_offset(turn)
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        self.inner.renew()
    }

    fn read_epochs(&mut self, offset: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        self.inner.read_epochs(offset)
    }
}

/// Bytes of memory that the process has.
pub(crate) fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}
