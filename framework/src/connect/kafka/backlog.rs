//! What a producer was given and is not acknowledged yet, and when to have it flushed.
//!
//! librdkafka has one batch of a partition under way at a time. If another one is due meanwhile, because its records no
//! longer linger or the producer is being flushed, its thread asks for the time again and again until the first is
//! acknowledged, instead of sleeping. So records linger for long, full batches go out one after the other by
//! themselves, and a flush is for what is left then: less than a batch of each partition.

use std::time::{Duration, Instant};

/// How long nothing may be acknowledged of full batches before they are flushed all the same.
const STILL: Duration = Duration::from_millis(50);

/// How often it is looked whether anything was acknowledged.
pub(super) const LOOK: Duration = Duration::from_micros(500);

/// What was sent since everything was acknowledged last.
#[derive(Debug)]
pub(super) struct Backlog {
    /// Bytes that fill a batch, and records that do.
    batch: u64,
    batch_records: u64,
    records: u64,
    bytes: u64,
    /// Bytes by topic, as the limits number them, and partition.
    parts: Vec<Vec<u64>>,
    /// Fewest records that were left, and since when.
    fewest: Option<(u64, Instant)>,
}

impl Backlog {
    /// Nothing was sent yet, in batches of so many bytes or so many records.
    pub(super) fn new(batch: usize, batch_records: usize) -> Backlog {
        Backlog {
            batch: batch.max(1) as u64,
            batch_records: batch_records.max(1) as u64,
            records: 0,
            bytes: 0,
            parts: Vec::new(),
            fewest: None,
        }
    }

    /// Notes a record of so many bytes.
    pub(super) fn add(&mut self, topic: usize, partition: u32, bytes: usize) {
        let bytes = bytes as u64;
        self.records += 1;
        self.bytes += bytes;
        self.fewest = None;
        if self.parts.len() <= topic {
            self.parts.resize_with(topic + 1, Vec::new);
        }
        let parts = &mut self.parts[topic];
        let partition = partition as usize;
        if parts.len() <= partition {
            parts.resize(partition + 1, 0);
        }
        parts[partition] += bytes;
    }

    /// Whether to wait for what is under way, of `left` records altogether, rather than have it flushed: there is a full
    /// batch among it, wherever it lies, and not for too long already.
    pub(super) fn goes_down(&mut self, left: u64, now: Instant) -> bool {
        if self.records == 0 || left * self.bytes / self.records <= self.not_full() {
            return false;
        }
        match self.fewest {
            Some((fewest, since)) if left >= fewest => now.duration_since(since) < STILL,
            _ => {
                self.fewest = Some((left, now));
                true
            }
        }
    }

    /// As many bytes as can be left without a full batch.
    fn not_full(&self) -> u64 {
        let batch = self
            .batch
            .min(self.bytes * self.batch_records / self.records);
        let parts = self.parts.iter().flatten();
        parts.map(|bytes| batch.min(*bytes)).sum()
    }

    /// Everything is acknowledged.
    pub(super) fn clear(&mut self) {
        (self.records, self.bytes, self.fewest) = (0, 0, None);
        self.parts.iter_mut().for_each(|parts| parts.fill(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_batches_are_waited_for_and_nothing_else() {
        let begun = crate::clock::instant();
        let at = |millis| begun + Duration::from_millis(millis);
        let mut backlog = Backlog::new(1_000, 10_000);
        assert!(!backlog.goes_down(0, at(0)));
        // 3,000 and 500 bytes: of the first three full batches, of the second none.
        (0..60).for_each(|_| backlog.add(0, 3, 50));
        (0..10).for_each(|_| backlog.add(1, 0, 50));
        assert!(backlog.goes_down(70, at(0)));
        assert!(backlog.goes_down(70, at(40)));
        assert!(backlog.goes_down(50, at(70)));
        assert!(backlog.goes_down(50, at(119)));
        assert!(!backlog.goes_down(50, at(120)), "nothing moves");
        assert!(backlog.goes_down(31, at(121)));
        assert!(
            !backlog.goes_down(30, at(121)),
            "they may be of both, and fill no batch"
        );
        backlog.clear();
        (0..10).for_each(|_| backlog.add(1, 0, 50));
        assert!(!backlog.goes_down(10, at(200)));
        // Batches are full by their number, too.
        let mut small = Backlog::new(1_000_000, 10_000);
        (0..30_000).for_each(|_| small.add(0, 0, 10));
        assert!(small.goes_down(10_001, at(0)));
        assert!(!small.goes_down(10_000, at(0)));
        // A queue that is full of what fills no batch is to be flushed, however much was sent before.
        let mut wide = Backlog::new(1_000, 10_000);
        (0..24_000).for_each(|nth| wide.add(0, nth % 24, 60));
        assert!(!wide.goes_down(400, at(0)));
    }
}
