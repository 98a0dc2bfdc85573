//! Writing: from typed records to the bytes of a topic's records, in canonical order, an epoch at a time.

use std::cmp::Ordering;
use std::ops::Deref;
use std::sync::Arc;

use tiderace_operators::batch::Mark;
use tiderace_operators::current;
use tiderace_operators::dataflow::{Epoch, Ports};
use tiderace_operators::key::{self, Data, Key};
use tiderace_operators::record::{Position, Record};
use tiderace_operators::stage::Stage;
use tiderace_operators::tally::{Tally, Verdict};

use super::chunks::{Chunks, Place};
use super::record_hash::{self, LENGTH, RecordHash, RecordHasher};
use crate::connect::{Header, Records, SinkRecord, Topic, partition_for};

/// Records of one sink, one worker and one epoch, encoded.
#[derive(Debug, Default)]
pub(crate) struct SinkRun {
    entries: Vec<Entry>,
    /// How many there will be, as far as one can tell.
    expected: usize,
    /// Each record as the row that is hashed of it: key and value behind their lengths, and the timestamp.
    rows: Chunks,
    extras: Vec<Extra>,
    /// Bytes that the extras take.
    extra_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    position: Position,
    /// In milliseconds. The row has it, too, but far from the key: who sends the record need not look there.
    timestamp: i64,
    hash: RecordHash,
    /// Where its row begins.
    place: Place,
    /// In bytes; [`NULL`] for none.
    key: u32,
    value: u32,
    partition: u32,
    /// Where in the run's extras its own lies, [`BY_KEY`] or [`BY_WINDOW`].
    extra: u32,
}

const _: () = assert!(size_of::<Entry>() == 56, "an entry is at most 56 bytes");

/// Records that memory is asked for before they are there, at most.
const MOST_EXPECTED: usize = 1 << 17;

/// The length of a key or a value that is not there.
const NULL: u32 = u32::MAX;

/// Among equal positions the key's bytes decide.
const BY_KEY: u32 = u32::MAX;

/// Among equal positions the window's start decides, the last 8 bytes of the key, then the rest of them.
const BY_WINDOW: u32 = u32::MAX - 1;

/// What few records have.
#[derive(Debug)]
struct Extra {
    /// What decides among equal positions: the key before a step changed it. Empty where the key decides.
    order: Vec<u8>,
    headers: Vec<Header>,
}

impl SinkRun {
    /// A run of about so many records.
    fn expecting(records: usize) -> Self {
        SinkRun {
            expected: records.min(MOST_EXPECTED),
            ..SinkRun::default()
        }
    }

