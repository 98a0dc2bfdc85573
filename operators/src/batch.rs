//! The container that streams carry: records in order, and the marks of event time between them.
//!
//! Marks travel in the same channels as records, so they keep their place among them. Keeping them apart from
//! the records costs a record nothing (see `benches/containers.rs` of the workspace).

use std::vec::Drain;

use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::dataflow::channels::ContainerBytes;

use crate::record::{EventTime, Record};

/// How far a sender of a stream has come in event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// Its active partitions have all reached this stream time.
    Active(EventTime),
    /// None of its partitions is active; the largest of their stream times.
    Idle(EventTime),
    /// It has no partition at all.
    Absent,
    /// The input has ended: the largest stream time of all partitions, of all senders.
    End(EventTime),
}

/// A sender's [`Advance`], addressed to one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Number of the sender among those of the stream.
    pub from: u32,
    /// Index of the worker that it is for.
    pub to: u32,
    /// What it says.
    pub advance: Advance,
}

/// Marks that are taken out of a batch, each with the number of records that precede it.
pub type Marks<'a> = Drain<'a, (u32, Mark)>;

/// Records and, between them, marks.
#[derive(Clone, Debug)]
pub struct Batch<K, V> {
    records: Vec<Record<K, V>>,
    /// Each with the number of records that precede it.
    marks: Vec<(u32, Mark)>,
}

/// What a [`Batch`] holds, in its order.
pub enum Item<K, V> {
    /// A record.
    Record(Record<K, V>),
    /// A mark.
    Mark(Mark),
}

impl<K, V> Default for Batch<K, V> {
    fn default() -> Self {
        Batch {
            records: Vec::new(),
            marks: Vec::new(),
        }
    }
}

impl<K, V> Batch<K, V> {
    /// Records after which a batch is sent on: about 32 KiB of them.
    pub const CAPACITY: usize = {
        let fits = (32 << 10) / size_of::<Record<K, V>>();
        if fits < 16 { 16 } else { fits }
    };

    /// Appends a record.
    pub fn push(&mut self, record: Record<K, V>) {
        if self.records.capacity() == 0 {
            self.records.reserve(Self::CAPACITY);
        }
        self.records.push(record);
    }

    /// Appends a mark behind what is there.
    pub fn mark(&mut self, mark: Mark) {
        let behind =
            u32::try_from(self.records.len()).expect("a batch is sent on long before 2^32 records");
        self.marks.push((behind, mark));
    }

    /// Whether it holds enough to be sent on.
    pub fn is_full(&self) -> bool {
        self.records.len() >= Self::CAPACITY
    }

    /// Whether it holds neither records nor marks.
    pub fn is_blank(&self) -> bool {
        self.records.is_empty() && self.marks.is_empty()
    }

    /// Appends all of `records`, and leaves memory for as many there.
    pub fn append(&mut self, records: &mut Vec<Record<K, V>>) {
        if self.records.is_empty() {
            std::mem::swap(&mut self.records, records);
        } else {
            self.records.append(records);
        }
    }

    /// Takes everything out, keeping the memory.
    pub fn parts(&mut self) -> (Drain<'_, Record<K, V>>, Marks<'_>) {
        (self.records.drain(..), self.marks.drain(..))
    }

    /// Takes everything out, in order, keeping the memory.
    pub fn drain(&mut self, mut each: impl FnMut(Item<K, V>)) {
        let (mut records, marks) = self.parts();
        let mut taken = 0;
        for (behind, mark) in marks {
            for record in records.by_ref().take((behind - taken) as usize) {
                each(Item::Record(record));
            }
            taken = behind;
            each(Item::Mark(mark));
        }
        for record in records {
            each(Item::Record(record));
        }
    }
}

impl<K, V> Accountable for Batch<K, V> {
    fn record_count(&self) -> i64 {
        (self.records.len() + self.marks.len()) as i64
    }
}

/// Batches cross threads of one process and are never serialised.
impl<K, V> ContainerBytes for Batch<K, V> {
    fn from_bytes(_: Bytes) -> Self {
        unreachable!("workers are threads of one process: batches are moved, not serialised")
    }

    fn length_in_bytes(&self) -> usize {
        unreachable!("workers are threads of one process: batches are moved, not serialised")
    }

    fn into_bytes<W: std::io::Write>(&self, _: &mut W) {
        unreachable!("workers are threads of one process: batches are moved, not serialised")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Header, Position};

    #[test]
    fn marks_keep_their_place_among_records() {
        let time = EventTime::from_millis(0);
        let header = Header {
            timestamp: time,
            stream_time: time,
            position: Position::read(0, 0, 0).unwrap(),
        };
        let mark = |from| Mark {
            from,
            to: 0,
            advance: Advance::Active(time),
        };
        let mut batch = Batch::<(), u32>::default();
        batch.mark(mark(0));
        for value in 0..3 {
            batch.push(Record {
                header,
                extra: None,
                key: None,
                value,
            });
        }
        batch.mark(mark(1));
        batch.mark(mark(2));
        batch.push(Record {
            header,
            extra: None,
            key: None,
            value: 3,
        });
        assert_eq!(batch.record_count(), 7);
        let mut seen = Vec::new();
        batch.drain(|item| match item {
            Item::Record(record) => seen.push(format!("r{}", record.value)),
            Item::Mark(mark) => seen.push(format!("m{}", mark.from)),
        });
        assert_eq!(seen, ["m0", "r0", "r1", "r2", "m1", "m2", "r3"]);
        assert!(batch.is_blank());
    }
}
