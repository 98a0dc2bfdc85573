//! Partitions that are apart in event time: one a minute behind the others, and one that has nothing.
//!
//! What is read of the others waits in windows that are still open; `max.lead.records` says how much that may be. Windows
//! must close with all their records: as many as a look at the whole input finds, and none late.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tiderace::{
    BuildError, Config, Engine, StreamsBuilder, TimeWindows, Topic, Topology, Windowed,
};
use tiderace_benches::machine::Resident;
use tiderace_testing::kills::Random;

use super::contest;
use super::log::{Input, MemoryLog};
use super::outputs::{Same, Summary};
use super::pairs::PAIRS;
use super::records::{Pair, partition};
use super::side::{by_hand, windowed};
use crate::Failure;
use crate::suite::process::Part;
use crate::suite::{Context, Effort, Figure, Goal, Report, Table};

/// Partitions that have records; one more has none.
const PARTITIONS: u64 = 7;

/// How far one of them is behind, in milliseconds.
const BEHIND: i64 = 60_000;

const WINDOW: i64 = 1_000;

/// So many that nearly every record makes a row.
const KEYS: u64 = 1_000_000;

/// Of one key in so many the results go out.
const SAMPLE: u64 = 64;

const OUTPUT: Topic<Windowed<u64>, u64> = Topic::bytes("windows");

/// When the input begins: 2020-07-01, in milliseconds since 1970.
const BEGIN: i64 = 1_593_561_600_000;

/// Bytes of a row of a window in a hash map of a loop's, times 1.5: what a record that waits may take.
const HELD: f64 = 69.0 * 1.5;

/// How long a silent partition is waited for.
const IDLE: Duration = Duration::from_millis(500);

const PATIENCE: Duration = Duration::from_secs(30);

/// Records of a partition, and how many of them are a second of event time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Size {
    records: u64,
    pace: i64,
    lead: u64,
}

impl Size {
    fn of(effort: Effort) -> Self {
        match effort {
            Effort::Quick => Size {
                records: 20_000,
                pace: 250,
                lead: 5_000,
            },
            // A minute is three times what a partition may be ahead.
            Effort::Usual | Effort::Full => Size {
                records: 600_000,
                pace: 5_000,
                lead: 100_000,
            },
        }
    }
}

/// A run over partitions that are apart or not, in a process of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::suite) struct Run {
    size: Size,
    apart: bool,
    directory: PathBuf,
}

/// What it came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::suite) struct Ran {
    written: Vec<Summary>,
    windows_closed: u64,
    late: u64,
    memory: Resident,
    most_in_flight: u64,
}

impl Run {
    fn pairs(&self) -> Vec<Arc<Vec<Pair>>> {
        let of = |partition: u64| {
            let mut random = Random::new(partition);
            let behind = match (self.apart, partition) {
                (true, 0) => BEHIND,
                _ => 0,
            };
            let pair = |nth: u64| {
                let time = BEGIN + BEHIND + nth as i64 * 1_000 / self.size.pace - behind;
                Pair::new(random.number() % KEYS, time)
            };
            Arc::new((0..self.size.records).map(pair).collect())
        };
        (0..PARTITIONS).map(of).collect()
    }

    /// Does it.
    ///
    /// # Errors
    /// The engine fails.
    pub(in crate::suite) fn run(&self) -> Result<Ran, Failure> {
        let log = MemoryLog::new(&[input(&self.pairs())], &[OUTPUT.name()]);
        let config = Config {
            data_dir: self.directory.clone(),
            max_lead_records: self.size.lead,
            ..Config::default()
        };
        let running = Engine::start(topology()?, Arc::new(log.clone()), &config)?;
        let progress = running.progress();
        let report = running.join()?;
        Ok(Ran {
            memory: Resident::now()?,
            written: log.summary(Same::All),
            windows_closed: report.windows_closed,
            late: report.counts.late,
            most_in_flight: progress.most_bytes_in_flight() as u64,
        })
    }

    /// Windows of keys, counted over the whole input at once: how many there are, and what goes out of them.
    fn expected(&self) -> Result<(u64, Vec<Summary>), Failure> {
        let mut counts: HashMap<(u64, i64), (u64, i64), FixedState> = HashMap::default();
        for pairs in self.pairs() {
            for pair in pairs.iter() {
                let (key, time) = (pair.key(), pair.time());
                let start = time - time.rem_euclid(WINDOW);
                let (count, latest) = counts.entry((key, start)).or_default();
                *count += 1;
                *latest = time.max(*latest);
            }
        }
        let ran = by_hand(OUTPUT.name(), |sink| {
            for ((key, start), (count, latest)) in &counts {
                if key.is_multiple_of(SAMPLE) {
                    sink.count(&windowed(*key, *start), *count, *latest)?;
                }
            }
            Ok(())
        })?;
        Ok((counts.len() as u64, ran.log.summary(Same::All)))
    }
}

/// The topic: partitions with these pairs, and one without any.
fn input(pairs: &[Arc<Vec<Pair>>]) -> Input {
    let empty = Arc::new(Vec::<Pair>::new());
    Input {
        topic: PAIRS.name(),
        partitions: pairs.iter().chain([&empty]).map(partition).collect(),
        poll: 1_000,
    }
}