    fn push(&mut self, entry: Entry) {
        if self.entries.is_empty() {
            self.entries.reserve(self.expected);
        }
        self.entries.push(entry);
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many records it holds.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory that it holds, for the budget.
    pub(crate) fn memory(&self) -> usize {
        self.rows.memory() + self.entries.capacity() * size_of::<Entry>() + self.extra_bytes
    }

    fn extra(&self, entry: &Entry) -> Option<&Extra> {
        self.extras.get(entry.extra as usize)
    }

    /// The partition and the hash of the record at `index`.
    pub(crate) fn hash(&self, index: usize) -> (u32, RecordHash) {
        let entry = &self.entries[index];
        (entry.partition, entry.hash)
    }

    /// Key and value.
    fn parts(&self, entry: &Entry) -> (Option<&[u8]>, Option<&[u8]>) {
        let (key, value) = (bytes_of(entry.key), bytes_of(entry.value));
        let row = self.rows.get(entry.place, LENGTH + key + LENGTH + value);
        let (key, row) = row[LENGTH..].split_at(key);
        (
            (entry.key != NULL).then_some(key),
            (entry.value != NULL).then_some(&row[LENGTH..]),
        )
    }

    /// How many bytes key and value of the record at `index` have together.
    pub(crate) fn length(&self, index: usize) -> usize {
        let entry = &self.entries[index];
        bytes_of(entry.key) + bytes_of(entry.value)
    }

    /// Appends a record that is written as it was read: a dead letter or a late one.
    pub(crate) fn push_raw(&mut self, position: Position, record: &SinkRecord<'_>) {
        let (place, row) = self.rows.begin();
        let mut append = |bytes: Option<&[u8]>| {
            row.extend(record_hash::length(bytes.map(<[u8]>::len)));
            row.extend_from_slice(bytes.unwrap_or_default());
            bytes.map_or(NULL, |bytes| {
                length(bytes.len()).expect("what a log has held is no longer than it may be")
            })
        };
        let (key, value) = (append(record.key), append(record.value));
        row.extend(record.timestamp.to_le_bytes());
        let extra = (!record.headers.is_empty()).then(|| Extra {
            order: Vec::new(),
            headers: record.headers.to_vec(),
        });
        let SinkRecord {
            timestamp, headers, ..
        } = *record;
        let entry = Entry {
            position,
            timestamp: record.timestamp,
            hash: RecordHasher::default().hash(record.key, record.value, timestamp, headers),
            place,
            key,
            value,
            partition: record.partition,
            extra: extra.map_or(BY_KEY, |extra| self.append_extra(extra)),
        };
        self.push(entry);
    }

    fn append_extra(&mut self, extra: Extra) -> u32 {
        let headers = extra.headers.iter();
        let headers = headers
            .map(|of| size_of::<Header>() + of.name.len() + of.value.as_ref().map_or(0, Vec::len));
        self.extra_bytes += size_of::<Extra>() + extra.order.len() + headers.sum::<usize>();
        self.extras.push(extra);
        let index = u32::try_from(self.extras.len() - 1);
        index.expect("an epoch is closed long before it makes 2^32 records")
    }

    /// Puts the records into canonical order: by position, then by what decides among equals, then as they came.
    pub(crate) fn sort(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_by(|one, other| self.compare_entries(one, self, other));
        self.entries = entries;
    }

    fn compare_entries(&self, one: &Entry, run: &SinkRun, other: &Entry) -> Ordering {
        one.position
            .cmp(&other.position)
            .then_with(|| self.order_of(one).cmp(&run.order_of(other)))
    }

    /// Compares record `one` of this run with record `other` of `run` in canonical order.
    pub(crate) fn compare(&self, one: usize, run: &SinkRun, other: usize) -> Ordering {
        self.compare_entries(&self.entries[one], run, &run.entries[other])
    }

    /// What decides among equal positions. Several records that come of one result have its order; then their keys decide.
    fn order_of(&self, entry: &Entry) -> ((i64, &[u8]), &[u8]) {
        let key = self.parts(entry).0.unwrap_or_default();
        match (entry.extra, self.extra(entry)) {
            (_, Some(Extra { order, .. })) if !order.is_empty() => (window_order(order), key),
            (BY_WINDOW, _) => (window_order(key), &[]),
            _ => ((0, key), &[]),
        }
    }
}

impl Records for SinkRun {
    fn get<'a>(&'a self, index: usize, topic: &'a str) -> SinkRecord<'a> {
        let entry = &self.entries[index];
        let (key, value) = self.parts(entry);
        SinkRecord {
            topic,
            partition: entry.partition,
            timestamp: entry.timestamp,
            key,
            value,
            headers: self.extra(entry).map_or(&[], |extra| &extra.headers),
        }
    }
}

/// A run that is complete, to be read by whoever holds it.
pub(crate) struct FinishedRun {
    run: Arc<SinkRun>,
    records: Arc<dyn Records>,
}

impl FinishedRun {
    pub(crate) fn new(run: SinkRun) -> Self {
        let run = Arc::new(run);
        FinishedRun {
            records: run.clone(),
            run,
        }
    }

    /// The run as a log takes it.
    pub(crate) fn records(&self) -> &Arc<dyn Records> {
        &self.records
    }
}

impl Deref for FinishedRun {
    type Target = SinkRun;

