//! The lives of a run: one after another, each from the last commit, until one ends well or for good.
//!
//! A life is torn down completely (threads, dataflow, producers) before the next begins, and the next finds out
//! from the epoch log what was committed, as a new process would. What goes from one to the next is little: the
//! lock on the state directory, the live figures, what was committed so far, and the records to be rejected.
//! Which failure has which remedy stands in `remedy.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::committed::Committed;
use super::engine::StopHandle;
use super::heritage::Heritage;
use super::poison::key_of;
use super::remedy::{Remedy, remedy};
use super::report::{Report, SharedProgress};
use super::run::{Life, Run};
use super::state_dir::StateDir;
use crate::config::Config;
use crate::connect::Log;
use crate::error::RunError;
use crate::topology::{OnError, Topology};

/// What stays over the lives of a run.
pub(super) struct Supervisor {
    topology: Arc<Topology>,
    log: Arc<dyn Log>,
    config: Config,
    application_id: String,
    stop: StopHandle,
    heritage: Heritage,
    /// Restarts that count against `max.restarts`.
    restarts: u64,
    backoff: Backoff,
    /// How long to wait for a log that cannot be reached.
    waiting: Backoff,
    /// When the engine was started.
    started: Instant,
    /// Held until the run is over.
    state: StateDir,
}

impl Supervisor {
    /// Locks the state directory.
    pub(super) fn new(
        topology: Arc<Topology>,
        log: Arc<dyn Log>,
        config: &Config,
        stop: StopHandle,
    ) -> Result<Self, RunError> {
        let started = crate::clock::instant();
        let application_id = config
            .application_id
            .clone()
            .unwrap_or_else(|| topology.application_id().to_owned());
        let state = StateDir::lock(&config.data_dir, &application_id)?;
        let backoff = Backoff::new(config.restart_backoff, config.restart_backoff_max);
        Ok(Supervisor {
            topology,
            log,
            config: config.clone(),
            application_id,
            stop,
            heritage: Heritage::default(),
            restarts: 0,
            waiting: backoff.clone(),
            backoff,
            started,
            state,
        })
    }

    /// Live figures, over all lives.
    pub(super) fn progress(&self) -> SharedProgress {
        Arc::clone(&self.heritage.progress)
    }

    /// Gets a life ready to go.
    pub(super) fn prepare(&mut self) -> Result<Run, RunError> {
        Run::prepare(
            Arc::clone(&self.topology),
            &self.log,
            &self.config,
            &self.state,
            &self.application_id,
            &mut self.heritage,
        )
    }

    /// Runs life after life, from the first, until the run is over.
    pub(super) fn run(mut self, first: Run) -> Result<Report, RunError> {
        let resumed = first.resumed();
        let mut done = Committed::behind(first.last_epoch());
        let mut next = Ok(first);
        loop {
            let (outcome, lived) = match next {
                Ok(run) => self.live(run, &mut done),
                Err(error) => (Err(error), None),
            };
            let Err(error) = outcome else { break };
            let pause = self.after(error, lived)?;
            if self.stop.asked_within(pause) {
                break;
            }
            next = self.prepare();
        }
        self.heritage.progress.set_trouble(None);
        Ok(Report {
            application_id: self.application_id,
            first_epoch: done.first_epoch,
            last_epoch: done.last_epoch,
            resumed,
            counts: done.counts,
            windows_closed: done.windows_closed,
            commit_micros: done.commit_micros,
            latency_micros: done.latency_micros,
            seconds: self.started.elapsed().as_secs_f64(),
            stopped_early: self.stop.is_asked(),
            restarts: self.heritage.progress.restarts.load(Ordering::Relaxed),
        })
    }

    /// Lives one life and adds what it committed to what is `done`; with its outcome, how long it was live.
    fn live(&self, run: Run, done: &mut Committed) -> (Result<(), RunError>, Option<Duration>) {
        let progress = &self.heritage.progress;
        // A commit whose confirmation a life did not live to see is in the log.
        for entry in run
            .logged()
            .range(done.last_epoch + 1..)
            .map(|(_, entry)| entry)
        {
            done.find(entry);
            progress.commit(&entry.counts);
            progress.close_windows(entry.windows_closed);
        }
        progress.read_anew();
        progress.set_trouble(None);
        self.stop.watch(run.epochs());
        let Life {
            committed,
            outcome,
            lived,
        } = run.go();
        done.add_life(committed);
        (outcome, lived)
    }

    /// What becomes of the run after a failure of a life that was live for so long, `None` if it never was: how long
    /// to wait before the next, or the error that it ends with.
    fn after(
        &mut self,
        mut error: RunError,
        lived: Option<Duration>,
    ) -> Result<Duration, RunError> {
        if let RunError::Panicked {
            record: Some(record),
            ..
        } = &mut error
        {
            record.key = key_of(&*self.log, &record.partition, record.offset);
        }
        if lived.is_some() {
            self.waiting.reset();
        }
        if lived.is_some_and(|lived| lived >= self.config.restart_reset) {
            self.restarts = 0;
            self.backoff.reset();
        }
        // Told to finish, it could not; trying for longer than that is not what was asked for.
        if self.stop.is_asked() {
            return Err(error);
        }
        let pause = match remedy(&error) {
            Remedy::End => return Err(error),
            Remedy::Reject if self.rejects(&error) => Duration::ZERO,
            Remedy::Reject => return Err(error),
            Remedy::Wait => self.waiting.pause(),
            Remedy::Restart if self.restarts < self.config.max_restarts => {
                self.restarts += 1;
                self.backoff.pause()
            }
            Remedy::Restart => {
                tracing::error!(
                    restarts = self.restarts,
                    "failed as often as it may, ending"
                );
                return Err(error);
            }
        };
        tracing::warn!(
            application = self.application_id,
            %error,
            ?pause,
            counted = self.restarts,
            most = self.config.max_restarts,
            "the run has failed and restarts from the last commit"
        );
        self.heritage
            .progress
            .restarts
            .fetch_add(1, Ordering::Relaxed);
        self.heritage
            .progress
            .set_trouble(Some(format!("restarting from the last commit: {error}")));
        Ok(pause)
    }

    /// Whether the error policy rejects the record that a panic names; notes it if so.
    fn rejects(&mut self, error: &RunError) -> bool {
        let RunError::Panicked {
            node,
            record: Some(record),
            message,
        } = error
        else {
            return false;
        };
        // One that was to be rejected and is named again would be named for ever.
        let reason = format!("step `{node}` panicked: {message}");
        self.topology.on_error != OnError::Fail && self.heritage.poison.add(record, reason)
    }
}
