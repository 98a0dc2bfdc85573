//! What a producer was given and is not acknowledged yet, and when to have it flushed.
//!
//! librdkafka has one batch of a partition under way at a time. If another one is due meanwhile, because its records no
//! longer linger or the producer is being flushed, its thread asks for the time again and again until the first is
//! acknowledged, instead of sleeping. So records linger for long, full batches go out one after the other by
//! themselves, and a flush is for what is left then: less than a batch of each partition.

use std::time::{Duration, Instant};

/// How long nothing may be acknowledged of full batches before they are flushed all the same.
const STILL: Duration = Duration::from_millis(50);

/// The same where it is likely only that a batch is full, unless others have taken longer.
const SHORT: Duration = Duration::from_millis(5);

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
    /// The longest that it took until there were fewer.
    longest: Duration,
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
            longest: Duration::ZERO,
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
        self.is_more(left, |bytes, batch| bytes.min(batch)) && self.moves(left, now, STILL)
    }

    /// The same at the end of what is sent, when there is likely to be a full batch: as if all were cut into batches, what
    /// frames a record left aside.
    pub(super) fn comes_to_its_end(&mut self, left: u64, now: Instant) -> bool {
        let still = (2 * self.longest).clamp(SHORT, STILL);
        self.is_more(left, |bytes, batch| bytes.min(bytes % batch + batch / 8))
            && self.moves(left, now, still)
    }

    /// Whether more bytes are left than the sum of what may be left of a partition, by its bytes and those of a batch.
    fn is_more(&self, left: u64, may_be_left: impl Fn(u64, u64) -> u64) -> bool {
        if self.records == 0 {
            return false;
        }
        let batch = self
            .batch
            .min(self.bytes * self.batch_records / self.records);
        let parts = self.parts.iter().flatten();
        let most: u64 = parts.map(|bytes| may_be_left(*bytes, batch.max(1))).sum();
        left * self.bytes / self.records > most
    }

    /// Whether there were more records left a moment ago.
    fn moves(&mut self, left: u64, now: Instant, still: Duration) -> bool {
        match self.fewest {
            Some((fewest, since)) if left >= fewest => now.duration_since(since) < still,
            before => {
                if let Some((_, since)) = before {
                    self.longest = self.longest.max(now.duration_since(since));
                }
                self.fewest = Some((left, now));
                true
            }
        }
    }

    /// Everything is acknowledged.
    pub(super) fn clear(&mut self) {
        (self.records, self.bytes, self.fewest) = (0, 0, None);
        self.longest = Duration::ZERO;
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
        // At the end less is left to be flushed: nothing of the first partition, all of the second.
        assert!(backlog.comes_to_its_end(30, at(122)));
        assert!(
            backlog.comes_to_its_end(30, at(160)),
            "others have taken 50 ms"
        );
        assert!(!backlog.comes_to_its_end(12, at(160)));
        backlog.clear();
        (0..10).for_each(|_| backlog.add(1, 0, 50));
        assert!(!backlog.goes_down(10, at(200)));
        (0..29).for_each(|_| backlog.add(0, 0, 50));
        assert!(!backlog.goes_down(30, at(200)));
        assert!(backlog.comes_to_its_end(30, at(200)));
        assert!(
            !backlog.comes_to_its_end(30, at(205)),
            "none has taken long"
        );
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
