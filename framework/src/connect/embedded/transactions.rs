//! The transactions of one application: outputs and epoch log become visible with one commit record.
//!
//! One at a time: a commit is two syncs, with nothing to wait for that a second one could use. Input
//! offsets are not kept: the epoch log has them, and no tool asks an embedded log for any other.

use std::path::PathBuf;
use std::time::Duration;

use super::commits::AppendError;
use super::outputs::Outputs;
use super::source::EmbeddedSource;
use crate::connect::{
    EpochRecord, Fetched, SinkRecord, Source, TopicPartition, TransactionError, Transactions,
};
use crate::error::LogError;

#[derive(Debug)]
enum State {
    /// No transaction is open.
    Idle,
    /// Records may be added.
    Open,
    /// The commit has been tried; `confirm` has not been asked.
    Tried(Result<(), TransactionError>),
    /// A step has failed: what is on the disk is unknown until `renew`.
    Failed,
}

/// The one turn of transactions of an application.
pub(super) struct EmbeddedTransactions {
    outputs: Outputs,
    state: State,
    log: PathBuf,
    location: String,
    epochs: String,
    /// Offset of the last record of the epoch log in the transaction that is open or was the last.
    entry: Option<i64>,
}

impl EmbeddedTransactions {
    /// `outputs` holds the lock of the topic `epochs` too.
    pub(super) fn new(
        outputs: Outputs,
        log: PathBuf,
        location: String,
        epochs: String,
    ) -> EmbeddedTransactions {
        EmbeddedTransactions {
            outputs,
            state: State::Idle,
            log,
            location,
            epochs,
            entry: None,
        }
    }

    /// Runs a step of the open transaction; a failure ends it.
    fn step<T>(
        &mut self,
        step: impl FnOnce(&mut Outputs) -> Result<T, LogError>,
    ) -> Result<T, TransactionError> {
        self.expect(
            |state| matches!(state, State::Open),
            "no transaction is open",
        )?;
        step(&mut self.outputs).map_err(|cause| {
            self.state = State::Failed;
            cause.into()
        })
    }

    fn expect(
        &self,
        right: impl Fn(&State) -> bool,
        otherwise: &str,
    ) -> Result<(), TransactionError> {
        match &self.state {
            state if right(state) => Ok(()),
            State::Failed => Err(TransactionError::Doubt(
                "an earlier step has failed".to_owned(),
            )),
            _ => Err(LogError::Refused(format!("{}: {otherwise}", self.epochs)).into()),
        }
    }

    /// A reader from `offset` on; from the first record held if that is 0, whatever is deleted meanwhile.
    fn open_at(&self, partition: TopicPartition, offset: i64) -> Result<EmbeddedSource, LogError> {
        let open =
            |from| EmbeddedSource::open(&self.log, &self.location, &[(partition.clone(), from)]);
        let mut opened = open(offset);
        while offset == 0
            && let Err(LogError::Gone { first, .. }) = opened
        {
            opened = open(first);
        }
        opened
    }

    fn read_from(&self, offset: i64) -> Result<Vec<EpochRecord>, LogError> {
        let partition = TopicPartition::new(self.epochs.as_str(), 0);
        let mut source = self.open_at(partition, offset)?;
        let mut entries = Vec::new();
        loop {
            match source.poll(Duration::from_secs(1))? {
                Fetched::Batch(batch) => {
                    for record in (0..batch.len()).map(|index| batch.get(index)) {
                        let key = record.key.and_then(|key| key.try_into().ok());
                        let (Some(key), Some(value)) = (key, record.value) else {
                            let (file, at) = source.whereabouts(0);
                            let reason = format!(
                                "the record at offset {} is no epoch's entry",
                                record.offset
                            );
                            return Err(super::disk::damaged(&file, at, reason));
                        };
                        let epoch = u64::from_be_bytes(key);
                        entries.push(EpochRecord {
                            offset: record.offset,
                            epoch,
                            value: value.to_vec(),
                        });
                    }
                }
                Fetched::CaughtUp { .. } => return Ok(entries),
                Fetched::Nothing => {}
            }
        }
    }
}

impl Transactions for EmbeddedTransactions {
    fn turns(&self) -> usize {
        1
    }

    fn begin(&mut self, _turn: usize) -> Result<(), TransactionError> {
        self.expect(
            |state| matches!(state, State::Idle),
            "a transaction is open already",
        )?;
        self.state = State::Open;
        self.entry = None;
        Ok(())
    }

    fn send(&mut self, _turn: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        let added = self.step(|outputs| outputs.add(record))?;
        if record.topic == self.epochs {
            self.entry = Some(added.offset);
        }
        Ok(())
    }

    fn flush(&mut self, _turn: usize) -> Result<(), TransactionError> {
        self.step(Outputs::sync)
    }

    fn send_offsets(
        &mut self,
        _turn: usize,
        _offsets: &[(TopicPartition, i64)],
    ) -> Result<(), TransactionError> {
        self.step(|_| Ok(()))
    }

    fn commit(&mut self, _turn: usize) -> Result<(), TransactionError> {
        self.step(Outputs::sync)?;
        self.state = State::Tried(self.outputs.commit().map_err(|error| match error {
            AppendError::Failed(cause) => TransactionError::Failed(cause),
            AppendError::Doubt(cause) => TransactionError::Doubt(cause.to_string()),
        }));
        Ok(())
    }

    fn confirm(&mut self, _turn: usize) -> Result<(), TransactionError> {
        self.expect(
            |state| matches!(state, State::Tried(_)),
            "no commit is under way",
        )?;
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Tried(Err(error)) => {
                self.state = State::Failed;
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn entry_offset(&mut self, _turn: usize) -> Result<Option<i64>, TransactionError> {
        self.expect(
            |state| matches!(state, State::Idle),
            "a transaction is not confirmed",
        )?;
        Ok(self.entry)
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        self.state = State::Failed;
        self.entry = None;
        self.outputs.roll_back()?;
        self.state = State::Idle;
        Ok(())
    }

    fn read_epochs(&mut self, offset: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        Ok(self.read_from(offset)?)
    }
}
