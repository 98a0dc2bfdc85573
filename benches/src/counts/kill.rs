//! A run that is killed again and again, and what each way back took.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use tiderace_testing::kills::Random;
use tiderace_testing::snapshots::newest;

use super::bare::bare;
use super::feed::{Feed, Steady};
use super::job::{self, APPLICATION, EVENTS, Recovered, Said, now};
use super::place::Place;
use super::process::Process;
use super::recovery::Options;
use super::verify::verify;
use super::watch::Watch;
use crate::Failure;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Snapshots that a life publishes before it is killed.
const SNAPSHOTS: u32 = 3;

/// The part of a second's input that may be on its way when there is no lag: two commit intervals and what a look takes.
const ON_ITS_WAY: f64 = 0.25;

/// A kill, and the way back.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Killed {
    /// From exec to the first line of `main`.
    pub(super) process_start_ms: f64,
    pub(super) fencing_ms: f64,
    pub(super) checking_ms: f64,
    pub(super) announcing_ms: f64,
    pub(super) loading_ms: f64,
    pub(super) replay_ms: f64,
    /// The first epoch behind the replay, with its commit, until it was seen.
    pub(super) first_epoch_ms: f64,
    /// From the first line of `main` until a new output was seen, committed.
    pub(super) first_output_ms: f64,
    /// From there until all input was committed but what a commit interval brings.
    pub(super) no_lag_ms: f64,
    pub(super) snapshot_bytes: u64,
    pub(super) snapshot_files: usize,
    pub(super) replayed_epochs: u64,
    pub(super) replayed_records: u64,
    pub(super) bare_read_ms: f64,
    pub(super) bare_insert_ms: f64,
}

impl Killed {
    /// Given what the process measured, and the moments of exec, of its first line, of the first new output and of no lag.
    fn new(recovered: &Recovered, [exec, main, first, no_lag]: [f64; 4]) -> Self {
        let Recovered {
            epochs,
            records,
            fencing,
            checking,
            announcing,
            loading,
            took,
        } = *recovered;
        Killed {
            process_start_ms: (main - exec) * 1e3,
            fencing_ms: fencing * 1e3,
            checking_ms: checking * 1e3,
            announcing_ms: announcing * 1e3,
            loading_ms: loading * 1e3,
            replay_ms: (took - fencing - checking - announcing - loading) * 1e3,
            first_epoch_ms: (first - main - took) * 1e3,
            first_output_ms: (first - main) * 1e3,
            no_lag_ms: (no_lag - main) * 1e3,
            replayed_epochs: epochs,
            replayed_records: records,
            ..Killed::default()
        }
    }
}

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "process start {:.0} ms, then first new output behind {:.0} ms, no lag behind {:.0} ms ({} epochs with {} \
             records replayed)",
            self.process_start_ms,
            self.first_output_ms,
            self.no_lag_ms,
            self.replayed_epochs,
            self.replayed_records
        )
    }
}

/// What runs, who feeds it and who watches.
pub(super) struct Rig {
    place: Place,
    options: job::Options,
    keys: u64,
    rate: u64,
    /// None between a kill and the next start.
    process: Option<Process>,
    steady: Steady,
    watch: Watch,
    random: Random,
}

impl Rig {
    /// Counts every key once, then begins to feed.
    pub(super) fn new(place: Place, options: &Options, keys: u64) -> Result<Self, Failure> {
        place.create_topics()?;
        let feed = Feed::every_key(&place, EVENTS, keys)?;
        let job = job::Options::new(&place, options.workers);
        Process::start(&job)?.end()?;
        let watch = Watch::open(&place)?;
        let job = job.following();
        Ok(Rig {
            process: Some(Process::start(&job)?),
            steady: feed.steady(options.rate),
            watch,
            options: job,
            keys,
            rate: options.rate,
            random: Random::new(options.seed),
            place,
        })
    }

    fn lag(&self) -> f64 {
        self.steady.sent().saturating_sub(self.watch.read) as f64
    }

    fn on_its_way(&self) -> f64 {
        self.rate as f64 * ON_ITS_WAY
    }

    /// Lets the run live for some snapshots, kills it, and follows the next one until it has caught up.
    pub(super) fn kill(&mut self) -> Result<Killed, Failure> {
        self.live()?;
        if let Some(process) = self.process.take() {
            process.kill()?;
        }
        self.watch.take(Duration::ZERO)?;
        let aside = self.place.directory.join("aside");
        let files = self.place.keep_newest(&aside)?;
        let killed = self.come_back()?;
        let bare = bare(&files, self.keys)?;
        std::fs::remove_dir_all(aside)?;
        Ok(Killed {
            snapshot_bytes: bare.bytes,
            snapshot_files: files.len(),
            bare_read_ms: bare.read * 1e3,
            bare_insert_ms: bare.insert * 1e3,
            ..killed
        })
    }

    fn live(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        let (mut published, mut last) = (0, newest(&self.place.directory, APPLICATION));
        while published < SNAPSHOTS || self.lag() > self.on_its_way() {
            self.watch.take(Duration::from_millis(5))?;
            self.hear()?;
            let found = newest(&self.place.directory, APPLICATION);
            if found > last {
                (published, last) = (published + 1, found);
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{published} snapshots, lag {}", self.lag()).into());
            }
        }
        let more = Duration::from_secs_f64(self.random.fraction());
        let until = Instant::now() + more;
        while Instant::now() < until {
            self.watch.take(Duration::from_millis(5))?;
        }
        Ok(())
    }

    /// What the process says next, if anything.
    fn hear(&mut self) -> Result<Option<Said>, Failure> {
        self.process.as_mut().map_or(Ok(None), Process::hear)
    }

    /// Starts a life and watches it until it has caught up.
    fn come_back(&mut self) -> Result<Killed, Failure> {
        let started = Instant::now();
        let before = self.watch.starts();
        let process = self.process.insert(Process::start(&self.options)?);
        let exec = process.begun;
        let (mut main, mut recovered, mut first, mut no_lag) = (None, None, None, None);
        while started.elapsed() < PATIENCE {
            let epochs = self.watch.take(Duration::from_millis(1))?;
            let new = epochs.iter().find(|it| it.written > 0 && it.start > before);
            first = first.or(new.map(|epoch| epoch.at));
            match self.hear()? {
                Some(Said::Main { at }) => main = Some(at),
                Some(Said::Recovered(said)) => recovered = Some(said),
                Some(Said::Until { .. }) | None => {}
            }
            if no_lag.is_none() && first.is_some() && self.lag() <= self.on_its_way() {
                no_lag = Some(now());
            }
            if let (Some(main), Some(recovered), Some(first), Some(no_lag)) =
                (main, &recovered, first, no_lag)
            {
                return Ok(Killed::new(recovered, [exec, main, first, no_lag]));
            }
        }
        Err(format!("not caught up: lag {}", self.lag()).into())
    }

    /// Ends feed and run, and verifies what was written.
    pub(super) fn end(self) -> Result<u64, Failure> {
        let feed = self.steady.stop()?;
        if let Some(process) = self.process {
            process.stop()?;
        }
        Process::start(&job::Options::new(&self.place, 1))?.end()?;
        verify(&self.place, feed.counts())
    }
}
