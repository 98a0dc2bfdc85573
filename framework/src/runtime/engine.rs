//! Starting, stopping and ending a run: [`Engine::start`] and the [`Running`] it returns.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::epochs::Epochs;
use super::report::{Report, SharedProgress};
use super::rerun::{Replay, ReplayedEpoch};
use super::supervisor::Supervisor;
use crate::config::Config;
use crate::connect::Log;
use crate::error::RunError;
use crate::topology::Topology;

/// Runs topologies.
pub struct Engine;

/// A run. Dropping it leaves the run going; see [`join`](Self::join) and [`stop_handle`](Self::stop_handle).
pub struct Running {
    stop: StopHandle,
    progress: SharedProgress,
    finished: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<Result<Report, RunError>>,
}

/// Stops a run from anywhere. Clones stop the same run.
#[derive(Clone)]
pub struct StopHandle(Arc<StopState>);

#[derive(Default)]
struct StopState {
    asked: Mutex<bool>,
    /// Told when a stop is asked for.
    changed: Condvar,
    epochs: Mutex<Option<Epochs>>,
}

impl StopHandle {
    /// Has the run finish the open epoch, commit it and end; a run that waits to restart ends at once. Returns at
    /// once; more calls change nothing.
    pub fn stop(&self) {
        *self.asked() = true;
        self.0.changed.notify_all();
        if let Some(epochs) = &*self.epochs() {
            epochs.stop();
        }
    }

    pub(super) fn is_asked(&self) -> bool {
        *self.asked()
    }

    /// Waits for a stop to be asked for, at most `time`; true if it is.
    pub(super) fn asked_within(&self, time: Duration) -> bool {
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.asked(), time, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Passes a stop on to these epochs from now on.
    pub(super) fn watch(&self, epochs: &Epochs) {
        *self.epochs() = Some(epochs.clone());
        if self.is_asked() {
            epochs.stop();
        }
    }

    fn asked(&self) -> MutexGuard<'_, bool> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn epochs(&self) -> MutexGuard<'_, Option<Epochs>> {
        self.0.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Starts a topology on a log. Locks its state directory, fences older instances, reads its epoch log, replays
    /// what it committed, and goes on from there. After a failure that may pass it does so again by itself
    /// (`docs/configuration.md`, "Failures and restarts").
    ///
    /// # Errors
    /// What can be refused at once: the state directory is in use, a topic is missing, the snapshot does not fit the
    /// program's stateful steps, or epochs are to be replayed that another program wrote. What happens later, [`Running::join`] returns.
    pub fn start(
        topology: impl Into<Arc<Topology>>,
        log: Arc<dyn Log>,
        config: &Config,
    ) -> Result<Running, RunError> {
        let stop = StopHandle(Arc::default());
        let mut supervisor = Supervisor::new(topology.into(), log, config, stop.clone())?;
        let first = supervisor.prepare()?;
        let progress = supervisor.progress();
        let finished: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let finish = Arc::clone(&finished);
        let thread = std::thread::Builder::new()
            .name("tiderace-engine".into())
            .spawn(move || {
                let outcome = supervisor.run(first);
                *finish.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
                finish.1.notify_all();
                outcome
            });
        let thread =
            thread.map_err(|e| RunError::Bug(format!("no thread could be started: {e}")))?;
        Ok(Running {
            stop,
            progress,
            finished,
            thread,
        })
    }
}

impl Engine {
    /// Runs logged epochs again from the nearest snapshot before them, and hands what each wrote to `show` instead of
    /// writing it, once it has come to what the log says; `show` breaks off when it has seen enough. Nobody is fenced,
    /// nothing is locked and nothing written: the application may run meanwhile, here or elsewhere.
    ///
    /// ```no_run
    /// # use std::{ops::ControlFlow, sync::Arc};
    /// # use tiderace::{Config, Engine, RunError, Topology, connect::Log};
    /// # fn what_was_said(topology: Topology, log: Arc<dyn Log>) -> Result<(), RunError> {
    /// Engine::replay(topology, log, &Config::default(), 120..=124, |epoch| {
    ///     for record in epoch.records() {
    ///         println!("{}: {} {:?}", epoch.epoch, record.topic, record.value);
    ///     }
    ///     ControlFlow::Continue(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Replay::open`] and [`Replay::run`], which this does one after the other.
    pub fn replay(
        topology: impl Into<Arc<Topology>>,
        log: Arc<dyn Log>,
        config: &Config,
        epochs: RangeInclusive<u64>,
        show: impl FnMut(&ReplayedEpoch<'_>) -> ControlFlow<()> + Send + 'static,
    ) -> Result<(), RunError> {
        let topology = topology.into();
        let application_id = config.application_id.as_deref();
        let application_id = application_id.unwrap_or_else(|| topology.application_id());
        Replay::open(log, config, application_id, epochs)?.run(topology, show)
    }
}

impl Running {
    /// What stops the run.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Live figures.
    pub fn progress(&self) -> SharedProgress {
        Arc::clone(&self.progress)
    }

    /// Whether the run is over; [`join`](Self::join) returns at once then.
    pub fn is_finished(&self) -> bool {
        *self
            .finished
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the run is over, at most `timeout`; true if it is.
    pub fn wait(&self, timeout: Duration) -> bool {
        let finished = self
            .finished
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .finished
            .1
            .wait_timeout_while(finished, timeout, |finished| !*finished);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for the end of the run.
    ///
    /// # Errors
    /// Why it ended without success. Everything committed before stays.
    pub fn join(self) -> Result<Report, RunError> {
        self.thread
            .join()
            .unwrap_or_else(|_| Err(RunError::Bug("the engine's own thread panicked".into())))
    }
}
