//! `tiderace-benches torture`: the real command is killed with SIGKILL, at moments chosen by its output, until it has
//! done its work; then every byte that it wrote is held against a run that nobody disturbed.
//!
//! The judge reads committed records only, and reads them as they come: `witness.rs`. What is planned, done and
//! measured stands in a state file after every kill (`state.rs`), so a campaign can be stopped and resumed.

mod campaign;
mod life;
mod site;
mod state;
mod verdict;
mod witness;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use tiderace_benches::progress::Progress;
use tiderace_benches::versions::{Broker, Versions};
use tiderace_pipelines::load::Rides;
use tiderace_testing::program::release_build;

use crate::Failure;
use campaign::Campaign;
use site::Site;
use state::{Identity, State};

#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo run --release -p tiderace-benches -- torture --kills 20 --records 200000
  cargo run --release -p tiderace-benches -- torture --kills 200 --records 2000000 --kafka --broker-faults
  cargo run --release -p tiderace-benches -- torture --kills 1000 --records 10000000 --dir /data/torture

Ctrl-C stops it; the same command goes on where it was, except with --kafka, whose broker ends with it. Every fifth
kill or so hits the start behind the kill before, in its recovery. The line it leaves is in benches/results/torture.jsonl.")]
pub(crate) struct Options {
    /// How often the run is killed
    #[arg(long, value_name = "N", default_value_t = 100)]
    kills: usize,
    /// Rides to count, rounded up to a multiple of the built-in ones
    #[arg(long, value_name = "M", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Records a second that a life takes in [default: so many that it lasts about a second]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Run on this Kafka cluster, which must be empty: its topics are deleted [default: an embedded log]
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "kafka")]
    brokers: Option<String>,
    /// Run on a Kafka broker that is started for the campaign (needs Java 17 and Maven)
    #[arg(long)]
    kafka: bool,
    /// Kill and restart, or freeze, the broker now and then
    #[arg(long, requires = "kafka")]
    broker_faults: bool,
    /// Seed of the moments
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Worker threads of the run
    #[arg(long, value_name = "W", default_value_t = 1)]
    workers: usize,
    /// Where the data and the state of the campaign lie; removed when it is done
    #[arg(long, value_name = "DIR", default_value = "tiderace-torture")]
    dir: PathBuf,
    /// Leave the data
    #[arg(long)]
    keep: bool,
}

/// Runs a campaign, or the rest of one; fails unless the verdict is spotless.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    let stop = move || asked.load(Ordering::Relaxed);
    let program = release_build();
    if options.kafka && options.dir.exists() {
        // What lies there belongs to a broker that is gone.
        std::fs::remove_dir_all(&options.dir)?;
    }
    std::fs::create_dir_all(&options.dir)?;
    let site = Site::open(program, options)?;
    let state = State::open(&options.dir, identity(options, &site))?;
    let mut campaign = Campaign {
        site: &site,
        state,
        progress: Progress::default(),
        stop: &stop,
        broker_faults: options.broker_faults,
    };
    let ended = campaign.run();
    campaign.progress.finish();
    let Some(verdict) = ended? else {
        eprintln!(
            "stopped after {} of {} kills; {}",
            campaign.state.done(),
            options.kills,
            if options.kafka {
                "the broker is gone, the next campaign begins anew".to_owned()
            } else {
                format!("the same command goes on from {}", options.dir.display())
            }
        );
        return Ok(ExitCode::from(130));
    };
    println!("{verdict}");
    let broker = match &options.brokers {
        _ if options.kafka => Broker::Started,
        Some(_) => Broker::Found,
        None => Broker::Unused,
    };
    let versions = Versions::of(broker, false);
    let file = tiderace_benches::results::record("torture", &versions, &verdict)?;
    eprintln!("recorded in {}", file.display());
    let spotless = verdict.is_spotless();
    if spotless && !options.keep {
        std::fs::remove_dir_all(&options.dir)?;
    } else {
        eprintln!("the data are in {}", options.dir.display());
    }
    Ok(if spotless {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn identity(options: &Options, site: &Site) -> Identity {
    let copies = options.records.div_ceil(Rides::built_in().len() as u64);
    let records = copies * Rides::built_in().len() as u64;
    Identity {
        log: site.name().to_owned(),
        copies,
        records,
        kills: options.kills,
        // A life gets to the next moment, and moments lie a part of the records apart.
        rate: options
            .rate
            .unwrap_or(records / (options.kills as u64 + 1))
            .max(1),
        workers: options.workers,
        seed: options.seed,
    }
}
