//! The topic that a loop writes, exactly once: transactions that take turns.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tiderace::connect::{
    Log, SinkRecord, TopicPartition, TransactionError, Transactions, partition_for,
};

use super::Error;
use super::input::describe;

/// The longest a transaction stays open unless asked otherwise, and the records that it takes at most; both as the
/// engine's epochs.
pub(super) const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
const COMMIT_RECORDS: u64 = 100_000;

/// Transactions that take turns: one commits while the next is filled.
pub(super) struct Output<'a> {
    transactions: Box<dyn Transactions>,
    topic: &'a str,
    partitions: u32,
    /// Where each partition of the input has been read to.
    offsets: BTreeMap<usize, (TopicPartition, i64)>,
    turn: usize,
    /// Whether the transaction whose turn it is has begun.
    begun: bool,
    committing: Option<usize>,
    interval: Duration,
    opened: Instant,
    taken: u64,
}

impl<'a> Output<'a> {
    /// The output of the loop `id`, which commits at least so often.
    pub(super) fn open(
        log: &dyn Log,
        id: &str,
        topic: &'a str,
        interval: Duration,
    ) -> Result<Self, Error> {
        Ok(Output {
            transactions: log.transactions(id, &[topic.to_owned()])?,
            topic,
            partitions: describe(log, topic)?.partitions.len() as u32,
            offsets: BTreeMap::new(),
            turn: 0,
            begun: false,
            committing: None,
            interval,
            opened: Instant::now(),
            taken: 0,
        })
    }

    /// Notes that so many records were taken from a partition, and how far it has been read.
    pub(super) fn read_to(
        &mut self,
        slot: usize,
        partition: &TopicPartition,
        offset: i64,
        records: usize,
    ) {
        self.taken += records as u64;
        let place = self
            .offsets
            .entry(slot)
            .or_insert_with(|| (partition.clone(), offset));
        place.1 = offset;
    }

    /// Whether it is time to commit.
    pub(super) fn is_due(&self) -> bool {
        self.left().is_zero()
    }

    /// The time until then; nothing is due while nothing was taken.
    pub(super) fn left(&self) -> Duration {
        match self.taken {
            0 => self.interval,
            COMMIT_RECORDS.. => Duration::ZERO,
            _ => self.interval.saturating_sub(self.opened.elapsed()),
        }
    }

    /// Sends a record to the partition of `partition_key`.
    pub(super) fn send(
        &mut self,
        partition_key: &[u8],
        (key, value): (Option<&[u8]>, &[u8]),
        timestamp: i64,
    ) -> Result<(), TransactionError> {
        self.begin()?;
        let record = SinkRecord {
            topic: self.topic,
            partition: partition_for(partition_key, self.partitions),
            timestamp,
            key,
            value: Some(value),
            headers: &[],
        };
        self.transactions.send(self.turn, &record)
    }

    fn begin(&mut self) -> Result<(), TransactionError> {
        if self.begun {
            return Ok(());
        }
        if self.transactions.turns() == 1 {
            self.confirm()?;
        }
        self.transactions.begin(self.turn)?;
        self.begun = true;
        Ok(())
    }

    /// Sends the commit of what was sent, with the offsets, off.
    pub(super) fn commit(&mut self) -> Result<(), TransactionError> {
        self.begin()?;
        self.transactions.flush(self.turn)?;
        let offsets: Vec<_> = self.offsets.values().cloned().collect();
        self.transactions.send_offsets(self.turn, &offsets)?;
        self.confirm()?;
        self.transactions.commit(self.turn)?;
        self.committing = Some(self.turn);
        self.turn = (self.turn + 1) % self.transactions.turns();
        self.begun = false;
        (self.opened, self.taken) = (Instant::now(), 0);
        Ok(())
    }

    fn confirm(&mut self) -> Result<(), TransactionError> {
        self.committing
            .take()
            .map_or(Ok(()), |turn| self.transactions.confirm(turn))
    }

    /// Commits what is left and waits for it.
    pub(super) fn finish(mut self) -> Result<(), TransactionError> {
        self.commit()?;
        self.confirm()
    }
}
