//! Reading: from the raw records of a batch to typed ones with a header, into the fused steps behind a source.

use std::ops::Range;

use tiderace_operators::current;
use tiderace_operators::dataflow::Epoch;
use tiderace_operators::emit::Steps;
use tiderace_operators::key::{self, Data, Key};
use tiderace_operators::record::{EventTime, Header, Position, Record};
use tiderace_operators::stream_time::StreamTime;
use tiderace_operators::tally::{Tally, Verdict};

use crate::connect::{NO_TIMESTAMP, RawRecord, RecordBatch, Topic};
use crate::error::RunError;

/// How far a partition has been read, kept by the engine and moved by the [`Reader`].
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    /// Number of the source in the topology.
    pub(crate) source: usize,
    /// The partition's number.
    pub(crate) partition: u32,
    /// Offset of the first record that the open epoch takes from the partition.
    pub(crate) base: i64,
    /// The partition's stream time.
    pub(crate) stream_time: StreamTime,
    /// The largest timestamp that is not rejected whatever the stream time; [`EventTime::MAX`] in a replay,
    /// which does not ask the clock.
    pub(crate) horizon: EventTime,
    /// How far ahead of its partition's stream time a record may lie, in milliseconds.
    pub(crate) max_skew: i64,
}

/// What is to be done with bad data. The engine decides, by policy or, in a replay, by the epoch log.
pub(crate) trait Rejections {
    /// Whether it is known of any record that it is rejected, so that [`known`](Self::known) has to be asked.
    fn any_known(&self) -> bool;
    /// Why the record at `offset` is rejected whatever it holds: the epoch log says so in a replay, or user code
    /// panicked at it in an earlier life of the run.
    fn known(&self, offset: i64) -> Option<String>;
    /// Rejects the record at `index` of `batch`; the verdict is `Skipped` or `DeadLettered`.
    ///
    /// # Errors
    /// The policy is to fail: the error names topic, partition and offset.
    fn reject(
        &mut self,
        batch: &dyn RecordBatch,
        index: usize,
        reason: String,
    ) -> Result<Verdict, RunError>;
}

/// The typed half of a source.
pub(crate) trait Reader {
    /// Takes the records at `range` of `batch` in; they are sent on with the next [`pass`](Self::pass).
    ///
    /// # Errors
    /// Bad data under `Fail`, or an offset too wide for a position.
    fn read(
        &mut self,
        batch: &dyn RecordBatch,
        range: Range<usize>,
        cursor: &mut Cursor,
        rejections: &mut dyn Rejections,
    ) -> Result<(), RunError>;
    /// Sends what was read on, through the steps behind the source.
    fn pass(&mut self);
    /// Hands the counts of an epoch over.
    fn close(&mut self, epoch: Epoch);
}

/// Decides what a stream's or a table's reader makes of the value's bytes.
pub(crate) type Decode<V> = Box<dyn Fn(Option<&[u8]>) -> Result<V, String>>;

/// Finds the event time in a value, if it holds one.
pub(crate) type TimestampOf<V> = Box<dyn Fn(&V) -> Option<EventTime>>;

pub(crate) struct TopicReader<K, V> {
    /// Number of the source's node.
    pub(crate) node: u32,
    pub(crate) decode: Decode<V>,
    pub(crate) timestamp: Option<TimestampOf<V>>,
    /// Whether any step looks at the key; if not it is left undecoded.
    pub(crate) keyed: bool,
    pub(crate) table: bool,
    pub(crate) steps: Steps<K, V>,
    /// Records that were read, of one batch or of several small ones, and have not gone through the steps.
    pub(crate) read: Vec<Record<K, V>>,
    pub(crate) tally: Tally,
}

impl<K: Key, V: 'static> TopicReader<K, V> {
    fn key(&self, raw: &RawRecord<'_>) -> Result<Option<K>, String> {
        match raw.key {
            Some(bytes) if self.keyed => key::decode(bytes)
                .map(Some)
                .map_err(|e| format!("the key's bytes do not fit: {e}")),
            None if self.keyed => Ok(key::null()),
            _ => Ok(None),
        }
    }

    fn decode(
        &self,
        raw: &RawRecord<'_>,
        cursor: &Cursor,
    ) -> Result<(Option<K>, V, EventTime), String> {
        let value = (self.decode)(raw.value)?;
        let from_value = self.timestamp.as_ref().and_then(|of| of(&value));
        let timestamp = from_value.unwrap_or(EventTime::from_millis(raw.timestamp));
        if from_value.is_none() && raw.timestamp == NO_TIMESTAMP {
            return Err("the record has no timestamp; declare where the value holds one with `Topic::timestamp`".into());
        }
        if timestamp == EventTime::MIN {
            return Err("the timestamp is out of range".into());
        }
        if timestamp > cursor.horizon
            && timestamp > cursor.stream_time.now().saturating_add(cursor.max_skew)
        {
            return Err(format!(
                "the timestamp {timestamp} lies more than max_skew ahead of its partition's stream time and of the clock"
            ));
        }
        let key = self.key(raw)?;
        if self.table && key.is_none() {
            return Err("the key is null; a row of a table needs one".into());
        }
        Ok((key, value, timestamp))
    }
}

impl<K: Key, V: Data> Reader for TopicReader<K, V> {
    fn read(
        &mut self,
        batch: &dyn RecordBatch,
        range: Range<usize>,
        cursor: &mut Cursor,
        rejections: &mut dyn Rejections,
    ) -> Result<(), RunError> {
        let records = range.len() as u64;
        if self.table {
            self.tally.rows(records)
        } else {
            self.tally.read(records)
        }
        let any_known = rejections.any_known();
        self.read.reserve(range.len());
        current::enter(self.node);
        for index in range {
            let raw = batch.get(index);
            let offset = u64::try_from(raw.offset - cursor.base).unwrap_or(u64::MAX);
            let position = Position::read(cursor.source, cursor.partition, offset)
                .map_err(RunError::position)?;
            current::at(position);
            let known = any_known.then(|| rejections.known(raw.offset)).flatten();
            let decoded = known.map_or_else(|| self.decode(&raw, cursor), Err);
            let (key, value, timestamp) = match decoded {
                Ok(decoded) => decoded,
                Err(reason) => {
                    let verdict = rejections.reject(batch, index, reason)?;
                    if !self.table {
                        self.tally.verdict(position, verdict);
                    }
                    continue;
                }
            };
            #[cfg(feature = "failpoints")]
            if crate::failpoint::LOSE_RECORD.pass().is_some() {
                continue;
            }
            let stream_time = cursor.stream_time.observe(timestamp);
            let header = Header {
                timestamp,
                stream_time,
                position,
            };
            self.read.push(Record {
                header,
                extra: None,
                key,
                value,
            });
        }
        Ok(())
    }

    fn pass(&mut self) {
        (self.steps)(&mut self.read);
    }

    fn close(&mut self, epoch: Epoch) {
        self.tally.close(epoch);
    }
}

/// Reads a stream's values: a null one is bad data.
pub(crate) fn stream_values<K, V: 'static>(topic: Topic<K, V>) -> Decode<V> {
    let decode = topic.decode;
    Box::new(move |value| match value {
        Some(bytes) => decode(bytes),
        None => Err("the value is null (a tombstone), which a stream does not take".into()),
    })
}

/// Reads a table's values: a null one deletes the row.
pub(crate) fn table_values<K, V: 'static>(topic: Topic<K, V>) -> Decode<Option<V>> {
    let decode = topic.decode;
    Box::new(move |value| value.map(decode).transpose())
}
