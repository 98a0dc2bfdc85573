//! A side of the comparison: a table that grows key by key, in a process that has nothing else.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use tiderace::{BuildError, Config, Engine, StreamsBuilder, Topic, Topology};
use tiderace_benches::machine::Resident;

use super::input::{Kind, Made};
use crate::Failure;
use crate::suite::memory::log::{Input, MemoryLog};
use crate::suite::memory::outputs::{Same, Summary};
use crate::suite::memory::pairs::{self, EPOCH};
use crate::suite::memory::records::Partition;
use crate::suite::memory::side::Sink;
use crate::suite::memory::transactions::Moment;

/// Of one key in so many the results go out: a table is what is measured, not output.
const SAMPLE: u64 = 1_000;

const INPUT: &str = "keys";
const OUTPUT: &str = "counts";

/// How long the engine may go on without a commit.
const PATIENCE: Duration = Duration::from_secs(60);

/// A table's growth to so many keys, and as many records again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::suite) struct Growth {
    pub(super) by_engine: bool,
    pub(super) kind: Kind,
    pub(super) keys: u64,
    pub(super) records: usize,
    /// Where the engine keeps what it keeps.
    pub(super) directory: PathBuf,
}

/// What it took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::suite) struct Grown {
    pub(super) written: Vec<Summary>,
    /// The process's memory when all records are committed.
    pub(super) memory: Resident,
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
    /// The longest time from commit to commit.
    pub(super) longest: Duration,
    /// The most CPU time of the process from commit to commit, which no neighbour adds to.
    pub(super) longest_cpu: Duration,
}

impl Growth {
    /// Does it.
    ///
    /// # Errors
    /// The engine fails or stands still.
    pub(in crate::suite) fn run(&self) -> Result<Grown, Failure> {
        let made = Made {
            kind: self.kind,
            keys: self.keys,
            records: self.records,
        };
        let begun = Moment::now();
        let log = match self.by_engine {
            true => self.engine(made)?,
            false => by_hand(made)?,
        };
        let memory = Resident::now()?;
        let written = log.written().confirmed.clone();
        let ended = *written.last().ok_or("nothing was committed")?;
        let gap = |of: fn(&Moment, &Moment) -> Duration| {
            let pairs = written.windows(2).map(|pair| of(&pair[0], &pair[1]));
            pairs.max().unwrap_or_default()
        };
        Ok(Grown {
            written: log.summary(Same::LastOfKeyInTime),
            memory,
            cpu: ended.cpu - begun.cpu,
            wall: ended.at - begun.at,
            longest: gap(|before, after| after.at - before.at),
            longest_cpu: gap(|before, after| after.cpu - before.cpu),
        })
    }

    /// The engine is left running: what it holds when everything is committed is what is looked at, and its end is no
    /// part of that.
    fn engine(&self, made: Made) -> Result<MemoryLog, Failure> {
        let input = Input {
            topic: INPUT,
            partitions: vec![Arc::new(made)],
            poll: EPOCH,
        };
        let log = MemoryLog::new(&[input], &[OUTPUT]);
        let config = Config {
            follow: true,
            // The last records do not fill an epoch: how long it waits for more is no pause.
            commit_interval: Duration::from_millis(10),
            data_dir: self.directory.clone(),
            ..pairs::config()
        };
        let topology = topology(self.kind)?;
        let running = Engine::start(topology, Arc::new(log.clone()), &config)?;
        let progress = running.progress();
        let (mut read, mut moved) = (0, Instant::now());
        while read < self.records as u64 {
            let ended = running.wait(Duration::from_millis(1));
            let now = progress.committed().read;
            if now > read {
                (read, moved) = (now, Instant::now());
            }
            if ended || moved.elapsed() > PATIENCE {
                running.stop_handle().stop();
                return Err(format!("{read} records committed, then: {:?}", running.join()).into());
            }
        }
        std::mem::forget(running);
        Ok(log)
    }
}

fn topology(kind: Kind) -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("state");
    match kind {
        Kind::Number => builder
            .stream(Topic::<u64, u64>::bytes(INPUT))
            .group_by_key()
            .count()
            .to_stream()
            .filter_with_key(|key, _| key.is_multiple_of(SAMPLE))
            .to(Topic::<u64, u64>::bytes(OUTPUT)),
        Kind::Text => builder
            .stream(Topic::<String, u64>::bytes(INPUT))
            .group_by_key()
            .count()
            .to_stream()
            .filter_with_key(|key, _| is_sampled(key))
            .to(Topic::<String, u64>::bytes(OUTPUT)),
    }
    builder.build()
}

/// Whether the number at a text's end is a multiple of [`SAMPLE`].
fn is_sampled(key: &str) -> bool {
    key.ends_with("000")
}

/// Records of a key, and the latest of them: what goes out of it.
type Count = (u64, i64);

/// The loop, with the fastest map.
fn by_hand(made: Made) -> Result<MemoryLog, Failure> {
    let log = MemoryLog::new(&[], &[OUTPUT]);
    let mut sink = Sink::new(&log, OUTPUT);
    match made.kind {
        Kind::Number => count_numbers(made, &mut sink)?,
        Kind::Text => count_texts(made, &mut sink)?,
    }
    Ok(log)
}

fn count_numbers(made: Made, sink: &mut Sink) -> Result<(), Failure> {
    let mut counts: HashMap<u64, Count, FixedState> = HashMap::default();
    let mut changed = Vec::new();
    for from in (0..made.records).step_by(EPOCH) {
        let batch = made.batch(0, from..made.records.min(from + EPOCH));
        for index in 0..batch.len() {
            let record = batch.get(index);
            let key = record.key.and_then(|key| key.try_into().ok());
            let key = u64::from_be_bytes(key.ok_or("a key is eight bytes")?);
            add(counts.entry(key).or_default(), record.timestamp);
            if key.is_multiple_of(SAMPLE) {
                changed.push(key);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        for key in changed.drain(..) {
            let (count, latest) = counts[&key];
            sink.count(&key.to_be_bytes(), count, latest)?;
        }
        sink.commit()?;
    }
    keep(counts);
    Ok(())
}

fn count_texts(made: Made, sink: &mut Sink) -> Result<(), Failure> {
    let mut counts: HashMap<String, Count, FixedState> = HashMap::default();
    let mut changed = Vec::new();
    for from in (0..made.records).step_by(EPOCH) {
        let batch = made.batch(0, from..made.records.min(from + EPOCH));
        for index in 0..batch.len() {
            let record = batch.get(index);
            let key = std::str::from_utf8(record.key.unwrap_or_default())?;
            add(counts.entry_ref(key).or_default(), record.timestamp);
            if is_sampled(key) {
                changed.push(key.to_owned());
            }
        }
        changed.sort_unstable();
        changed.dedup();
        for key in changed.drain(..) {
            let (count, latest) = counts[&key];
            sink.count(key.as_bytes(), count, latest)?;
        }
        sink.commit()?;
    }
    keep(counts);
    Ok(())
}

#[inline]
fn add((count, latest): &mut Count, timestamp: i64) {
    *count += 1;
    *latest = timestamp.max(*latest);
}

/// Leaves a map where it is until the process ends: its memory is looked at behind the loop.
fn keep<M>(map: M) {
    std::mem::forget(map);
}
