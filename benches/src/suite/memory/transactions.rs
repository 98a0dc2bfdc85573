//! Writing to a log in memory: transactions of one turn, and the plain writer.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::time::{Duration, Instant};

use tiderace::connect::{
    EpochRecord, SinkRecord, TopicPartition, TransactionError, Transactions, Writer,
};
use tiderace::error::LogError;
use tiderace_benches::measure::process_cpu;

use super::log::MemoryLog;
use super::outputs::Chunk;

/// A moment by the wall clock and by the CPU time that the process has used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) cpu: Duration,
}

impl Moment {
    pub(super) fn now() -> Self {
        Moment {
            at: Instant::now(),
            cpu: process_cpu(),
        }
    }
}

/// The transactions of an application, one at a time.
pub(super) struct MemoryTransactions {
    log: MemoryLog,
    /// Topic of the epoch log.
    epochs: String,
    /// What the open transaction has sent, by topic.
    sent: Vec<(String, Chunk)>,
    entries: Vec<(EpochRecord, i64)>,
    /// Offset of the last entry that was committed with the last transaction.
    entry: Option<i64>,
}

impl MemoryTransactions {
    pub(super) fn new(log: MemoryLog, epochs: String) -> Self {
        MemoryTransactions {
            log,
            epochs,
            sent: Vec::new(),
            entries: Vec::new(),
            entry: None,
        }
    }

    fn add_entry(&mut self, record: &SinkRecord<'_>) -> Result<(), LogError> {
        let epoch = record.key.and_then(|key| key.try_into().ok());
        let epoch = epoch.ok_or_else(|| LogError::Refused("an entry needs its epoch".into()))?;
        let entry = EpochRecord {
            offset: 0,
            epoch: u64::from_be_bytes(epoch),
            value: record.value.unwrap_or_default().to_vec(),
        };
        self.entries.push((entry, record.timestamp));
        Ok(())
    }
}

impl Transactions for MemoryTransactions {
    fn turns(&self) -> usize {
        1
    }

    fn begin(&mut self, _: usize) -> Result<(), TransactionError> {
        self.entry = None;
        Ok(())
    }

    #[inline]
    fn send(&mut self, _: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        if let Some((_, chunk)) = self.sent.iter_mut().find(|(to, _)| *to == record.topic) {
            chunk.push(record);
        } else if record.topic == self.epochs {
            self.add_entry(record)?;
        } else {
            let mut chunk = Chunk::default();
            chunk.push(record);
            self.sent.push((record.topic.to_owned(), chunk));
        }
        Ok(())
    }

    fn flush(&mut self, _: usize) -> Result<(), TransactionError> {
        Ok(())
    }

    fn send_offsets(
        &mut self,
        _: usize,
        _: &[(TopicPartition, i64)],
    ) -> Result<(), TransactionError> {
        // As in the embedded log, the epoch log alone says how far was read.
        Ok(())
    }

    fn commit(&mut self, _: usize) -> Result<(), TransactionError> {
        let mut written = self.log.written();
        for (topic, chunk) in &mut self.sent {
            let next = Chunk::like(chunk);
            written.append(topic, std::mem::replace(chunk, next));
        }
        for (entry, timestamp) in self.entries.drain(..) {
            self.entry = Some(written.add_entry(&self.epochs, entry, timestamp));
        }
        Ok(())
    }

    fn confirm(&mut self, _: usize) -> Result<(), TransactionError> {
        self.log.written().confirmed.push(Moment::now());
        Ok(())
    }

    fn entry_offset(&mut self, _: usize) -> Result<Option<i64>, TransactionError> {
        Ok(self.entry)
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        self.sent.clear();
        self.entries.clear();
        self.entry = None;
        Ok(())
    }

    fn read_epochs(&mut self, offset: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        Ok(self.log.written().entries(&self.epochs, offset))
    }
}

/// Sends to one topic without a transaction.
pub(super) struct MemoryWriter {
    log: MemoryLog,
    topic: String,
    sent: Chunk,
}

impl MemoryWriter {
    pub(super) fn new(log: MemoryLog, topic: &str) -> Self {
        MemoryWriter {
            log,
            topic: topic.to_owned(),
            sent: Chunk::default(),
        }
    }
}

impl Writer for MemoryWriter {
    fn send(&mut self, record: &SinkRecord<'_>) -> Result<(), LogError> {
        self.sent.push(record);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let sent = std::mem::take(&mut self.sent);
        self.log.written().append(&self.topic, sent);
        Ok(())
    }
}
