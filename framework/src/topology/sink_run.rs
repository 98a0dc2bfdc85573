//! What a sink has encoded of an epoch: records in canonical order, in memory that stays where it is.

use std::cmp::Ordering;
use std::ops::Deref;
use std::sync::Arc;

use tiderace_operators::record::Position;

use super::chunks::{Chunks, Place};
use super::record_hash::{self, LENGTH, RecordHash, RecordHasher};
use crate::connect::{Header, Records, SinkRecord};

/// Records of one sink, one worker and one epoch, encoded.
#[derive(Debug, Default)]
pub(crate) struct SinkRun {
    pub(super) entries: Vec<Entry>,
    /// How many there will be, as far as one can tell.
    expected: usize,
    /// Each record as the row that is hashed of it: key and value behind their lengths, and the timestamp.
    pub(super) rows: Chunks,
    /// Keys of long rows once more, one behind the other: who sends the records finds them without a look at each row.
    pub(super) keys: Vec<u8>,
    extras: Vec<Extra>,
    /// Bytes that the extras take.
    extra_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) position: Position,
    /// In milliseconds. The row has it, too, but far from the key: who sends the record need not look there.
    pub(super) timestamp: i64,
    pub(super) hash: RecordHash,
    /// Where its row begins.
    pub(super) place: Place,
    /// Where its key lies among the keys of long rows; [`IN_ROW`] if its row is short.
    pub(super) key_at: u32,
    /// In bytes; [`NULL`] for none.
    pub(super) key: u32,
    pub(super) value: u32,
    pub(super) partition: u32,
    /// Where in the run's extras its own lies, [`BY_KEY`] or [`BY_WINDOW`].
    pub(super) extra: u32,
}

const _: () = assert!(
    size_of::<Entry>() == 64,
    "an entry fills a line of the cache"
);

/// Records that memory is asked for before they are there, at most.
const MOST_EXPECTED: usize = 1 << 17;

/// The length of a key or a value that is not there.
pub(super) const NULL: u32 = u32::MAX;

/// The key is found in the row.
const IN_ROW: u32 = u32::MAX;

/// Bytes of key and value from which on a row is long: the next one lies in another line of the cache, and not next to it.
const LONG_ROW: usize = 128;

/// Bytes of the longest key that is kept twice.
const SHORT_KEY: usize = 32;

/// Among equal positions the key's bytes decide.
pub(super) const BY_KEY: u32 = u32::MAX;

/// Among equal positions the window's start decides, the last 8 bytes of the key, then the rest of them.
pub(super) const BY_WINDOW: u32 = u32::MAX - 1;

/// What few records have.
#[derive(Debug)]
pub(super) struct Extra {
    /// What decides among equal positions: the key before a step changed it. Empty where the key decides.
    pub(super) order: Vec<u8>,
    pub(super) headers: Vec<Header>,
}

impl SinkRun {
    /// A run of about so many records.
    pub(super) fn expecting(records: usize) -> Self {
        SinkRun {
            expected: records.min(MOST_EXPECTED),
            ..SinkRun::default()
        }
    }

    pub(super) fn push(&mut self, entry: Entry) {
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
        let entries = self.entries.capacity() * size_of::<Entry>();
        self.rows.memory() + self.keys.capacity() + entries + self.extra_bytes
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
        let (in_row, row) = row[LENGTH..].split_at(key);
        let key = match entry.key_at {
            IN_ROW => in_row,
            at => &self.keys[at as usize..][..key],
        };
        (
            (entry.key != NULL).then_some(key),
            (entry.value != NULL).then_some(&row[LENGTH..]),
        )
    }

    /// Keeps a key of a long row where it is found sooner; where that is.
    pub(super) fn keep_key(keys: &mut Vec<u8>, key: &[u8], value: usize) -> u32 {
        if key.len() + value < LONG_ROW || key.len() > SHORT_KEY {
            return IN_ROW;
        }
        let Ok(at) = u32::try_from(keys.len()) else {
            return IN_ROW;
        };
        keys.extend_from_slice(key);
        at
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
            key_at: IN_ROW,
            key,
            value,
            partition: record.partition,
            extra: extra.map_or(BY_KEY, |extra| self.append_extra(extra)),
        };
        self.push(entry);
    }

    pub(super) fn append_extra(&mut self, extra: Extra) -> u32 {
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
pub(super) fn length(bytes: usize) -> Result<u32, String> {
    u32::try_from(bytes).map_err(|_| format!("{bytes} bytes: no log takes a record of 4 GiB"))
}

/// Start and inner key of a windowed key's bytes.
fn window_order(key: &[u8]) -> (i64, &[u8]) {
    match key.split_last_chunk::<8>() {
        Some((inner, start)) => (i64::from_be_bytes(*start), inner),
        None => (0, key),
    }
}