fn topology() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("skew");
    builder
        .stream(PAIRS)
        .group_by_key()
        .windowed_by(TimeWindows::of_size(Duration::from_millis(WINDOW as u64)))
        .count()
        .emit_on_close()
        .filter_with_key(|window, _| window.key.is_multiple_of(SAMPLE))
        .to(OUTPUT);
    builder.build()
}

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let effort = with.options.effort();
    let size = Size::of(effort);
    let directory = contest::directory(with)?;
    let mut runs: BTreeMap<bool, Vec<Ran>> = BTreeMap::new();
    let rounds = if effort == Effort::Quick { 1 } else { 3 };
    for apart in [false, true] {
        for _ in 0..rounds {
            let state = TempDir::with_prefix_in("skew-", directory.path())?;
            let run = Run {
                size,
                apart,
                directory: state.path().to_owned(),
            };
            let ran: Ran = Part::Skew(run.clone()).run()?;
            let (windows, written) = run.expected()?;
            if (ran.windows_closed, ran.late) != (windows, 0) || ran.written != written {
                return Err(format!(
                    "{windows} windows of keys with {written:?}, where the engine closed {}, called {} records late and wrote {:?}",
                    ran.windows_closed, ran.late, ran.written
                )
                .into());
            }
            with.progress.say(&format!(
                "apart: {apart}; {windows} windows, peak {:.0} MiB",
                ran.memory.peak as f64 / f64::from(1 << 20)
            ));
            runs.entry(apart).or_default().push(ran);
        }
    }
    let idle: Result<Vec<f64>, Failure> = (0..rounds).map(|_| idle(with)).collect();
    Ok(report(&size, &runs[&false], &runs[&true], idle?))
}

fn report(size: &Size, even: &[Ran], apart: &[Ran], idle: Vec<f64>) -> Report {
    let mib = |runs: &[Ran]| -> Vec<f64> {
        let of = runs.iter().map(|ran| ran.memory.peak);
        of.map(|peak| peak as f64 / f64::from(1 << 20)).collect()
    };
    let ahead = ((PARTITIONS - 1) * size.lead) as f64;
    let held = even.iter().zip(apart).map(|(even, apart)| {
        let more = apart.memory.peak as f64 - even.memory.peak as f64;
        more / ahead
    });
    let budget = Config::default().memory_budget as f64;
    let row = |name: &str, runs: &[Ran]| {
        let in_flight = runs.iter().map(|ran| ran.most_in_flight as f64);
        let in_flight = in_flight.map(|bytes| bytes / f64::from(1 << 20)).collect();
        (name.to_owned(), vec![mib(runs), in_flight])
    };
    Report {
        load: format!(
            "tumbling windows of 1 s over {PARTITIONS} partitions of {} records, {} of them a second of event time, and one \
             without any; nearly every record makes a row; a partition may be {} records ahead",
            size.records, size.pace, size.lead
        ),
        tables: vec![Table {
            title: "partitions".to_owned(),
            columns: vec!["peak MiB".to_owned(), "most in flight, MiB".to_owned()],
            rows: vec![
                row("all at the same time", even),
                row("one a minute behind", apart),
            ],
        }],
        figures: vec![
            Figure {
                name:
                    "memory beyond that of even partitions, bytes for each record that may be ahead"
                        .to_owned(),
                samples: held.collect(),
                goal: Some(Goal::AtMost(HELD)),
            },
            Figure {
                name: "most in flight, to the budget".to_owned(),
                samples: apart
                    .iter()
                    .map(|ran| ran.most_in_flight as f64 / budget)
                    .collect(),
                goal: Some(Goal::AtMost(1.0)),
            },
            Figure {
                name: "time until a silent partition is no longer waited for, to `idle.timeout.ms`"
                    .to_owned(),
                samples: idle,
                goal: Some(Goal::AtMost(2.0)),
            },
        ],
        void: None,
    }
}

/// How long the watermark waits for the partition that has nothing, in times of what was set.
fn idle(with: &Context<'_>) -> Result<f64, Failure> {
    let directory = contest::directory(with)?;
    let pairs = Arc::new(
        (0..1_000)
            .map(|nth| Pair::new(nth, BEGIN + nth as i64 * 10))
            .collect(),
    );
    let log = MemoryLog::new(&[input(&[pairs])], &[OUTPUT.name()]);
    let config = Config {
        follow: true,
        idle_timeout: IDLE,
        data_dir: directory.path().to_owned(),
        ..Config::default()
    };
    let begun = Instant::now();
    let running = Engine::start(topology()?, Arc::new(log), &config)?;
    let progress = running.progress();
    while progress.watermark().is_none_or(|now| now < BEGIN) {
        if running.wait(Duration::from_millis(1)) || begun.elapsed() > PATIENCE {
            running.stop_handle().stop();
            return Err(format!("the watermark waits: {:?}", running.join()).into());
        }
    }
    let waited = begun.elapsed();
    running.stop_handle().stop();
    running.join()?;
    if waited < IDLE {
        return Err(format!("a silent partition is waited for {waited:?}, not {IDLE:?}").into());
    }
    Ok(waited.as_secs_f64() / IDLE.as_secs_f64())
}
