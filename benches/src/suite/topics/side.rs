//! A side of a comparison as a process of its own: the engine or the loop, once over its input.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use tiderace::config::Guarantee;
use tiderace::{Config, Engine};
use tiderace_benches::by_hand::{self, Topics};
use tiderace_benches::child::{self, Used};

use super::engine::topology;
use super::place::Place;
use super::workload::{WINDOW, Workload};
use crate::Failure;

/// What the process does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) workload: Workload,
    pub(super) place: Place,
    pub(super) input: String,
    /// The topic that is written; also the application's id.
    pub(super) output: String,
    pub(super) commit_ms: u64,
    pub(super) by: By,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum By {
    Engine { workers: usize, exactly_once: bool },
    Loop,
}

impl Job {
    /// Runs it on so many of this process's cores, and says what it cost.
    pub(super) fn run(&self, cores: usize) -> Result<Used, Failure> {
        self.place.create(&self.output)?;
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
    let log = job.place.open()?;
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
            Engine::start(topology, log, &config)?.join()?;
        }
        By::Loop => {
            let topics = Topics {
                id: &job.output,
                input: &job.input,
                output: &job.output,
                interval,
            };
            match job.workload {
                Workload::Filter => by_hand::filter(&*log, topics)?,
                Workload::Windows => by_hand::count_windows(&*log, topics, WINDOW)?,
                Workload::Counts | Workload::WideCounts => by_hand::count_by_key(&*log, topics)?,
                Workload::Words => by_hand::count_words(&*log, topics)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
