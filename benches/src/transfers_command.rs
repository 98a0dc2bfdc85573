//! `tiderace-benches transfers`: internal consistency over more transfers than a test has time for.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tiderace_benches::progress::Progress;
use tiderace_benches::results::record;
use tiderace_benches::transfers::{self, BURNT, Plan};
use tiderace_benches::versions::Versions;

use crate::Failure;

#[derive(Args)]
pub(crate) struct Options {
    /// Transfers
    #[arg(long, value_name = "M", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Crashes of each run
    #[arg(long, value_name = "N", default_value_t = 10)]
    crashes: usize,
    /// Worker threads, a run for each number
    #[arg(
        long,
        value_name = "W,...",
        value_delimiter = ',',
        default_value = "1,2,4"
    )]
    workers: Vec<usize>,
    /// Seed of the moments
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Where the data lie; removed behind each run
    #[arg(long, value_name = "DIR", default_value = "tiderace-transfers")]
    dir: PathBuf,
}

/// Runs once for each number of workers; the first epoch that does not add up ends it.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    hush_planned_crashes();
    for workers in &options.workers {
        let plan = Plan {
            records: options.records,
            workers: *workers,
            crashes: options.crashes,
            seed: options.seed,
        };
        std::fs::create_dir(&options.dir)?;
        let progress = Progress::default();
        let outcome = transfers::run(plan, &options.dir, &mut |line| progress.say(line))?;
        let audited = outcome.audited;
        println!(
            "{workers} workers: {} transfers in {} epochs, {} crashes ({} in a recovery, {} behind a new snapshot), {:.1} s; in every epoch {} \
             balances and {} totals agree and are nothing",
            audited.transfers,
            audited.epochs,
            outcome.crashed,
            outcome.crashed_in_recovery,
            outcome.crashed_behind_snapshot,
            outcome.seconds,
            audited.balances,
            audited.totals
        );
        let file = record("transfers", &Versions::default(), &outcome)?;
        eprintln!("recorded in {}", file.display());
        std::fs::remove_dir_all(&options.dir)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A planned crash is no news; any other panic is told as ever.
fn hush_planned_crashes() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        if !message.starts_with(BURNT) {
            tell(panic);
        }
    }));
}
