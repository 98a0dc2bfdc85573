//! Starting, stopping and ending a run: [`Engine::start`] and the [`Running`] it returns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::epochs::Epochs;
use super::report::{Report, SharedProgress};
use super::run::Run;
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
    asked: AtomicBool,
    epochs: Mutex<Option<Epochs>>,
}

impl StopHandle {
    /// Has the run finish the open epoch, commit it and end. Returns at once; more calls change nothing.
    pub fn stop(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        if let Some(epochs) = &*self.0.epochs.lock().unwrap_or_else(PoisonError::into_inner) {
            epochs.stop();
        }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    fn watch(&self, epochs: &Epochs) {
        *self.0.epochs.lock().unwrap_or_else(PoisonError::into_inner) = Some(epochs.clone());
        if self.is_asked() {
            epochs.stop();
        }
    }
}

impl Engine {
    /// Starts a topology on a log. Locks its state directory, fences older instances, reads its epoch log, replays
    /// what it committed, and goes on from there.
    ///
    /// # Errors
    /// What can be refused at once: the state directory is in use, a topic is missing, the log was begun by
    /// another program or with other parameters. What happens later, [`Running::join`] returns.
    pub fn start(
        topology: Topology,
        log: Arc<dyn Log>,
        config: &Config,
    ) -> Result<Running, RunError> {
        let started = crate::clock::instant();
        let run = Run::prepare(topology, log, config)?;
        let stop = StopHandle(Arc::default());
        let progress = run.progress();
        let finished: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        stop.watch(run.epochs());
        let (stop_of_run, finish) = (stop.clone(), Arc::clone(&finished));
        let thread = std::thread::Builder::new()
            .name("tiderace-engine".into())
            .spawn(move || {
                let outcome = run.go(started, &stop_of_run);
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
