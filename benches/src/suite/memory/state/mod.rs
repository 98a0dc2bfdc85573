//! Memory of a table as it grows, and whether it holds the dataflow up: a running count of more and more keys, the engine's
//! process beside a loop's.
//!
//! The loop's map holds what goes out of a key: its count, and the latest of its timestamps. Memory per key is what a process
//! takes beyond one of the same side that counts as many records of a single key. The memory of whole processes is judged
//! where keys take most of it: below that, it is the engine's threads, queues and epochs in flight, about 12 MiB. How fast the
//! machine is makes no difference to memory, so that the loop is held against no floor.

mod growth;
mod input;

pub(in crate::suite) use self::growth::Growth;

use tempfile::TempDir;
use tiderace_benches::measure::nanoseconds_each;

use self::growth::Grown;
use self::input::Kind;
use super::contest;
use crate::Failure;
use crate::suite::process::Part;
use crate::suite::{Context, Effort, Figure, Goal, Report, Table};

/// Most memory of the engine, in times of the loop's.
const MEMORY: f64 = 1.3;

/// From so many keys on, the memory of whole processes is judged.
const MANY: u64 = 1_000_000;

/// From so many keys on, the memory per key is judged; with fewer it is mostly what is in flight.
const SOME: u64 = 100_000;

/// Longest pause, in milliseconds.
const PAUSE: f64 = 50.0;

/// Records of a run, at least.
const RECORDS: u64 = 4_000_000;

/// Numbers of keys.
fn sizes(effort: Effort, kind: Kind) -> &'static [u64] {
    match (effort, kind) {
        (Effort::Quick, _) => &[10_000],
        (_, Kind::Text) => &[10_000, 100_000, 1_000_000, 5_000_000],
        (Effort::Usual, Kind::Number) => &[10_000, 100_000, 1_000_000, 10_000_000],
        (Effort::Full, Kind::Number) => &[10_000, 100_000, 1_000_000, 10_000_000, 20_000_000],
    }
}

/// Samples of a side.
#[derive(Default)]
struct Samples {
    peak: Vec<f64>,
    settled: Vec<f64>,
    peak_each: Vec<f64>,
    settled_each: Vec<f64>,
    cpu: Vec<f64>,
    wall: Vec<f64>,
    pause: Vec<f64>,
    pause_cpu: Vec<f64>,
}

impl Samples {
    fn add(&mut self, grown: &Grown, alone: &Grown, growth: &Growth) {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let each =
            |of: fn(&Grown) -> u64| of(grown).saturating_sub(of(alone)) as f64 / growth.keys as f64;
        self.peak.push(mib(grown.memory.peak));
        self.settled.push(mib(grown.memory.now));
        self.peak_each.push(each(|it| it.memory.peak));
        self.settled_each.push(each(|it| it.memory.now));
        let records = growth.records as u64;
        self.cpu.push(nanoseconds_each(grown.cpu, records));
        self.wall.push(nanoseconds_each(grown.wall, records));
        self.pause.push(grown.longest.as_secs_f64() * 1e3);
        self.pause_cpu.push(grown.longest_cpu.as_secs_f64() * 1e3);
    }

    fn row(&self, name: &str) -> (String, Vec<Vec<f64>>) {
        let cells = [
            &self.peak,
            &self.settled,
            &self.peak_each,
            &self.settled_each,
            &self.cpu,
            &self.wall,
            &self.pause,
            &self.pause_cpu,
        ];
        (name.to_owned(), cells.map(Clone::clone).into())
    }
}

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let directory = contest::directory(with)?;
    let effort = with.options.effort();
    let mut report = Report {
        load: format!(
            "running counts, one worker, {} records an epoch or 10 ms; every key once and then as many records by chance, at least \
             {RECORDS}; of one key in 1,000 the results go out",
            super::pairs::EPOCH
        ),
        ..Report::default()
    };
    for (kind, name) in [
        (Kind::Number, "u64 keys"),
        (Kind::Text, "text keys of 21 bytes"),
    ] {
        for keys in sizes(effort, kind) {
            let point = Point {
                with,
                directory: &directory,
                kind,
                keys: *keys,
            };
            point.run(&format!("{keys} {name}"), &mut report)?;
        }
    }
    Ok(report)
}

