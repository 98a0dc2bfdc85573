//! Watches the workers: one that does not go on, with work at hand, is reported with the step and record it sits at.
//!
//! A worker that has nothing to do comes round all the time, so whoever does not is in the middle of something: a
//! closure that blocks, a record that takes for ever. Nothing is done about it, since no thread can be ended from
//! outside; it is said in the log, in the metrics and by `/health`, until the worker goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tiderace_operators::current::Place;

use super::crew::{node_of, poison_record};
use super::report::Stall;
use super::worker::Plan;

/// The shortest and the longest time between two looks. The shortest is above the time that a worker parks.
const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A worker's index and where it is.
type Worker = (usize, Arc<Place>);

/// Where the workers are. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<Vec<Worker>>>);

impl Places {
    /// Adds a worker's.
    pub(super) fn add(&self, worker: usize, place: Arc<Place>) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.push((worker, place));
    }

    fn all(&self) -> Vec<Worker> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A thread that watches; dropping it ends it.
pub(super) struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches the workers of a life, and reports those that stand still for `timeout`.
    pub(super) fn start(plan: Plan, places: Places, timeout: Duration) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("tiderace-watch".into())
            .spawn(move || watch(&plan, &places, timeout, &stopped))?;
        Ok(Watchdog {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It reads figures and writes others; there is nothing to tell of its end.
            let _ = thread.join();
        }
    }
}

/// What is remembered of a worker between two looks.
#[derive(Default)]
struct Seen {
    trace: (u64, u64),
    /// For how long it has been the same. Looks are counted, not the clock: a process that was stopped and goes on
    /// has not stood still.
    still: Duration,
    reported: bool,
}

fn watch(plan: &Plan, places: &Places, timeout: Duration, stopped: &AtomicBool) {
    let (shortest, longest) = LOOKS;
    let look = (timeout / 4).clamp(shortest, longest);
    let timeout = timeout.max(look * 2);
    let mut seen: Vec<Seen> = Vec::new();
    loop {
        std::thread::park_timeout(look);
        if stopped.load(Ordering::Relaxed) {
            return plan.progress.set_stalls(Vec::new());
        }
        let places = places.all();
        seen.resize_with(places.len(), Seen::default);
        let mut stalls = Vec::new();
        for ((worker, place), seen) in places.iter().zip(&mut seen) {
            let trace = place.trace();
            if trace != seen.trace {
                if seen.reported {
                    tracing::warn!(worker, "the worker goes on");
                }
                *seen = Seen {
                    trace,
                    ..Seen::default()
                };
                continue;
            }
            seen.still += look;
            if seen.still < timeout {
                continue;
            }
            let stall = stall(plan, *worker, place, seen.still);
            if !std::mem::replace(&mut seen.reported, true) {
                tracing::warn!(worker, "{stall}");
            }
            stalls.push(stall);
        }
        plan.progress.set_stalls(stalls);
    }
}

fn stall(plan: &Plan, worker: usize, place: &Place, still: Duration) -> Stall {
    let culprit = place.culprit();
    Stall {
        worker,
        node: node_of(plan, culprit),
        record: poison_record(plan, culprit).map(|record| record.to_string()),
        still,
    }
}