    fn deref(&self) -> &SinkRun {
        &self.run
    }
}

/// How many bytes the length of a key or a value stands for.
fn bytes_of(length: u32) -> usize {
    if length == NULL { 0 } else { length as usize }
}

/// The length of a key or a value as an entry has it.
fn length(bytes: usize) -> Result<u32, String> {
    u32::try_from(bytes).map_err(|_| format!("{bytes} bytes: no log takes a record of 4 GiB"))
}

/// Start and inner key of a windowed key's bytes.
fn window_order(key: &[u8]) -> (i64, &[u8]) {
    match key.split_last_chunk::<8>() {
        Some((inner, start)) => (i64::from_be_bytes(*start), inner),
        None => (0, key),
    }
}

/// Writes one kind of record as a topic's.
pub(crate) struct Encoder<K, V> {
    pub(crate) topic: Topic<K, V>,
    pub(crate) partitions: u32,
    /// Whether the log takes timestamps at or before the epoch.
    pub(crate) any_timestamp: bool,
}

impl<K: Key, V: Data> Encoder<K, V> {
    fn encode(&self, record: Record<K, V>, run: &mut SinkRun) -> Result<(), String> {
        let Record {
            header,
            extra,
            key,
            value: made,
        } = record;
        let mut by = BY_KEY;
        let mut partition = header.position.partition() % self.partitions;
        let (place, row) = run.rows.begin();
        let begin = row.len();
        row.extend(record_hash::length(None));
        let start = row.len();
        let mut key_length = NULL;
        if let Some(key) = key {
            let layout = key::encode(&key, row).map_err(|e| e.to_string())?;
            if layout.windowed {
                by = BY_WINDOW;
            }
            if layout.null {
                row.truncate(start);
            } else {
                partition = partition_for(&row[start..start + layout.inner], self.partitions);
                key_length = length(row.len() - start)?;
                let bytes = record_hash::length(Some(row.len() - start));
                row[begin..start].copy_from_slice(&bytes);
            }
            key::give_back(key);
        }
        let behind_key = row.len();
        row.extend(record_hash::length(None));
        let start = row.len();
        (self.topic.encode)(&made, row)?;
        key::give_back(made);
        let value = row.len() - start;
        row[behind_key..start].copy_from_slice(&record_hash::length(Some(value)));
        let timestamp = header.timestamp.as_millis();
        row.extend(timestamp.to_le_bytes());
        let hash = record_hash::of_row(&row[begin..]);
        if let Some(extra) = extra
            && !extra.order.is_empty()
        {
            by = run.append_extra(Extra {
                order: extra.order,
                headers: Vec::new(),
            });
        }
        if timestamp <= 0 && !self.any_timestamp {
            return Err(format!(
                "its timestamp {} is not after 1970-01-01, and Kafka would re-date it: map it to a later time",
                header.timestamp
            ));
        }
        run.push(Entry {
            position: header.position,
            timestamp,
            hash,
            place,
            key: key_length,
            value: length(value)?,
            partition,
            extra: by,
        });
        Ok(())
    }
}

/// Takes the runs of a sink over, an epoch at a time.
pub(crate) trait Collector {
    /// Says how many bytes the run of the open epoch holds by now, for the budget.
    fn grew(&mut self, memory: usize);
    /// Takes an epoch's run over; an error stops the engine.
    fn take(&mut self, epoch: Epoch, outcome: Result<SinkRun, String>);
}

/// A sink's way to the committer.
pub(crate) type Collect = Box<dyn Collector>;

/// Bytes by which a run grows before it is said.
const GROWTH: usize = 64 << 10;

pub(crate) struct SinkStage<K, V> {
    pub(crate) node: u32,
    pub(crate) encoder: Encoder<K, V>,
    pub(crate) collect: Collect,
    pub(crate) tally: Tally,
    pub(crate) run: SinkRun,
    /// Bytes of the run that were told of.
    pub(crate) told: usize,
    pub(crate) failure: Option<String>,
}

impl<K: Key, V: Data> Stage<K, V> for SinkStage<K, V> {
    fn record(&mut self, record: Record<K, V>) {
        let position = record.header.position;
        current::enter(self.node);
        current::at(position);
        self.tally.verdict(position, Verdict::Processed);
        if self.failure.is_none()
            && let Err(reason) = self.encoder.encode(record, &mut self.run)
        {
            self.failure = Some(reason);
        }
        let memory = self.run.memory();
        if memory >= self.told + GROWTH {
            self.told = memory;
            self.collect.grew(memory);
        }
    }

