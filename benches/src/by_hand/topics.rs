//! The workloads that are compared with Kafka Streams, topic to topic.

use std::time::Duration;

use serde::Deserialize;
use tiderace::connect::{Log, RawRecord, TransactionError};
use tiderace_pipelines::taxi::LocalTime;

use super::Error;
use super::input::Input;
use super::json;
use super::output::Output;
use super::running_counts::RunningCounts;
use crate::zone_counts::{ZoneCount, ZoneCounts};

/// Where a loop reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Topics<'a> {
    /// The loop's id, of which its transactions are.
    pub id: &'a str,
    /// The topic that is read.
    pub input: &'a str,
    /// The topic that is written; must exist.
    pub output: &'a str,
    /// The longest a transaction stays open.
    pub interval: Duration,
}

/// What a loop does with a record, and before a commit.
trait Work {
    fn take(
        &mut self,
        slot: usize,
        record: &RawRecord<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), Wrong>;

    /// Sends what is to be committed; the input may have `ended`.
    fn send(&mut self, output: &mut Output<'_>, ended: bool) -> Result<(), TransactionError>;
}

/// Why a record cannot be taken.
enum Wrong {
    Value(String),
    Output(TransactionError),
}

impl From<String> for Wrong {
    fn from(reason: String) -> Self {
        Wrong::Value(reason)
    }
}

fn run<W: Work>(
    log: &dyn Log,
    topics: Topics<'_>,
    work: impl FnOnce(usize) -> W,
) -> Result<(), Error> {
    let input = Input::open(log, topics.input)?;
    let mut work = work(input.partitions.len());
    let mut output = Output::open(log, topics.id, topics.output, topics.interval)?;
    input.read(|slot, partition, batch, ends| {
        for index in 0..batch.len() {
            let record = batch.get(index);
            if record.offset >= ends {
                break;
            }
            work.take(slot, &record, &mut output)
                .map_err(|wrong| match wrong {
                    Wrong::Output(error) => error.into(),
                    Wrong::Value(reason) => Error::Value {
                        partition: partition.clone(),
                        offset: record.offset,
                        reason,
                    },
                })?;
        }
        let read_to = batch.get(batch.len() - 1).offset + 1;
        output.read_to(slot, partition, read_to, batch.len());
        if output.is_due() {
            work.send(&mut output, false)?;
            output.commit()?;
        }
        Ok(())
    })?;
    work.send(&mut output, true)?;
    Ok(output.finish()?)
}

/// What is read of a ride where its distance matters.
#[derive(Deserialize)]
struct Driven {
    trip_distance: f64,
}

/// What is read of a ride where its time matters.
#[derive(Deserialize)]
struct Begun {
    tpep_pickup_datetime: LocalTime,
}

/// Passes rides on that were driven, as they are.
///
/// # Errors
/// See [`Error`].
pub fn filter(log: &dyn Log, topics: Topics<'_>) -> Result<(), Error> {
    struct Filter;
    impl Work for Filter {
        fn take(
            &mut self,
            _: usize,
            record: &RawRecord<'_>,
            output: &mut Output<'_>,
        ) -> Result<(), Wrong> {
            let value = record.value.unwrap_or_default();
            let ride: Driven = json::decode(value)?;
            if ride.trip_distance > 0.0 {
                let partition_key = record.key.unwrap_or_default();
                let sent = output.send(partition_key, (record.key, value), record.timestamp);
                sent.map_err(Wrong::Output)?;
            }
            Ok(())
        }
        fn send(&mut self, _: &mut Output<'_>, _: bool) -> Result<(), TransactionError> {
            Ok(())
        }
    }
    run(log, topics, |_| Filter)
}

/// Counts rides per zone, the key as decimal text, in tumbling windows of so many milliseconds, final results.
///
/// # Errors
/// See [`Error`].
pub fn count_windows(log: &dyn Log, topics: Topics<'_>, window: i64) -> Result<(), Error> {
    struct Windows {
        counts: ZoneCounts,
        closed: Vec<ZoneCount>,
    }
    impl Work for Windows {
        fn take(
            &mut self,
            slot: usize,
            record: &RawRecord<'_>,
            _: &mut Output<'_>,
        ) -> Result<(), Wrong> {
            let ride: Begun = json::decode(record.value.unwrap_or_default())?;
            let zone = std::str::from_utf8(record.key.unwrap_or_default()).unwrap_or_default();
            let zone: u32 = zone.parse().map_err(|_| "no zone".to_owned())?;
            let pickup = ride.tpep_pickup_datetime.millis();
            self.counts.count(slot, zone, pickup, true);
            Ok(())
        }
        fn send(&mut self, output: &mut Output<'_>, ended: bool) -> Result<(), TransactionError> {
            self.counts.close_passed(&mut self.closed);
            if ended {
                self.counts.close_all(&mut self.closed);
            }
            for count in self.closed.drain(..) {
                let mut key = [0; 12];
                key[..4].copy_from_slice(&count.zone.to_be_bytes());
                key[4..].copy_from_slice(&count.start.to_be_bytes());
                let rides = count.rides.to_be_bytes();
                output.send(&key[..4], (Some(&key), &rides), count.latest)?;
            }
            Ok(())
        }
    }
    run(log, topics, |partitions| Windows {
        counts: ZoneCounts::new(window, 0, partitions),
        closed: Vec::new(),
    })
}

/// Counts rides by key as they come; what changed goes out with each commit.
///
/// # Errors
/// See [`Error`].
pub fn count_by_key(log: &dyn Log, topics: Topics<'_>) -> Result<(), Error> {
    count(log, topics, |record, counts| {
        let Driven { .. } = json::decode(record.value.unwrap_or_default())?;
        counts.count(record.key.unwrap_or_default(), record.timestamp);
        Ok(())
    })
}

/// Counts the words of lines, which a space divides, as they come; what changed goes out with each commit.
///
/// # Errors
/// See [`Error`].
pub fn count_words(log: &dyn Log, topics: Topics<'_>) -> Result<(), Error> {
    count(log, topics, |record, counts| {
        let line = record.value.unwrap_or_default();
        let line = simdutf8::basic::from_utf8(line).map_err(|error| error.to_string())?;
        for word in line.as_bytes().split(|byte| *byte == b' ') {
            counts.count(word, record.timestamp);
        }
        Ok(())
    })
}

/// Counts what `each` finds in a record.
fn count(
    log: &dyn Log,
    topics: Topics<'_>,
    each: impl FnMut(&RawRecord<'_>, &mut RunningCounts) -> Result<(), String>,
) -> Result<(), Error> {
    struct Counts<F>(RunningCounts, F);
    impl<F: FnMut(&RawRecord<'_>, &mut RunningCounts) -> Result<(), String>> Work for Counts<F> {
        fn take(
            &mut self,
            _: usize,
            record: &RawRecord<'_>,
            _: &mut Output<'_>,
        ) -> Result<(), Wrong> {
            Ok((self.1)(record, &mut self.0)?)
        }
        fn send(&mut self, output: &mut Output<'_>, _: bool) -> Result<(), TransactionError> {
            self.0.send(output)
        }
    }
    run(log, topics, |_| Counts(RunningCounts::default(), each))
}
