//! A running count at a steady rate, every update out, by an engine that parks when it has nothing to do: how long after
//! it was due is a record's count committed, and how much of a core does that take?
//!
//! Records that arrive have to wake a thread, whoever it is. What a wake takes is measured by a thread that is woken at every
//! arrival, takes the records and does nothing with them; as much, for each time that the engine took records, is no part
//! of the cores that the engine takes. It takes them less often than they arrive: it rests in between.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tiderace::connect::{Fetched, Log, RecordBatch, TopicPartition};
use tiderace::{BuildError, Config, Engine, StreamsBuilder, Topic, Topology};
use tiderace_benches::measure::{Cost, cost};

use super::contest;
use super::log::{Input, MemoryLog};
use super::outputs::Same;
use super::pairs::{self, BEGIN, PAIRS};
use super::records::{Pair, Partition, partition};
use super::side::by_hand;
use crate::Failure;
use crate::suite::latency::{Figures, Lags, Load};
use crate::suite::{Context, Effort, Figure, Goal, Report, Table};

const KEYS: u64 = 10_000;

const COUNTS: Topic<u64, u64> = Topic::bytes("paced");

/// Records a second.
const RATES: [u64; 3] = [10_000, 100_000, 1_000_000];

/// The rate that is judged.
const JUDGED: usize = 1;

/// As long as latencies allow: what an engine does that parks, it does as often as it commits.
const COMMIT: Duration = Duration::from_micros(1_250);

/// How often records arrive, those together that were due since the last time: one that was due first waits as long.
const ARRIVAL: Duration = Duration::from_micros(250);

/// How long the engine may take until it is ready, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Seconds for which records are handed out without an engine.
const HANDING_OUT: u64 = 3;

/// Records that are there at the start, which nobody measures.
const WARM_UP: u64 = 1_000;

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let (seconds, dropped) = match with.options.effort() {
        Effort::Quick => (1, 0),
        Effort::Usual | Effort::Full => (8, 1),
    };
    let directory = contest::directory(with)?;
    let mut paces = vec![Pace::default(); RATES.len()];
    let loads = RATES.map(|rate| Load {
        warm_up: WARM_UP,
        rate,
        seconds,
        dropped,
    });
    for _ in 0..with.options.pairs() {
        for (load, pace) in loads.iter().zip(&mut paces) {
            let alone = handing_out(load)?;
            let (figures, used) = once(load, directory.path())?;
            with.progress.say(&format!(
                "{} records/s: p50 {:.2}, p99 {:.2}, p99.9 {:.2} ms, {:.3} of a core and {:.0} wakes/s, {:.3} and {:.0} without the engine",
                load.rate, figures.all_p50, figures.all_p99, figures.all_p999, used.cores, used.wakes, alone.cores, alone.wakes
            ));
            pace.figures.push(figures);
            pace.engine.push(used);
            pace.alone.push(alone);
        }
    }
    let judged = &paces[JUDGED];
    let at = format!("at {} records/s", RATES[JUDGED]);
    let most = |name: &str, samples: Vec<f64>, most| Figure {
        name: format!("{name} {at}"),
        samples,
        goal: Some(Goal::AtMost(most)),
    };
    Ok(Report {
        load: format!(
            "a running count of u64 pairs, {KEYS} keys, every update out, a commit every {COMMIT:?}; records arrive every {ARRIVAL:?}, \
             for {seconds} s, the first {dropped} s left out; latency in ms from when a record was due to the commit of its count; \
             the engine parks, and is alone in the process but for what hands it records; of the cores in use, what each wake takes by which it \
             gets records is left out, as measured by a thread that is woken at every arrival and does nothing else"
        ),
        figures: vec![
            most("p99, ms,", judged.each(|of| of.all_p99), 2.0),
            most("p99.9, ms,", judged.each(|of| of.all_p999), 5.0),
            most("cores that the engine takes", judged.of_engine(), 0.1),
        ],
        tables: vec![table(&paces)],
        void: None,
    })
}

