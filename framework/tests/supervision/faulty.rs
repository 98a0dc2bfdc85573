//! The embedded log with faults put in between: what the engine meets when a log fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{
    EpochRecord, Fetched, Log, SinkRecord, Source, TopicPartition, TransactionError, Transactions,
};
use tiderace::error::LogError;

use crate::wrapped::Wrapped;

/// What happens at the call of a number, counted from 1 over the whole test.
type Fault<E> = Box<dyn Fn(u64) -> Option<E> + Send + Sync>;

/// A kind of call.
pub(crate) struct Point<E> {
    calls: AtomicU64,
    pub(crate) fault: Fault<E>,
}

impl<E> Default for Point<E> {
    fn default() -> Self {
        Point {
            calls: AtomicU64::new(0),
            fault: Box::new(|_| None),
        }
    }
}

impl<E> Point<E> {
    pub(crate) fn new(fault: impl Fn(u64) -> Option<E> + Send + Sync + 'static) -> Self {
        Point {
            fault: Box::new(fault),
            ..Point::default()
        }
    }

    fn pass(&self) -> Result<(), E> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        (self.fault)(call).map_or(Ok(()), Err)
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Where faults can be put.
#[derive(Default)]
pub(crate) struct Faults {
    /// Before the transactions of a life are opened.
    pub(crate) opening: Point<LogError>,
    /// After a commit has taken effect, before that is said. The first two are entry 0 and the start entry.
    pub(crate) confirming: Point<TransactionError>,
    /// Before producers are made anew.
    pub(crate) renewing: Point<TransactionError>,
    /// Before a source is asked.
    pub(crate) polling: Point<LogError>,
}

/// The log with faults, and what says how often calls were made.
pub(crate) fn over(log: &Arc<EmbeddedLog>, faults: Faults) -> (Arc<dyn Log>, Arc<Faults>) {
    let faults = Arc::new(faults);
    let of = [(); 3].map(|()| Arc::clone(&faults));
    let [opening, reading, committing] = of;
    let log = Wrapped {
        opening: Box::new(move || opening.opening.pass()),
        source: Box::new(move |_, source| {
            let faults = Arc::clone(&reading);
            Box::new(FaultySource { source, faults })
        }),
        transactions: Box::new(move |transactions| {
            let faults = Arc::clone(&committing);
            Box::new(FaultyTransactions {
                transactions,
                faults,
            })
        }),
        ..Wrapped::new(EmbeddedLog::clone(log))
    };
    (Arc::new(log), faults)
}

pub(crate) fn unreachable() -> LogError {
    LogError::Unreachable {
        location: "a log".to_owned(),
        reason: "a test says so".to_owned(),
    }
}

struct FaultySource {
    source: Box<dyn Source>,
    faults: Arc<Faults>,
}

impl Source for FaultySource {
    fn poll(&mut self, timeout: Duration) -> Result<Fetched, LogError> {
        self.faults.polling.pass()?;
        self.source.poll(timeout)
    }

    fn pause(&mut self, slot: usize) -> Result<(), LogError> {
        self.source.pause(slot)
    }

    fn resume(&mut self, slot: usize) -> Result<(), LogError> {
        self.source.resume(slot)
    }
}

struct FaultyTransactions {
    transactions: Box<dyn Transactions>,
    faults: Arc<Faults>,
}

impl Transactions for FaultyTransactions {
    fn turns(&self) -> usize {
        self.transactions.turns()
    }

    fn begin(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.transactions.begin(turn)
    }

    fn send(&mut self, turn: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        self.transactions.send(turn, record)
    }

    fn flush(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.transactions.flush(turn)
    }

    fn send_offsets(
        &mut self,
        turn: usize,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), TransactionError> {
        self.transactions.send_offsets(turn, offsets)
    }

    fn commit(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.transactions.commit(turn)
    }

    fn confirm(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.transactions.confirm(turn)?;
        self.faults.confirming.pass()
    }

    fn entry_offset(&mut self, turn: usize) -> Result<Option<i64>, TransactionError> {
        self.transactions.entry_offset(turn)
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        self.faults.renewing.pass()?;
        self.transactions.renew()
    }

    fn read_epochs(&mut self, offset: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        self.transactions.read_epochs(offset)
    }
}
