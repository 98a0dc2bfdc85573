//! The input: every key once, then keys by chance at a steady rate.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tiderace::connect::{SinkRecord, Writer};
use tiderace::error::LogError;
use tiderace_testing::kills::Random;

use super::job::Event;
use super::place::{PARTITIONS, Place};
use crate::Failure;

/// How often the steady input is flushed.
const TURN: Duration = Duration::from_millis(10);

/// Sends events and counts them by key.
pub(super) struct Feed {
    topic: String,
    writer: Box<dyn Writer>,
    random: Random,
    /// Events of each key.
    counts: Vec<u32>,
    sent: Arc<AtomicU64>,
    value: Vec<u8>,
}

impl Feed {
    /// Sends every key below `keys` once, to a topic that has as many partitions as all here have.
    pub(super) fn every_key(place: &Place, topic: &str, keys: u64) -> Result<Self, Failure> {
        let mut feed = Feed {
            topic: topic.to_owned(),
            writer: place.open()?.writer(topic)?,
            random: Random::new(1),
            counts: vec![0; usize::try_from(keys)?],
            sent: Arc::default(),
            value: Vec::new(),
        };
        for key in 0..keys {
            feed.send(key)?;
        }
        feed.writer.flush()?;
        Ok(feed)
    }

    /// Sends `events` with keys by chance, as fast as it goes.
    pub(super) fn more(&mut self, events: u64) -> Result<(), Failure> {
        for _ in 0..events {
            self.send_any()?;
        }
        Ok(self.writer.flush()?)
    }

    fn send_any(&mut self) -> Result<(), LogError> {
        let key = self.random.number() % self.counts.len() as u64;
        self.send(key)
    }

    fn send(&mut self, key: u64) -> Result<(), LogError> {
        self.value.clear();
        let event = Event {
            amount: (key % 10_000) as u32,
        };
        serde_json::to_writer(&mut self.value, &event).expect("an event is JSON");
        let sent = self.sent.fetch_add(1, Ordering::Relaxed);
        self.writer.send(&SinkRecord {
            topic: &self.topic,
            partition: (key % u64::from(PARTITIONS)) as u32,
            timestamp: 1_600_000_000_000 + sent as i64 / 20,
            key: Some(&key.to_be_bytes()),
            value: Some(&self.value),
            headers: &[],
        })?;
        self.counts[key as usize] += 1;
        Ok(())
    }

    /// Events sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Events of each key.
    pub(super) fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Goes on at so many events a second, in a thread of its own.
    pub(super) fn steady(mut self, rate: u64) -> Steady {
        let (sent, stop) = (Arc::clone(&self.sent), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || -> Result<Feed, LogError> {
            let (begun, mut done) = (Instant::now(), 0);
            while !asked.load(Ordering::Relaxed) {
                let due = (begun.elapsed().as_secs_f64() * rate as f64) as u64;
                for _ in done..due {
                    self.send_any()?;
                }
                done = due;
                self.writer.flush()?;
                std::thread::sleep(TURN);
            }
            Ok(self)
        });
        Steady { sent, stop, thread }
    }
}

/// A feed under way.
pub(super) struct Steady {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Feed, LogError>>,
}

impl Steady {
    /// Events sent so far, all of them.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub(super) fn stop(self) -> Result<Feed, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let feed = self.thread.join().map_err(|_| "the feed panicked")?;
        Ok(feed?)
    }
}