/// What this process used for a while.
#[derive(Clone, Copy)]
struct Used {
    cores: f64,
    /// How often a second a thread woke up and took records.
    wakes: f64,
}

impl Used {
    fn of(cost: &Cost, wakes: u64) -> Self {
        let seconds = cost.wall.as_secs_f64();
        Used {
            cores: cost.cpu.as_secs_f64() / seconds,
            wakes: wakes as f64 / seconds,
        }
    }
}

/// The runs at a rate.
#[derive(Clone, Default)]
struct Pace {
    figures: Vec<Figures>,
    engine: Vec<Used>,
    /// Without an engine: by a thread that is handed the records and does nothing with them.
    alone: Vec<Used>,
}

impl Pace {
    fn each(&self, which: fn(&Figures) -> f64) -> Vec<f64> {
        self.figures.iter().map(which).collect()
    }

    /// The cores that the engine takes beyond being handed the records as often as it was.
    fn of_engine(&self) -> Vec<f64> {
        let both = self.engine.iter().zip(&self.alone);
        both.map(|(all, alone)| all.cores - all.wakes * alone.cores / alone.wakes)
            .collect()
    }
}

fn table(paces: &[Pace]) -> Table {
    let of = |used: &[Used], which: fn(&Used) -> f64| used.iter().map(which).collect();
    let row = |(rate, pace): (&u64, &Pace)| {
        let cells = vec![
            pace.each(|of| of.all_p50),
            pace.each(|of| of.all_p99),
            pace.each(|of| of.all_p999),
            pace.each(|of| of.most),
            pace.each(|of| of.kept_up),
            of(&pace.engine, |it| it.cores),
            of(&pace.engine, |it| it.wakes),
            of(&pace.alone, |it| it.cores),
            of(&pace.alone, |it| it.wakes),
            pace.of_engine(),
        ];
        (rate.to_string(), cells)
    };
    let columns = [
        "p50",
        "p99",
        "p99.9",
        "most",
        "% of the rate kept up with",
        "cores",
        "wakes/s",
        "cores without the engine",
        "wakes/s without the engine",
        "cores of the engine",
    ];
    Table {
        title: "records a second".to_owned(),
        columns: columns.map(str::to_owned).into(),
        rows: RATES.iter().zip(paces).map(row).collect(),
    }
}

fn topology() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("pace");
    builder.stream(PAIRS).group_by_key().count().to(COUNTS);
    builder.build()
}

/// Runs the load once: its latencies, and what this process used while they counted.
fn once(load: &Load, directory: &Path) -> Result<(Figures, Used), Failure> {
    let pairs = pairs::make(usize::try_from(load.records())?, KEYS);
    let start = Instant::now() + Duration::from_secs(1);
    let (input, wakes) = paced(&pairs, load, start);
    let log = MemoryLog::new(&[input], &[COUNTS.name()]);
    let state = tempfile::TempDir::with_prefix_in("pace-", directory)?;
    let config = Config {
        follow: true,
        commit_interval: COMMIT,
        data_dir: state.path().to_owned(),
        ..Config::default()
    };
    let running = Engine::start(topology()?, Arc::new(log.clone()), &config)?;
    let sleep_until = |second: u64| {
        let until = start + Duration::from_secs(second);
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    };
    sleep_until(load.dropped);
    let before = wakes.load(Ordering::Relaxed);
    let ((), used) = cost(|| sleep_until(load.seconds));
    let used = Used::of(&used, wakes.load(Ordering::Relaxed) - before);
    let progress = running.progress();
    while progress.committed().read < load.records() {
        if running.wait(Duration::from_millis(10)) || start.elapsed() > PATIENCE {
            running.stop_handle().stop();
            return Err(format!("not all was read: {:?}", running.join()?).into());
        }
    }
    running.stop_handle().stop();
    running.join()?;
    compare(&pairs, &log)?;
    Ok((lags(load, start, &log)?.figures()?, used))
}

