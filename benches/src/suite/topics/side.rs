//! A side of a comparison as a process of its own: the engine or the loop, once over its input.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark waits and gives up by the clock"
)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use tiderace::config::Guarantee;
use tiderace::{Config, Engine, Running};
use tiderace_benches::by_hand::{self, Topics};
use tiderace_benches::child::{self, Used};

use super::engine::topology;
use super::place::Place;
use super::workload::{WINDOW, Workload};
use crate::Failure;

/// How often it is looked whether all is done.
const LOOK: Duration = Duration::from_millis(20);

/// What the process does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::suite) struct Job {
    pub(in crate::suite) workload: Workload,
    pub(in crate::suite) place: Place,
    pub(in crate::suite) input: String,
    /// The topic that is written; also the application's id.
    pub(in crate::suite) output: String,
    pub(in crate::suite) commit_ms: u64,
    /// The records that it waits for and ends behind; where none are named, it ends where the input did at its start.
    pub(in crate::suite) follow: Option<u64>,
    pub(in crate::suite) by: By,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::suite) enum By {
    Engine {
        workers: usize,
        exactly_once: bool,
    },
    /// A loop over what is there sends what changed before each commit, one that follows its input every update at once.
    Loop {
        exactly_once: bool,
    },
}

impl Job {
    /// Runs it on so many of this process's cores, and says what it cost.
    pub(in crate::suite) fn run(&self, cores: usize) -> Result<Used, Failure> {
        self.place.create(&self.output)?;
        self.run_into(cores)
    }

    /// The same, with an output topic that is there.
    pub(in crate::suite) fn run_into(&self, cores: usize) -> Result<Used, Failure> {
        let this = std::env::current_exe()?.display().to_string();
        let job = serde_json::to_string(self)?;
        Ok(child::run(&[this, "side".to_owned(), job], cores)?)
    }
}

/// Options of the process.
#[derive(Args)]
pub(crate) struct Side {
    job: String,
}

/// The process.
pub(crate) fn run(side: &Side) -> Result<ExitCode, Failure> {
    child::end_with_parent()?;
    let job: Job = serde_json::from_str(&side.job)?;
    let log = match job.by {
        // What it sends at once shall not wait for more.
        By::Loop { .. } if job.follow.is_some() => job.place.open_with(&[("linger.ms", "0")])?,
        _ => job.place.open()?,
    };
    let interval = Duration::from_millis(job.commit_ms);
    match job.by {
        By::Engine {
            workers,
            exactly_once,
        } => {
            let config = Config {
                workers,
                guarantee: if exactly_once {
                    Guarantee::ExactlyOnce
                } else {
                    Guarantee::AtLeastOnce
                },
                commit_interval: interval,
                follow: job.follow.is_some(),
                data_dir: job.place.directory.clone(),
                brokers: job.place.brokers.clone(),
                ..Config::default()
            };
            // A topic's name is a constant of the program; here it comes with the job.
            let topology = topology(
                job.workload,
                &job.output,
                job.input.leak(),
                job.output.clone().leak(),
            )?;
            let running = Engine::start(topology, log, &config)?;
            if let Some(records) = job.follow {
                stop_behind(&running, records)?;
            }
            running.join()?;
        }
        By::Loop { exactly_once } => {
            let topics = Topics {
                id: &job.output,
                input: &job.input,
                output: &job.output,
                interval,
            };
            if let Some(records) = job.follow {
                // Kafka's client sends by itself, the embedded log shows what is flushed.
                let flush = job.place.brokers.is_none();
                by_hand::count_updates(&*log, topics, exactly_once, (records, flush))?;
                return Ok(ExitCode::SUCCESS);
            }
            match job.workload {
                Workload::Filter => by_hand::filter(&*log, topics)?,
                Workload::Windows => by_hand::count_windows(&*log, topics, WINDOW)?,
                Workload::Counts | Workload::WideCounts | Workload::Keyed(_) => {
                    by_hand::count_by_key(&*log, topics)?
                }
                Workload::Words => by_hand::count_words(&*log, topics)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops a run when it has committed so many records; one that fails ends by itself.
fn stop_behind(running: &Running, records: u64) -> Result<(), Failure> {
    let progress = running.progress();
    let (mut read, mut since) = (0, Instant::now());
    while read < records && !running.wait(LOOK) {
        let now = progress.committed().read;
        if now > read {
            (read, since) = (now, Instant::now());
        } else if since.elapsed() > by_hand::PATIENCE {
            return Err(format!("of {records} records only {read} came").into());
        }
    }
    running.stop_handle().stop();
    Ok(())
}
