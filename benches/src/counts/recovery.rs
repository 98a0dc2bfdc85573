//! `tiderace-benches recovery`: a count over many keys, at a steady rate, is killed with SIGKILL and started again; from
//! outside, it is timed until it commits a new output, and until it has caught up.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use tiderace_benches::measure::Spread;
use tiderace_benches::progress::Progress;
use tiderace_benches::results::record;
use tiderace_benches::versions::{Broker, Versions};
use tiderace_testing::kafka::Kafka;

use super::kill::{Killed, Rig};
use super::place::Place;
use crate::Failure;

#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo run --release -p tiderace-benches -- recovery
  cargo run --release -p tiderace-benches -- recovery --keys 1000000 --kills 5 --kafka

Each kill hits the count at a moment by chance behind its third snapshot. The counts are verified at the end: a wrong one
fails the run. The line it leaves is in benches/results/recovery.jsonl.")]
pub(crate) struct Options {
    /// Keys that are counted, a run for each number
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "1000000,10000000"
    )]
    keys: Vec<u64>,
    /// Kills of each run
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    kills: u32,
    /// Events a second
    #[arg(long, value_name = "R", default_value_t = 20_000)]
    pub(super) rate: u64,
    /// Worker threads
    #[arg(long, value_name = "W", default_value_t = 1)]
    pub(super) workers: usize,
    /// Run on a Kafka broker that is started for it (needs Java 17 and Maven)
    #[arg(long)]
    kafka: bool,
    /// Seed of the moments
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(super) seed: u64,
    /// Where the data lie; removed behind each run
    #[arg(long, value_name = "DIR", default_value = "tiderace-recovery")]
    dir: PathBuf,
}

/// What is recorded.
#[derive(Serialize)]
struct Line<'a> {
    log: &'static str,
    keys: u64,
    rate: u64,
    workers: usize,
    seed: u64,
    snapshot_interval_ms: u64,
    commit_interval_ms: u64,
    kills: &'a [Killed],
    counts_verified: u64,
}

/// Runs once for each number of keys.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let mut met = true;
    for keys in &options.keys {
        std::fs::create_dir(&options.dir)?;
        let done = run_with(options, *keys);
        std::fs::remove_dir_all(&options.dir)?;
        met &= done?;
    }
    Ok(if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_with(options: &Options, keys: u64) -> Result<bool, Failure> {
    let broker = match options.kafka {
        true => Some(Kafka::start_measured().ok_or("--kafka needs Java 17 and Maven")?),
        false => None,
    };
    let place = Place {
        directory: options.dir.clone(),
        brokers: broker.as_ref().map(|it| it.bootstrap().to_owned()),
    };
    let log = if broker.is_some() {
        KAFKA
    } else {
        "embedded log"
    };
    let progress = Progress::default();
    progress.say(&format!("{log}: counting {keys} keys once"));
    let mut rig = Rig::new(place, options, keys)?;
    let mut kills = Vec::new();
    for number in 1..=options.kills {
        let killed = rig.kill()?;
        progress.say(&format!("kill {number} of {}: {killed}", options.kills));
        kills.push(killed);
    }
    let counts_verified = rig.end()?;
    let met = tell(log, keys, &kills);
    let line = Line {
        log,
        keys,
        rate: options.rate,
        workers: options.workers,
        seed: options.seed,
        snapshot_interval_ms: 1_000,
        commit_interval_ms: 100,
        kills: &kills,
        counts_verified,
    };
    let broker = match options.kafka {
        true => Broker::Started,
        false => Broker::Unused,
    };
    let versions = Versions::of(broker, false);
    let file = record("recovery", &versions, &line)?;
    eprintln!(
        "{counts_verified} counts are right; recorded in {}",
        file.display()
    );
    Ok(met)
}

/// The log's name where it is a broker.
const KAFKA: &str = "Kafka";

/// What is looked at of a kill.
type Figure = fn(&Killed) -> f64;

/// Prints the table; whether the goal is met, where there is one.
fn tell(log: &str, keys: u64, kills: &[Killed]) -> bool {
    let of = |each: Figure| Spread::of(kills.iter().map(each));
    println!(
        "{log}, {keys} keys, {} kills; milliseconds, median (least-most):",
        kills.len()
    );
    let rows: [(&str, Figure); 12] = [
        ("process start", |it| it.process_start_ms),
        ("  fencing (the log's part)", |it| it.fencing_ms),
        ("  finding and verifying snapshot and log", |it| {
            it.checking_ms
        }),
        ("  opening inputs, start entry", |it| it.announcing_ms),
        ("  loading the state", |it| it.loading_ms),
        ("  replay", |it| it.replay_ms),
        ("  first epoch, with its commit", |it| it.first_epoch_ms),
        ("first new output, behind process start", |it| {
            it.first_output_ms
        }),
        ("no lag, behind process start", |it| it.no_lag_ms),
        ("bare loop: reading the snapshot's bytes", |it| {
            it.bare_read_ms
        }),
        ("bare loop: a map of as many keys", |it| it.bare_insert_ms),
        ("the snapshot's megabytes", |it| {
            it.snapshot_bytes as f64 / 1e6
        }),
    ];
    for (name, each) in rows {
        println!("{name:<44} {:.0}", of(each));
    }
    let goal = match keys {
        1_000_000 => 300.0,
        10_000_000 => 2_500.0,
        _ => return true,
    };
    // On the embedded log fencing and committing take no time to speak of; on Kafka they are the broker's.
    let own = of(|it| it.first_output_ms - it.fencing_ms - it.first_epoch_ms);
    let (what, time) = match log {
        KAFKA => ("beside fencing and the first commit", own),
        _ => ("to the first new output", of(|it| it.first_output_ms)),
    };
    let met = time.median <= goal;
    let verdict = if met { "met" } else { "missed" };
    println!("goal {goal:.0} ms {what}: {time:.0}, {verdict}");
    met
}
