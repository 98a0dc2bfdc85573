//! Topics in memory: what the driver pipes in, and what its committer commits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::RawRecord;
use crate::connect::{
    self, EpochRecord, Header, RecordBatch, SinkRecord, TopicPartition, TransactionError,
    Transactions,
};

/// Committed records by topic, in the order in which they were sent. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Topics(Arc<Mutex<BTreeMap<String, Vec<RawRecord>>>>);

impl Topics {
    /// Takes out what a topic has got since the last call.
    pub(crate) fn take(&self, topic: &str) -> Vec<RawRecord> {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topics.remove(topic).unwrap_or_default()
    }

    fn append(&self, records: Vec<RawRecord>) {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            topics.entry(record.topic.clone()).or_default().push(record);
        }
    }
}

/// One transaction at a time, committed in memory.
pub(crate) struct MemoryTransactions {
    topics: Topics,
    open: Vec<RawRecord>,
}

impl MemoryTransactions {
    pub(crate) fn new(topics: Topics) -> Self {
        MemoryTransactions {
            topics,
            open: Vec::new(),
        }
    }
}

impl Transactions for MemoryTransactions {
    fn turns(&self) -> usize {
        1
    }

    fn begin(&mut self, _: usize) -> Result<(), TransactionError> {
        self.open.clear();
        Ok(())
    }

    fn send(&mut self, _: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        self.open.push(RawRecord {
            topic: record.topic.to_owned(),
            partition: record.partition,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            timestamp: record.timestamp,
            headers: record.headers.to_vec(),
        });
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
        Ok(())
    }

    fn commit(&mut self, _: usize) -> Result<(), TransactionError> {
        self.topics.append(std::mem::take(&mut self.open));
        Ok(())
    }

    fn confirm(&mut self, _: usize) -> Result<(), TransactionError> {
        Ok(())
    }

    fn entry_offset(&mut self, _: usize) -> Result<Option<i64>, TransactionError> {
        // There is no epoch log to read again: a driver's run begins and ends with the process.
        Ok(None)
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        self.open.clear();
        Ok(())
    }

    fn read_epochs(&mut self, _: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        Ok(Vec::new())
    }
}

/// Records of one partition that a test pipes in.
pub(crate) struct MemoryBatch {
    pub(crate) slot: usize,
    pub(crate) first_offset: i64,
    pub(crate) records: Vec<RawRecord>,
}

impl RecordBatch for MemoryBatch {
    fn slot(&self) -> usize {
        self.slot
    }

    fn len(&self) -> usize {
        self.records.len()
    }

    fn get(&self, index: usize) -> connect::RawRecord<'_> {
        let record = &self.records[index];
        connect::RawRecord {
            offset: self.first_offset + index as i64,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
        }
    }

    fn headers(&self, index: usize) -> Vec<Header> {
        self.records[index].headers.clone()
    }

    fn memory(&self) -> usize {
        let bytes = |of: &Option<Vec<u8>>| of.as_ref().map_or(0, Vec::len);
        let records = self.records.iter();
        records
            .map(|record| bytes(&record.key) + bytes(&record.value))
            .sum()
    }
}
