//! A partition that is ahead of the one that windows wait for is read by `max.lead.records` beyond it, and no further.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Fetched, Header, Log, RawRecord, RecordBatch, SinkRecord, Source};
use tiderace::error::LogError;
use tiderace::runtime::{Running, SharedProgress};
use tiderace::{Config, Engine, StreamsBuilder, TimeWindows, Topic, Topology, Windowed};

use crate::place::{Place, TIME};
use crate::wrapped::Wrapped;

const READINGS: Topic<String, String> = Topic::bytes("readings");
const COUNTS: Topic<Windowed<String>, u64> = Topic::json("counts");
const COPIES: Topic<String, String> = Topic::bytes("copies");

/// Records of the partition that is far ahead, one each 10 ms, and of the other, one each second.
const FAST: u64 = 20_000;
const SLOW: u64 = 200;
const PER_SLOW: u64 = FAST / SLOW;

/// How many records of the slow partition come at once, whose time ranges over twice as many fast ones as may be ahead.
const PART: usize = 20;
const LEAD: u64 = 1_000;

/// Looks of the fetch thread without any record read in between after which nothing more is expected.
const QUIET: u32 = 50;

/// Windows of one record each.
fn windowed() -> Topology {
    let builder = StreamsBuilder::new("app");
    builder
        .stream(READINGS)
        .group_by(|value| value.clone())
        .windowed_by(TimeWindows::of_size(Duration::from_millis(10)))
        .count()
        .emit_on_close()
        .to(COUNTS);
    builder.build().unwrap()
}

fn time(partition: u32, number: u64) -> i64 {
    TIME + (number * if partition == 0 { 10 } else { 10 * PER_SLOW }) as i64
}

fn place(partitions: u32) -> Place {
    let place = Place::new(&[("readings", partitions), ("counts", 1), ("copies", 1)]);
    send(&place, 0, FAST);
    place
}

fn send(place: &Place, partition: u32, records: u64) {
    let mut writer = place.log.writer("readings").unwrap();
    for number in 0..records {
        let record = SinkRecord {
            topic: "readings",
            partition,
            timestamp: time(partition, number),
            key: None,
            value: Some(if partition == 0 { b"fast" } else { b"slow" }),
            headers: &[],
        };
        writer.send(&record).unwrap();
    }
    writer.flush().unwrap();
}

/// When the next part of the slow partition comes.
#[derive(Clone, Copy)]
enum Release {
    /// When the engine has read what it may.
    Quiet,
    /// When it has read so many records.
    Read(u64),
}

type Progress = Arc<OnceLock<SharedProgress>>;

/// Starts a topology over a log whose second partition comes in parts.
fn start(place: &Place, topology: Topology, release: Release, config: &Config) -> Running {
    let progress = Progress::default();
    let mut log = Wrapped::new(EmbeddedLog::open(place.path()).unwrap());
    let shown = Arc::clone(&progress);
    log.source = Box::new(move |assignment, inner| {
        let slow = assignment.iter().position(|(of, _)| of.partition == 1);
        Box::new(SlowSource {
            inner,
            slow,
            held: VecDeque::new(),
            release,
            progress: Arc::clone(&shown),
            last: 0,
            quiet: 0,
        })
    });
    let running = Engine::start(topology, Arc::new(log), config).unwrap();
    progress.set(running.progress()).unwrap();
    running
}

struct SlowSource {
    inner: Box<dyn Source>,
    slow: Option<usize>,
    /// What is there of the slow partition and has not come.
    held: VecDeque<Fetched>,
    release: Release,
    progress: Progress,
    last: u64,
    quiet: u32,
}

impl SlowSource {
    fn is_due(&mut self) -> bool {
        let Some(progress) = self.progress.get() else {
            return false;
        };
        let read = progress.read.load(std::sync::atomic::Ordering::Relaxed);
        if read != self.last {
            (self.last, self.quiet) = (read, 0);
        }
        self.quiet += 1;
        match self.release {
            Release::Quiet => self.quiet > QUIET,
            Release::Read(records) => read >= records,
        }
    }
}

impl Source for SlowSource {
    fn poll(&mut self, timeout: Duration) -> Result<Fetched, LogError> {
        if !self.held.is_empty() && self.is_due() {
            self.quiet = 0;
            return Ok(self.held.pop_front().unwrap());
        }
        match self.inner.poll(timeout.min(Duration::from_millis(1)))? {
            Fetched::Batch(batch) if Some(batch.slot()) == self.slow => {
                for from in (0..batch.len()).step_by(PART) {
                    let until = batch.len().min(from + PART);
                    self.held.push_back(Fetched::Batch(Arc::new(Part {
                        batch: Arc::clone(&batch),
                        range: from..until,
                    })));
                }
                Ok(Fetched::Nothing)
            }
            Fetched::CaughtUp { slot, position } if Some(slot) == self.slow => {
                let end = Fetched::CaughtUp { slot, position };
                if self.held.is_empty() {
                    return Ok(end);
                }
                self.held.push_back(end);
                Ok(Fetched::Nothing)
            }
            other => Ok(other),
        }
    }

    fn pause(&mut self, slot: usize) -> Result<(), LogError> {
        self.inner.pause(slot)
    }

    fn resume(&mut self, slot: usize) -> Result<(), LogError> {
        self.inner.resume(slot)
    }
}

struct Part {
    batch: Arc<dyn RecordBatch>,
    range: std::ops::Range<usize>,
}

