//! Writing: from typed records to the bytes of a topic's records, in canonical order, an epoch at a time.

use tiderace_operators::batch::Mark;
use tiderace_operators::current;
use tiderace_operators::dataflow::{Epoch, Ports};
use tiderace_operators::key::{self, Data, Key};
use tiderace_operators::record::Record;
use tiderace_operators::stage::Stage;
use tiderace_operators::tally::{Tally, Verdict};

use super::record_hash::{self, LENGTH};
use super::sink_run::{BY_KEY, BY_WINDOW, Entry, Extra, NULL, SinkRun, length};
use crate::connect::{Topic, partition_for};

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
        let encoded = &row[begin + LENGTH..behind_key];
        let key_at = SinkRun::keep_key(&mut run.keys, encoded, value);
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
            key_at,
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
    use std::cmp::Ordering;

    use tiderace_operators::record::{EventTime, Position};

    use super::*;
    use crate::connect::{Header, Records, SinkRecord};
    use crate::topology::record_hash::RecordHasher;

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