/// A number of keys of a kind.
struct Point<'a> {
    with: &'a Context<'a>,
    directory: &'a TempDir,
    kind: Kind,
    keys: u64,
}

impl Point<'_> {
    fn run(&self, name: &str, report: &mut Report) -> Result<(), Failure> {
        let mut sides = [Samples::default(), Samples::default()];
        for round in 0..self.with.options.pairs() {
            let mut written = None;
            for turn in 0..2 {
                let by_engine = (turn + round) % 2 == 0;
                // More records of a single key would change nothing.
                let records = self.records().min(RECORDS);
                let (_, alone) = self.once(by_engine, 1, records)?;
                let (growth, grown) = self.once(by_engine, self.keys, self.records())?;
                let expected = written.get_or_insert_with(|| grown.written.clone());
                if *expected != grown.written || expected.iter().any(|it| it.records == 0) {
                    return Err(format!(
                        "{name}: one side writes {expected:?}, the other {:?}",
                        grown.written
                    )
                    .into());
                }
                let side = &mut sides[usize::from(!by_engine)];
                side.add(&grown, &alone, &growth);
                self.with.progress.say(&format!(
                    "{name}, {}: peak {:.0} MiB, longest pause {:.1} ms",
                    if by_engine { "engine" } else { "loop" },
                    side.peak.last().copied().unwrap_or_default(),
                    side.pause.last().copied().unwrap_or_default(),
                ));
            }
        }
        let [engine, by_hand] = &sides;
        report.tables.push(table(name, engine, by_hand));
        let most = |from: u64, most| (self.keys >= from).then_some(Goal::AtMost(most));
        let ratio = |what: &str, of: &[f64], to: &[f64], goal| {
            Figure::ratio(format!("{name}: {what}, engine to loop"), of, to, goal)
        };
        let Samples {
            peak,
            settled,
            settled_each,
            cpu,
            pause,
            ..
        } = engine;
        let whole = most(MANY, MEMORY);
        let (of, to) = (settled_each, &by_hand.settled_each);
        report.figures.extend([
            ratio("peak memory", peak, &by_hand.peak, whole),
            ratio("settled memory", settled, &by_hand.settled, whole),
            ratio("CPU", cpu, &by_hand.cpu, None),
            Figure {
                name: format!("{name}: longest time between commits of the engine, ms"),
                samples: pause.clone(),
                goal: most(1, PAUSE),
            },
            ratio("settled memory per key", of, to, most(SOME, MEMORY)),
        ]);
        Ok(())
    }

    /// Records of a run: each key twice, on average.
    fn records(&self) -> u64 {
        match self.with.options.effort() {
            Effort::Quick => 2 * self.keys,
            Effort::Usual | Effort::Full => RECORDS.max(2 * self.keys),
        }
    }

    /// Runs a side once.
    fn once(&self, by_engine: bool, keys: u64, records: u64) -> Result<(Growth, Grown), Failure> {
        let state = TempDir::with_prefix_in("state-", self.directory.path())?;
        let growth = Growth {
            by_engine,
            kind: self.kind,
            keys,
            records: usize::try_from(records)?,
            directory: state.path().to_owned(),
        };
        let grown = Part::State(growth.clone()).run()?;
        Ok((growth, grown))
    }
}

fn table(name: &str, engine: &Samples, by_hand: &Samples) -> Table {
    let columns = [
        "peak MiB",
        "settled MiB",
        "peak bytes a key",
        "settled bytes a key",
        "CPU ns a record",
        "wall ns a record",
        "longest ms between commits",
        "of it CPU ms, at most",
    ];
    Table {
        title: name.to_owned(),
        columns: columns.map(str::to_owned).into(),
        rows: vec![engine.row("engine"), by_hand.row("loop")],
    }
}