impl RecordBatch for Part {
    fn slot(&self) -> usize {
        self.batch.slot()
    }

    fn len(&self) -> usize {
        self.range.len()
    }

    fn get(&self, index: usize) -> RawRecord<'_> {
        self.batch.get(self.range.start + index)
    }

    fn headers(&self, index: usize) -> Vec<Header> {
        self.batch.headers(self.range.start + index)
    }

    fn memory(&self) -> usize {
        self.batch.memory() * self.range.len() / self.batch.len()
    }
}

/// What the epoch log tells: the most records that the fast partition was beyond the stream time of the slow one while
/// that had more, and the most windows that were open behind an epoch.
fn peaks(place: &Place) -> (u64, u64) {
    let (mut ends, mut open, mut peaks) = ([0, 0], 0, (0, 0));
    for entry in place.texts("app-epochs") {
        let entry: serde_json::Value = serde_json::from_str(&entry).unwrap();
        if entry["kind"] != "epoch" {
            continue;
        }
        for share in entry["read"].as_array().unwrap() {
            ends[share["partition"].as_u64().unwrap() as usize] = share["end"].as_u64().unwrap();
        }
        open += entry["counts"]["processed"].as_u64().unwrap();
        open -= entry["windows_closed"].as_u64().unwrap();
        let [fast, slow] = ends;
        let within = slow.checked_sub(1).map_or(0, |last| last * PER_SLOW + 1);
        if slow < SLOW {
            peaks.0 = peaks.0.max(fast.saturating_sub(within));
        }
        peaks.1 = peaks.1.max(open);
    }
    peaks
}

/// Every record is in a window of its own.
fn expected() -> BTreeMap<Vec<u8>, String> {
    let key = |partition: u32, number: u64| {
        let value: &[u8] = if partition == 0 { b"fast" } else { b"slow" };
        let start = time(partition, number).to_be_bytes();
        ([value, &start].concat(), "1".to_owned())
    };
    let fast = (0..FAST).map(|number| key(0, number));
    fast.chain((0..SLOW).map(|number| key(1, number))).collect()
}

#[test]
fn windows_do_not_pile_up_while_a_partition_is_behind() {
    for workers in [1, 2] {
        let place = place(2);
        send(&place, 1, SLOW);
        let config = Config {
            workers,
            max_lead_records: LEAD,
            commit_interval: Duration::from_millis(20),
            ..place.config()
        };
        let running = start(&place, windowed(), Release::Quiet, &config);
        assert!(running.wait(Duration::from_secs(60)), "it does not end");
        let counts = running.join().unwrap().counts;
        assert_eq!((counts.processed, counts.late), (FAST + SLOW, 0));
        let (lead, open) = peaks(&place);
        println!("{workers} workers: at most {lead} records ahead, {open} windows open");
        assert!((LEAD / 2..=LEAD).contains(&lead), "{lead} records ahead");
        // What a part of the slow partition makes final closes with the epoch that it is read in.
        let part = PART as u64 * (PER_SLOW + 1);
        assert!(open <= LEAD + part, "{open} windows were open");
        let written = place.read("counts").remove(0).into_iter();
        let written: Vec<_> = written
            .map(|of| {
                (
                    of.key.unwrap(),
                    String::from_utf8(of.value.unwrap()).unwrap(),
                )
            })
            .collect();
        assert_eq!(written.len() as u64, FAST + SLOW);
        assert_eq!(written.into_iter().collect::<BTreeMap<_, _>>(), expected());
    }
}

/// Waits until so many records are committed, and stops.
fn reads(running: Running, records: u64) {
    let progress = running.progress();
    let begun = Instant::now();
    while progress.committed().read < records {
        assert!(!running.wait(Duration::from_millis(5)), "it ended");
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{} of {records} records were read",
            progress.committed().read
        );
    }
    running.stop_handle().stop();
    running.join().unwrap();
}

#[test]
fn nobody_waits_for_a_partition_that_was_read_to_its_end() {
    for workers in [1, 2] {
        let place = place(2);
        send(&place, 1, 1);
        // It is silent, and counts in the watermark all the same.
        let config = Config {
            workers,
            follow: true,
            max_lead_records: LEAD,
            idle_timeout: Duration::from_secs(3600),
            ..place.config()
        };
        let log: Arc<dyn Log> = place.log.clone();
        reads(Engine::start(windowed(), log, &config).unwrap(), FAST + 1);
    }
}

#[test]
fn nobody_waits_for_a_partition_that_was_added_and_is_empty() {
    let place = place(1);
    place.log.add_partitions("readings", 2).unwrap();
    let config = Config {
        follow: true,
        max_lead_records: LEAD,
        idle_timeout: Duration::from_secs(3600),
        ..place.config()
    };
    let log: Arc<dyn Log> = place.log.clone();
    reads(Engine::start(windowed(), log, &config).unwrap(), FAST);
}

#[test]
fn where_no_window_waits_no_partition_does() {
    let place = place(2);
    send(&place, 1, SLOW);
    let builder = StreamsBuilder::new("app");
    builder.stream(READINGS).to(COPIES);
    let config = Config {
        workers: 2,
        max_lead_records: LEAD,
        ..place.config()
    };
    let topology = builder.build().unwrap();
    let running = start(&place, topology, Release::Read(FAST), &config);
    assert!(running.wait(Duration::from_secs(60)), "it waits");
    assert_eq!(running.join().unwrap().counts.processed, FAST + SLOW);
}
