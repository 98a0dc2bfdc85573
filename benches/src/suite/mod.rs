//! The suite: what the engine costs beside loops written by hand and beside other engines, a benchmark a name.
//!
//! Every benchmark runs its sides in turns, on the same data, compares what they put out, prints a table and leaves a
//! line in `benches/results/`. What it is judged by are ratios of one run; of a quick run, only that outputs are equal.

mod journal;
mod latency;
mod memory;
mod options;
mod process;
mod report;
mod startup;
mod topics;

use std::process::ExitCode;
use std::time::Instant;

use clap::Subcommand;
use serde::Serialize;
use tiderace_benches::machine::Calibration;
use tiderace_benches::progress::Progress;
use tiderace_benches::results::record;
use tiderace_benches::versions::{Broker, Versions};

use self::journal::Journal;
pub(crate) use self::options::{Effort, Options};
pub(crate) use self::process::{PartOptions, run_part};
pub(crate) use self::report::{Figure, Goal, Report, Table};
pub(crate) use self::topics::{Side, Workload, run_side};
use crate::Failure;
use crate::counts::{restart, soak};

/// What a benchmark runs with.
pub(crate) struct Context<'a> {
    pub(crate) options: &'a Options,
    pub(crate) progress: &'a Progress,
    /// Carries floors from machine to machine.
    pub(crate) calibration: Calibration,
}

/// A benchmark of the suite.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Benchmark {
    /// Topic to topic, exactly once: rides that were driven, passed on as they are
    P1(Options),
    /// Topic to topic, exactly once: rides per zone in windows of 10 s, final results
    P2(Options),
    /// Topic to topic, exactly once: a running count of rides over 265 keys
    P3(Options),
    /// Topic to topic, exactly once: a running count of rides over a million keys, snapshots on
    P3Wide(Options),
    /// Topic to topic, exactly once: words counted by word, exchanged between workers
    P4(Options),
    /// Topic to topic, exactly once: memory of a running count over more and more keys
    Keys(Options),
    /// Topic to topic, at a steady rate: how long after it was due a record's count is visible
    Latency(Options),
    /// Topic to topic: the rate exactly once, by commit interval, to that at least once
    Commits(Options),
    /// In memory, at a steady rate: how long after it was due a record's count is committed, and what that takes
    Pace(Options),
    /// In memory: a chain of eight stateless steps
    Chain(Options),
    /// On a naked worker: a count behind an exchange and tumbling windows, by u64 keys
    Operators(Options),
    /// In memory: a count behind an exchange, tumbling and hopping windows, by u64 keys
    Keyed(Options),
    /// In memory: Nexmark's q0, q1, q2, and q12 in event time
    Nexmark(Options),
    /// In memory: rides of JSON to values of one, three and eighteen fields
    Decode(Options),
    /// In memory: rides of JSON to windows, and what a second worker is worth
    Json(Options),
    /// In memory: small polls, small epochs, and an engine that idles
    Epochs(Options),
    /// In memory: memory of a count over more and more keys, and pauses while its table grows
    State(Options),
    /// In memory: partitions a minute apart in event time, and one without records
    Skew(Options),
    /// On the embedded log: from exec to the first output
    Startup(Options),
    /// Topic to topic: 200,000 events a second for 110 s, and whether memory or latency grows
    Soak(Options),
    /// Topic to topic: a count over a million keys is killed with SIGKILL, and how soon it goes on
    Restart(Options),
}

impl Benchmark {
    /// Those that `all` runs, in its order.
    const ALL: [fn(Options) -> Benchmark; 21] = [
        Benchmark::P1,
        Benchmark::P2,
        Benchmark::P3,
        Benchmark::P3Wide,
        Benchmark::P4,
        Benchmark::Keys,
        Benchmark::Latency,
        Benchmark::Commits,
        Benchmark::Pace,
        Benchmark::Chain,
        Benchmark::Operators,
        Benchmark::Keyed,
        Benchmark::Nexmark,
        Benchmark::Decode,
        Benchmark::Json,
        Benchmark::Epochs,
        Benchmark::State,
        Benchmark::Skew,
        Benchmark::Startup,
        Benchmark::Soak,
        Benchmark::Restart,
    ];

