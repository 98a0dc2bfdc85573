//! The program that is killed: a running count of events by key, in a process of its own that says on stdout, a line
//! of JSON each, when it got how far.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::{Deserialize, Serialize};
use signal_hook::consts::SIGTERM;
use tiderace::runtime::Recovery;
use tiderace::{BuildError, Config, Engine, StreamsBuilder, Topic, Topology};
use tiderace_benches::measure::process_cpu;

use super::place::Place;
use crate::Failure;

/// The application's id.
pub(super) const APPLICATION: &str = "counts-by-key";
/// The topic that it reads.
pub(super) const EVENTS: &str = "events";
/// The topic that it writes.
pub(super) const COUNTS: &str = "counts";

/// An event; its key is what is counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Event {
    /// Cents, say.
    pub(super) amount: u32,
}

fn topology() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new(APPLICATION);
    builder
        .stream(Topic::<u64, Event>::json(EVENTS))
        .group_by_key()
        .count()
        .to(Topic::<u64, u64>::bytes(COUNTS));
    builder.build()
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Milliseconds
    #[arg(long, default_value_t = 1_000)]
    snapshot_interval: u64,
    /// Milliseconds
    #[arg(long, default_value_t = 100)]
    commit_interval: u64,
    /// Follow the input until SIGTERM
    #[arg(long)]
    follow: bool,
    /// End as soon as so many records are committed, without the snapshot of a clean end
    #[arg(long)]
    until: Option<u64>,
}

impl Options {
    /// A process that runs to the end of its input.
    pub(super) fn new(place: &Place, workers: usize) -> Self {
        Options {
            dir: place.directory.clone(),
            brokers: place.brokers.clone(),
            workers,
            snapshot_interval: 1_000,
            commit_interval: 100,
            follow: false,
            until: None,
        }
    }

    /// One that follows it.
    pub(super) fn following(self) -> Self {
        Options {
            follow: true,
            ..self
        }
    }

    /// One that keeps its state and commits so often.
    pub(super) fn every(self, snapshot: Duration, commit: Duration) -> Self {
        let milliseconds = |time: Duration| time.as_millis() as u64;
        Options {
            snapshot_interval: milliseconds(snapshot),
            commit_interval: milliseconds(commit),
            ..self
        }
    }

    /// One that ends when so many records are committed.
    pub(super) fn until(self, records: u64) -> Self {
        Options {
            until: Some(records),
            ..self.following()
        }
    }

    /// The words that say the same to [`run`].
    pub(super) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = ["recovery-job", "--dir"].map(str::to_owned).into();
        words.push(self.dir.display().to_string());
        for (name, number) in [
            ("--workers", self.workers as u64),
            ("--snapshot-interval", self.snapshot_interval),
            ("--commit-interval", self.commit_interval),
        ] {
            words.extend([name.to_owned(), number.to_string()]);
        }
        if let Some(brokers) = &self.brokers {
            words.extend(["--brokers".to_owned(), brokers.clone()]);
        }
        if let Some(until) = self.until {
            words.extend(["--until".to_owned(), until.to_string()]);
        }
        if self.follow {
            words.push("--follow".to_owned());
        }
        words
    }
}

/// What the process says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Said {
    /// `main` has begun.
    Main { at: f64 },
    /// It is where it had been.
    Recovered(Recovered),
    /// The records that were asked for are committed; CPU seconds of the process.
    Until { at: f64, cpu: f64 },
}

/// A recovery, as the process measured it; times in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Recovered {
    pub(super) epochs: u64,
    pub(super) records: u64,
    pub(super) fencing: f64,
    pub(super) checking: f64,
    pub(super) announcing: f64,
    pub(super) loading: f64,
    pub(super) took: f64,
}

impl From<Recovery> for Recovered {
    fn from(recovery: Recovery) -> Self {
        Recovered {
            epochs: recovery.epochs,
            records: recovery.records,
            fencing: recovery.fencing.as_secs_f64(),
            checking: recovery.checking.as_secs_f64(),
            announcing: recovery.announcing.as_secs_f64(),
            loading: recovery.loading.as_secs_f64(),
            took: recovery.took.as_secs_f64(),
        }
    }
}

/// Seconds since 1970, which both processes measure alike.
pub(super) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

fn say(said: &Said) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, said)?;
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}

/// The process.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    say(&Said::Main { at: now() })?;
    let asked = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&asked))?;
    let place = Place {
        directory: options.dir.clone(),
        brokers: options.brokers.clone(),
    };
    let config = Config {
        workers: options.workers,
        data_dir: options.dir.clone(),
        follow: options.follow,
        commit_interval: Duration::from_millis(options.commit_interval),
        snapshot_interval: Duration::from_millis(options.snapshot_interval),
        ..Config::default()
    };
    let running = Engine::start(topology()?, place.open()?, &config)?;
    let (progress, stop) = (running.progress(), running.stop_handle());
    let mut told = false;
    while !running.wait(Duration::from_millis(1)) {
        if let (false, Some(recovery)) = (told, progress.recovery()) {
            told = true;
            say(&Said::Recovered(recovery.into()))?;
        }
        if let Some(records) = options.until
            && progress.committed().read >= records
        {
            say(&Said::Until {
                at: now(),
                cpu: process_cpu().as_secs_f64(),
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        if asked.load(Ordering::Relaxed) {
            stop.stop();
        }
    }
    running.join()?;
    Ok(ExitCode::SUCCESS)
}
