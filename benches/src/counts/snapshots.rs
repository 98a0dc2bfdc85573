//! `tiderace-benches snapshots`: the same count with its state kept as often as by default and not at all, at full speed;
//! and how long keeping it every second holds commits up at a steady rate.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use tiderace_benches::measure::Spread;
use tiderace_benches::progress::Progress;
use tiderace_benches::results::record;
use tiderace_benches::versions::Versions;

use super::feed::Feed;
use super::job::{self, EVENTS, Said};
use super::place::Place;
use super::process::Process;
use super::verify::verify;
use super::watch::Watch;
use crate::Failure;

/// As good as never.
const NEVER: Duration = Duration::from_secs(3_600);

/// How often state is kept while commits are watched: oftener than by default, so that there is enough to see.
const OFTEN: Duration = Duration::from_secs(1);

/// How long commits are watched.
const WATCHED: f64 = 20.0;

/// How often the run commits while it is watched.
const COMMIT: Duration = Duration::from_millis(10);

#[derive(Args)]
#[command(after_help = "\
Goals: at most 5 % more CPU time for a record, and no commit held up for more than 50 ms beyond one without snapshots. The
line it leaves is in benches/results/snapshots.jsonl.")]
pub(crate) struct Options {
    /// Keys that are counted
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    keys: u64,
    /// Events beside one for each key
    #[arg(long, value_name = "M", default_value_t = 24_000_000)]
    records: u64,
    /// How often state is kept at full speed, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    interval: u64,
    /// Pairs of runs at full speed
    #[arg(long, value_name = "N", default_value_t = 5)]
    pairs: usize,
    /// Events a second of the steady runs
    #[arg(long, value_name = "R", default_value_t = 20_000)]
    rate: u64,
    /// Where the data lie; removed behind each run
    #[arg(long, value_name = "DIR", default_value = "tiderace-snapshots")]
    dir: PathBuf,
}

/// A run at full speed, in nanoseconds per record.
#[derive(Clone, Copy, Debug, Serialize)]
struct Speed {
    cpu_ns: f64,
    wall_ns: f64,
}

/// The times from commit to commit of a steady run, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Gaps {
    commits: u64,
    p50: f64,
    p99: f64,
    max: f64,
}

#[derive(Serialize)]
struct Line<'a> {
    keys: u64,
    records: u64,
    interval_ms: u64,
    with: &'a [Speed],
    without: &'a [Speed],
    cpu_ratio: f64,
    wall_ratio: f64,
    rate: u64,
    commit_interval_ms: u64,
    gaps_interval_ms: u64,
    gaps_with_ms: Gaps,
    gaps_without_ms: Gaps,
}

/// Runs pairs at full speed, then two steady runs.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let interval = Duration::from_millis(options.interval);
    let progress = Progress::default();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for pair in 1..=options.pairs {
        let mut runs = [(interval, &mut with), (NEVER, &mut without)];
        // What the first of a pair leaves to the machine, the first of the next one leaves to the other.
        runs.rotate_left(pair % 2);
        for (kept, speeds) in runs {
            let speed = full_speed(options, kept)?;
            progress.say(&format!(
                "pair {pair} of {}, a snapshot every {kept:?}: {:.0} ns CPU, {:.0} ns a record",
                options.pairs, speed.cpu_ns, speed.wall_ns
            ));
            speeds.push(speed);
        }
    }
    let ratio = |of: fn(&Speed) -> f64| {
        let pairs = with.iter().zip(&without);
        Spread::of(pairs.map(|(with, without)| of(with) / of(without)))
    };
    let (cpu, wall) = (ratio(|it| it.cpu_ns), ratio(|it| it.wall_ns));
    println!("with to without snapshots: CPU {cpu:.3}, wall {wall:.3}");
    let gaps_with_ms = steady(options, OFTEN)?;
    let gaps_without_ms = steady(options, NEVER)?;
    println!("from commit to commit, ms: with {gaps_with_ms:?}, without {gaps_without_ms:?}");
    let line = Line {
        keys: options.keys,
        records: options.records,
        interval_ms: options.interval,
        with: &with,
        without: &without,
        cpu_ratio: cpu.median,
        wall_ratio: wall.median,
        rate: options.rate,
        commit_interval_ms: COMMIT.as_millis() as u64,
        gaps_interval_ms: OFTEN.as_millis() as u64,
        gaps_with_ms,
        gaps_without_ms,
    };
    let file = record("snapshots", &Versions::default(), &line)?;
    eprintln!("recorded in {}", file.display());
    let met = cpu.median <= 1.05 && gaps_with_ms.max <= gaps_without_ms.max + 50.0;
    println!("goals: {}", if met { "met" } else { "missed" });
    Ok(if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn place(options: &Options) -> Result<Place, Failure> {
    std::fs::create_dir(&options.dir)?;
    let place = Place {
        directory: options.dir.clone(),
        brokers: None,
    };
    place.create_topics()?;
    Ok(place)
}

/// From an empty state over all keys and records; the snapshot of a clean end, which both would write, is left out.
fn full_speed(options: &Options, kept: Duration) -> Result<Speed, Failure> {
    let place = place(options)?;
    let mut feed = Feed::every_key(&place, EVENTS, options.keys)?;
    feed.more(options.records)?;
    let sent = feed.sent();
    let job = job::Options::new(&place, 1)
        .every(kept, Duration::from_millis(100))
        .until(sent);
    let mut speed = None;
    let mut main = 0.0;
    for said in Process::start(&job)?.end()? {
        match said {
            Said::Main { at } => main = at,
            Said::Until { at, cpu } => {
                let each = 1e9 / sent as f64;
                speed = Some(Speed {
                    cpu_ns: cpu * each,
                    wall_ns: (at - main) * each,
                });
            }
            Said::Recovered(_) => {}
        }
    }
    verify(&place, feed.counts())?;
    std::fs::remove_dir_all(&options.dir)?;
    Ok(speed.ok_or("the process said nothing")?)
}

/// With all keys in the state, events at a steady rate.
fn steady(options: &Options, kept: Duration) -> Result<Gaps, Failure> {
    let place = place(options)?;
    let feed = Feed::every_key(&place, EVENTS, options.keys)?;
    let job = job::Options::new(&place, 1);
    Process::start(&job)?.end()?;
    let mut watch = Watch::open(&place)?;
    watch.take(Duration::ZERO)?;
    let mut process = Process::start(&job.every(kept, COMMIT).following())?;
    let feed = feed.steady(options.rate);
    // What goes before the tenth commit belongs to the start.
    let mut commits: Vec<f64> = Vec::new();
    while commits.len() < 10 || commits[commits.len() - 1] - commits[9] < WATCHED {
        let epochs = watch.take(Duration::from_millis(1))?;
        commits.extend(epochs.iter().map(|epoch| epoch.at));
        process.hear()?;
    }
    feed.stop()?;
    process.stop()?;
    std::fs::remove_dir_all(&options.dir)?;
    let mut gaps = Histogram::<u64>::new(3)?;
    for pair in commits[9..].windows(2) {
        gaps.record(((pair[1] - pair[0]) * 1e6) as u64)?;
    }
    let milliseconds = |micros: u64| micros as f64 / 1e3;
    Ok(Gaps {
        commits: gaps.len(),
        p50: milliseconds(gaps.value_at_quantile(0.5)),
        p99: milliseconds(gaps.value_at_quantile(0.99)),
        max: milliseconds(gaps.max()),
    })
}
