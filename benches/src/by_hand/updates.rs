//! A running count that follows its input and sends every update as soon as it is counted.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::Deserialize;
use tiderace::codec::json;
use tiderace::connect::{
    Fetched, Log, RecordBatch, SinkRecord, TopicPartition, TransactionError, Transactions, Writer,
    partition_for,
};
use tiderace::error::LogError;

use super::input::describe;
use super::output::{COMMIT_INTERVAL, Output};
use super::{Error, Topics};

/// Bytes that the client may buffer.
const MEMORY: usize = 16 << 20;

/// How long a side that follows its input waits for the next record before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What is read of a ride.
#[derive(Deserialize)]
struct Driven {
    #[expect(dead_code, reason = "a ride is decoded, as the other sides do")]
    trip_distance: f64,
}

/// Counts rides by key as they come, until so many were taken; every update goes out at once. Exactly once, updates
/// are in transactions that are committed at every interval with the input's offsets. At least once, only the offsets are, every
/// tenth of a second, behind a flush and by a thread of their own; a log whose writer shows no more than what is flushed needs `flush`, behind every batch.
///
/// # Errors
/// See [`Error`].
pub fn count_updates(
    log: &dyn Log,
    topics: Topics<'_>,
    exactly_once: bool,
    (records, flush): (u64, bool),
) -> Result<(), Error> {
    let description = describe(log, topics.input)?;
    let assignment: Vec<_> = (0..)
        .zip(&description.partitions)
        .map(|(number, offsets)| (TopicPartition::new(topics.input, number), offsets.first))
        .collect();
    let mut source = log.source(&assignment, MEMORY)?;
    let mut out = if exactly_once {
        Out::Transactions(Output::open(
            log,
            topics.id,
            topics.output,
            topics.interval,
        )?)
    } else {
        Out::Plain(Plain::open(log, topics, flush)?)
    };
    let mut counts: HashMap<Box<[u8]>, u64, FixedState> = HashMap::default();
    let (mut taken, mut heard) = (0, Instant::now());
    while taken < records {
        if let Fetched::Batch(batch) = source.poll(out.left())? {
            let partition = &assignment[batch.slot()].0;
            take(&*batch, partition, &mut counts, &mut out)?;
            out.read_to(&*batch, partition)?;
            taken += batch.len() as u64;
            heard = Instant::now();
        } else if heard.elapsed() > PATIENCE {
            let wanted = records;
            return Err(Error::Missing { taken, wanted });
        }
        if out.left().is_zero() {
            out.commit()?;
        }
    }
    out.finish()
}

/// Counts a batch and sends its updates.
fn take(
    batch: &dyn RecordBatch,
    partition: &TopicPartition,
    counts: &mut HashMap<Box<[u8]>, u64, FixedState>,
    out: &mut Out<'_>,
) -> Result<(), Error> {
    for index in 0..batch.len() {
        let record = batch.get(index);
        let value = record.value.unwrap_or_default();
        let Driven { .. } = json::decode(value).map_err(|reason| Error::Value {
            partition: partition.clone(),
            offset: record.offset,
            reason,
        })?;
        let key = record.key.unwrap_or_default();
        let count = match counts.get_mut(key) {
            Some(count) => count,
            None => counts.entry(key.into()).or_default(),
        };
        *count += 1;
        let count = count.to_be_bytes();
        match out {
            Out::Transactions(output) => output.send(key, (Some(key), &count), record.timestamp)?,
            Out::Plain(plain) => plain.send(key, &count, record.timestamp)?,
        }
    }
    Ok(())
}

/// Where updates go.
enum Out<'a> {
    Transactions(Output<'a>),
    Plain(Plain<'a>),
}

impl Out<'_> {
    fn left(&self) -> Duration {
        match self {
            Out::Transactions(output) => output.left(),
            Out::Plain(plain) if plain.offsets.is_empty() => COMMIT_INTERVAL,
            Out::Plain(plain) => COMMIT_INTERVAL.saturating_sub(plain.committed.elapsed()),
        }
    }

    fn read_to(
        &mut self,
        batch: &dyn RecordBatch,
        partition: &TopicPartition,
    ) -> Result<(), Error> {
        let offset = batch.get(batch.len() - 1).offset + 1;
        match self {
            Out::Transactions(output) => {
                output.read_to(batch.slot(), partition, offset, batch.len());
                Ok(())
            }
            Out::Plain(plain) => plain.read_to(partition, offset),
        }
    }

    fn commit(&mut self) -> Result<(), Error> {
        match self {
            Out::Transactions(output) => output.commit()?,
            Out::Plain(plain) => plain.commit()?,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Error> {
        match self {
            Out::Transactions(output) => output.finish()?,
            Out::Plain(mut plain) => {
                plain.commit()?;
                plain.commits.finish()?;
            }
        }
        Ok(())
    }
}

/// Updates outside transactions, and the input's offsets, which another thread commits: whoever counts need not wait for that.
struct Plain<'a> {
    writer: Box<dyn Writer>,
    commits: Commits,
    topic: &'a str,
    partitions: u32,
    flush: bool,
    offsets: BTreeMap<TopicPartition, i64>,
    committed: Instant,
}

impl<'a> Plain<'a> {
    fn open(log: &dyn Log, topics: Topics<'a>, flush: bool) -> Result<Self, Error> {
        Ok(Plain {
            writer: log.writer(topics.output)?,
            commits: Commits::start(log.transactions(topics.id, &[])?),
            topic: topics.output,
            partitions: describe(log, topics.output)?.partitions.len() as u32,
            flush,
            offsets: BTreeMap::new(),
            committed: Instant::now(),
        })
    }

    fn send(&mut self, key: &[u8], count: &[u8], timestamp: i64) -> Result<(), Error> {
        Ok(self.writer.send(&SinkRecord {
            topic: self.topic,
            partition: partition_for(key, self.partitions),
            timestamp,
            key: Some(key),
            value: Some(count),
            headers: &[],
        })?)
    }

    fn read_to(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), Error> {
        self.offsets.insert(partition.clone(), offset);
        if self.flush {
            self.writer.flush()?;
        }
        Ok(())
    }

    /// Has the offsets committed, once all updates are acknowledged.
    fn commit(&mut self) -> Result<(), Error> {
        self.writer.flush()?;
        let offsets = std::mem::take(&mut self.offsets);
        if !offsets.is_empty() {
            self.commits.commit(offsets.into_iter().collect())?;
        }
        self.committed = Instant::now();
        Ok(())
    }
}

type Offsets = Vec<(TopicPartition, i64)>;

/// The thread that commits offsets.
struct Commits {
    to: SyncSender<Offsets>,
    thread: JoinHandle<Result<(), TransactionError>>,
}

impl Commits {
    fn start(mut transactions: Box<dyn Transactions>) -> Self {
        // One commit waits behind the one under way at most.
        let (to, offsets) = sync_channel::<Offsets>(1);
        let thread = std::thread::spawn(move || {
            for offsets in offsets {
                transactions.begin(0)?;
                transactions.send_offsets(0, &offsets)?;
                transactions.commit(0)?;
                transactions.confirm(0)?;
            }
            Ok(())
        });
        Commits { to, thread }
    }

    fn commit(&mut self, offsets: Offsets) -> Result<(), Error> {
        let gone = |_| LogError::Refused("the offsets are not committed any more".to_owned());
        Ok(self.to.send(offsets).map_err(gone)?)
    }

    /// Waits for the last commit.
    fn finish(self) -> Result<(), Error> {
        drop(self.to);
        let ended = self.thread.join();
        Ok(ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
    }
}