    /// Its name, its options, and what runs it.
    fn parts(&self) -> (&'static str, &Options, Run) {
        use topics::Workload::{Counts, Filter, WideCounts, Windows, Words};
        match self {
            Benchmark::P1(options) => ("p1", options, |with| topics::run(Filter, with)),
            Benchmark::P2(options) => ("p2", options, |with| topics::run(Windows, with)),
            Benchmark::P3(options) => ("p3", options, |with| topics::run(Counts, with)),
            Benchmark::P3Wide(options) => {
                ("p3-wide", options, |with| topics::run(WideCounts, with))
            }
            Benchmark::P4(options) => ("p4", options, |with| topics::run(Words, with)),
            Benchmark::Keys(options) => ("keys", options, topics::keys),
            Benchmark::Latency(options) => ("latency", options, latency::run),
            Benchmark::Commits(options) => ("commits", options, topics::commits),
            Benchmark::Pace(options) => ("pace", options, memory::pace),
            Benchmark::Chain(options) => ("chain", options, memory::chain),
            Benchmark::Operators(options) => ("operators", options, memory::operators),
            Benchmark::Keyed(options) => ("keyed", options, memory::keyed),
            Benchmark::Nexmark(options) => ("nexmark", options, memory::nexmark),
            Benchmark::Decode(options) => ("decode", options, memory::decode),
            Benchmark::Json(options) => ("json", options, memory::json),
            Benchmark::Epochs(options) => ("epochs", options, memory::epochs),
            Benchmark::State(options) => ("state", options, memory::state),
            Benchmark::Skew(options) => ("skew", options, memory::skew),
            Benchmark::Startup(options) => ("startup", options, startup::run),
            Benchmark::Soak(options) => ("soak", options, soak::run),
            Benchmark::Restart(options) => ("restart", options, restart::run),
        }
    }

    /// Of what it runs beside the engine.
    fn versions(&self) -> Versions {
        let (_, options, _) = self.parts();
        let (finds, with_streams) = match self {
            Benchmark::P1(_)
            | Benchmark::P2(_)
            | Benchmark::P3(_)
            | Benchmark::P3Wide(_)
            | Benchmark::P4(_)
            | Benchmark::Latency(_)
            | Benchmark::Commits(_) => (true, options.with_streams()),
            Benchmark::Keys(_) => (true, false),
            // Their broker is their own, whatever was asked for.
            Benchmark::Restart(_) => (false, options.with_streams()),
            Benchmark::Soak(_) => (false, false),
            _ => return Versions::default(),
        };
        let broker = match &options.brokers {
            _ if options.embedded() => Broker::Unused,
            Some(_) if finds => Broker::Found,
            _ => Broker::Started,
        };
        Versions::of(broker, with_streams)
    }
}

/// Runs a benchmark.
type Run = fn(&Context<'_>) -> Result<Report, Failure>;

/// What is recorded of a run.
#[derive(Serialize)]
struct Line<'a> {
    benchmark: &'a str,
    calibration_ns: f64,
    met: bool,
    #[serde(flatten)]
    report: &'a Report,
}

/// Runs one. Outputs that differ are a failure, and so, unless the run was quick, is a goal that is missed.
pub(crate) fn run(benchmark: &Benchmark) -> Result<ExitCode, Failure> {
    let met = judge(benchmark)?;
    let (name, options, _) = benchmark.parts();
    Journal::of_one(options, name)?.remove()?;
    Ok(if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs all of them, and says at the end which missed a goal. A full run that was cut goes on with the first benchmark
/// that was not finished, and within it where it stopped.
pub(crate) fn all(options: &Options) -> Result<ExitCode, Failure> {
    let mut missed = Vec::new();
    let mut journal = Journal::forgetful();
    if options.effort() == Effort::Full {
        journal = Journal::open(options, "all")?;
        let (runs, time) = topics::full_plan(options);
        let minutes = time.as_secs_f64() / 60.0;
        println!(
            "p1 to p4: {runs} runs, about {minutes:.0} minutes; each other benchmark takes minutes"
        );
    }
    for benchmark in Benchmark::ALL {
        let benchmark = benchmark(options.clone());
        let name = benchmark.parts().0;
        #[expect(
            clippy::disallowed_methods,
            reason = "measuring time is what it is for"
        )]
        let begun = Instant::now();
        println!("\n## {name}");
        let met = match journal.found(name) {
            Some(met) => met,
            None => judge(&benchmark).map_err(|failure| format!("{name}: {failure}"))?,
        };
        journal.finish(name, &met)?;
        Journal::of_one(options, name)?.remove()?;
        if !met {
            missed.push(name);
        }
        println!("{name} took {:.0} s", begun.elapsed().as_secs_f64());
    }
    journal.remove()?;
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\ngoals missed: {}", missed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Runs one, prints and records what it found; whether all goals are met, if there are any for so short a run.
fn judge(benchmark: &Benchmark) -> Result<bool, Failure> {
    let (name, options, run) = benchmark.parts();
    let progress = Progress::default();
    let context = Context {
        options,
        progress: &progress,
        calibration: Calibration::before(),
    };
    let report = run(&context)?;
    let judged = options.is_judged();
    report.print(judged);
    if !judged {
        return Ok(true);
    }
    let line = Line {
        benchmark: name,
        calibration_ns: context.calibration.nanoseconds(),
        met: report.is_met(),
        report: &report,
    };
    let file = record(name, &benchmark.versions(), &line)?;
    eprintln!("recorded in {}", file.display());
    Ok(report.is_met())
}