/// What handing the records out takes, to a thread that waits for each arrival and does nothing else.
fn handing_out(load: &Load) -> Result<Used, Failure> {
    let load = Load {
        seconds: load.seconds.min(HANDING_OUT),
        ..*load
    };
    let pairs = pairs::make(usize::try_from(load.records())?, KEYS);
    let start = Instant::now();
    let (input, wakes) = paced(&pairs, &load, start);
    let log = MemoryLog::new(&[input], &[]);
    let mut source = log.source(&[(TopicPartition::new(PAIRS.name(), 0), 0)], usize::MAX)?;
    let mut records = 0;
    let (read, used) = cost(|| {
        while records < pairs.len() {
            if let Fetched::Batch(batch) = source.poll(PATIENCE)? {
                records += batch.len();
            }
        }
        Ok::<_, Failure>(())
    });
    read?;
    Ok(Used::of(&used, wakes.load(Ordering::Relaxed)))
}

/// The input, whose records arrive from `start` on, and how often a thread woke up and took some.
fn paced(pairs: &Arc<Vec<Pair>>, load: &Load, start: Instant) -> (Input, Arc<AtomicU64>) {
    let wakes = Arc::new(AtomicU64::new(0));
    let paced = Paced {
        pairs: partition(pairs),
        load: *load,
        start,
        wakes: Arc::clone(&wakes),
    };
    let input = Input {
        topic: PAIRS.name(),
        partitions: vec![Arc::new(paced)],
        poll: pairs::EPOCH,
    };
    (input, wakes)
}

/// What a transaction wrote answers all records up to the latest that it counts.
fn lags(load: &Load, start: Instant, log: &MemoryLog) -> Result<Lags, Failure> {
    let mut lags = Lags::new(load)?;
    let mut next = 0;
    for (at, latest) in log.visible(COUNTS.name()) {
        let end = u64::try_from(latest - BEGIN)? + 1;
        for due in (next..end).filter_map(|nth| load.due(nth)) {
            lags.add(due, at.saturating_duration_since(start));
        }
        next = end.max(next);
    }
    if next != load.records() {
        return Err(format!("of {} records {next} are answered", load.records()).into());
    }
    Ok(lags)
}

/// Compares the last counts with those of a loop.
fn compare(pairs: &[Pair], log: &MemoryLog) -> Result<(), Failure> {
    let expected = by_hand(COUNTS.name(), |sink| {
        let mut counts: HashMap<u64, u64> = HashMap::new();
        for pair in pairs {
            *counts.entry(pair.key()).or_default() += 1;
        }
        for (key, count) in counts {
            sink.count(&key.to_be_bytes(), count, 0)?;
        }
        Ok(())
    })?;
    let (expected, written) = (
        expected.log.summary(Same::LastOfKey),
        log.summary(Same::LastOfKey),
    );
    if written == expected {
        return Ok(());
    }
    Err(format!("the engine writes {written:?}, a loop {expected:?}").into())
}

/// Records that arrive when they are due.
struct Paced {
    pairs: Arc<dyn Partition>,
    load: Load,
    start: Instant,
    /// Polls that took records. A poll takes all that are there, so who polls has waited since the one before: here, or,
    /// as the engine's fetch thread may, by itself.
    wakes: Arc<AtomicU64>,
}

impl Paced {
    /// How often records have arrived since the start.
    fn arrivals(&self) -> Option<u32> {
        let since = Instant::now().checked_duration_since(self.start)?;
        u32::try_from(since.as_nanos() / ARRIVAL.as_nanos()).ok()
    }
}

impl Partition for Paced {
    fn count(&self) -> usize {
        let there = match self.arrivals() {
            Some(arrivals) => self.load.due_by(ARRIVAL * arrivals),
            None => self.load.warm_up,
        };
        usize::try_from(there).map_or(self.pairs.count(), |there| there.min(self.pairs.count()))
    }

    fn more_at(&self) -> Option<Instant> {
        let next = self.arrivals().map_or(0, |arrivals| arrivals + 1);
        (self.count() < self.pairs.count()).then(|| self.start + ARRIVAL * next)
    }

    fn batch(&self, slot: usize, range: Range<usize>) -> Arc<dyn RecordBatch> {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.pairs.batch(slot, range)
    }
}