    fn mark(&mut self, _: Mark, _: &mut Ports) {}

    fn close(&mut self, epoch: Epoch, _: &mut Ports) {
        self.tally.close(epoch);
        // An epoch is much like the one before it.
        let expected = SinkRun::expecting(self.run.len());
        let mut run = std::mem::replace(&mut self.run, expected);
        self.told = 0;
        match self.failure.take() {
            Some(reason) => self.collect.take(epoch, Err(reason)),
            None if run.is_empty() => {}
            None => {
                run.sort();
                self.collect.take(epoch, Ok(run));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tiderace_operators::record::EventTime;

    use super::*;

    /// A record with this key, encoded as its topic's.
    fn encoded<K: Key>(key: Option<K>, value: &str, run: &mut SinkRun) {
        let encoder = Encoder::<K, String> {
            topic: Topic::bytes("out"),
            partitions: 3,
            any_timestamp: false,
        };
        let at = EventTime::from_millis(1_577_836_800_000 + value.len() as i64);
        let record = Record {
            header: tiderace_operators::record::Header {
                timestamp: at,
                stream_time: at,
                position: Position::read(0, 1, run.len() as u64).unwrap(),
            },
            extra: None,
            key,
            value: value.to_owned(),
        };
        encoder.encode(record, run).unwrap();
    }

    #[test]
    fn the_hash_that_a_sink_makes_is_that_of_the_record_as_it_is_read() {
        let mut run = SinkRun::default();
        encoded(Some("k".to_owned()), "v", &mut run);
        encoded(Some(String::new()), "", &mut run);
        encoded(None::<String>, "without a key", &mut run);
        encoded(Some(None::<String>), "with one that is null", &mut run);
        encoded(Some(7_u64), &"long".repeat(500), &mut run);
        let headers = [Header {
            name: "a".to_owned(),
            value: Some(b"b".to_vec()),
        }];
        let raw = |value, headers| SinkRecord {
            topic: "out",
            partition: 1,
            timestamp: -5,
            key: None,
            value,
            headers,
        };
        for record in [
            raw(None, &headers[..]),
            raw(Some(&b"raw"[..]), &[]),
            raw(None, &[]),
        ] {
            run.push_raw(Position::read(0, 1, run.len() as u64).unwrap(), &record);
            assert_eq!(run.get(run.len() - 1, "out"), record);
        }
        let mut hasher = RecordHasher::default();
        let mut hashes = std::collections::BTreeSet::new();
        for index in 0..run.len() {
            let record = run.get(index, "out");
            let of = hasher.hash(record.key, record.value, record.timestamp, record.headers);
            assert_eq!(run.hash(index), (record.partition, of), "{record:?}");
            assert!(hashes.insert(of));
        }
        let keys = (0..5).map(|index| run.get(index, "out").key.map(<[u8]>::to_vec));
        let seven = 7_u64.to_be_bytes().to_vec();
        let expected = [
            Some(b"k".to_vec()),
            Some(Vec::new()),
            None,
            None,
            Some(seven),
        ];
        assert_eq!(keys.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_several_workers_make_of_one_result_is_merged_by_their_keys() {
        let position = Position::read(0, 0, 7).unwrap();
        let of = |key: &str, order: &str| {
            let mut run = SinkRun::default();
            let record = SinkRecord {
                topic: "out",
                partition: 0,
                timestamp: 1,
                key: Some(key.as_bytes()),
                value: None,
                headers: &[],
            };
            run.push_raw(position, &record);
            let extra = run.append_extra(Extra {
                order: order.as_bytes().to_vec(),
                headers: Vec::new(),
            });
            run.entries[0].extra = extra;
            run
        };
        // The order is a windowed key: what comes first in it does not decide before the window's start, its last bytes.
        let [one, other] = [of("ebb", "a-start-01"), of("and", "a-start-01")];
        assert_eq!(one.compare(0, &other, 0), Ordering::Greater);
        assert_eq!(other.compare(0, &one, 0), Ordering::Less);
        let later = of("and", "a-start-02");
        assert_eq!(one.compare(0, &later, 0), Ordering::Less);
    }
}
