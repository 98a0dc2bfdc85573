//! The fetch thread of a worker: owns its [`Source`] and fills its [`Queues`]. Nothing blocks a worker.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tiderace_operators::failpoint;
use timely::scheduling::SyncActivator;

use super::arrived::Arrived;
use super::crew::message;
use super::pickup::Pickup;
use super::queue::Queues;
use crate::connect::{Fetched, Source};
use crate::error::{LogError, RunError};

/// How long a fetch waits before it looks whether it should stop or let a partition go on.
const PATIENCE: Duration = Duration::from_millis(20);

/// How the operators that read the queues are told that something has arrived.
pub(crate) struct Rouse {
    /// They.
    pub(crate) sources: Vec<SyncActivator>,
    /// What may be left until they are called anyway, on the worker where that is known.
    pub(crate) pickup: Option<Pickup>,
}

impl Rouse {
    /// So many records were put into a queue: `is_news` to the worker, or behind what is.
    fn arrived(&self, records: usize, is_news: bool) {
        let called = match &self.pickup {
            Some(pickup) => !pickup.leaves(records, is_news),
            None => is_news,
        };
        if called {
            for source in &self.sources {
                // The worker is gone only when the run is over.
                let _ = source.activate();
            }
        }
    }
}

/// A running fetch thread; dropping it ends the thread and waits for it, also when its worker panics.
pub(crate) struct Fetcher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fetcher {
    /// Starts fetching; `failed` is told of an error, which ends the thread.
    pub(crate) fn start(
        source: Box<dyn Source>,
        queues: Queues,
        rouse: Rouse,
        failed: impl FnOnce(RunError) + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // Counted now: a partition that is added from here on is told to the thread as well.
        let begun_with = queues.count();
        let thread = std::thread::Builder::new()
            .name("tiderace-fetch".into())
            .spawn(move || {
                let fetch = || fetch(source, (&queues, begun_with), &rouse, &stopped);
                match std::panic::catch_unwind(AssertUnwindSafe(fetch)) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => failed(error.into()),
                    Err(panic) => failed(RunError::Bug(message(&*panic))),
                }
            })?;
        Ok(Fetcher {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What went wrong in it was told to `failed`.
            let _ = thread.join();
        }
    }
}

fn fetch(
    mut source: Box<dyn Source>,
    (queues, begun_with): (&Queues, usize),
    rouse: &Rouse,
    stopped: &AtomicBool,
) -> Result<(), LogError> {
    let mut paused = vec![false; begun_with];
    let mut look = queues.look(&paused);
    while !stopped.load(Ordering::Relaxed) {
        for slot in look.switch {
            if paused[slot] {
                source.resume(slot)?;
            } else {
                source.pause(slot)?;
            }
            paused[slot] = !paused[slot];
        }
        for (partition, offset) in look.added {
            source.add(&partition, offset)?;
            paused.push(false);
        }
        if !look.has_room {
            queues.await_room(PATIENCE);
            look = queues.look(&paused);
            continue;
        }
        // What is there is taken in before it rests: it may be more than is left.
        let rest = rouse.pickup.as_ref().and_then(Pickup::rest);
        let patience = match (rest, paused.contains(&true)) {
            (Some(_), _) => Duration::ZERO,
            (None, true) => Duration::from_millis(1),
            (None, false) => PATIENCE,
        };
        look = match source.poll(patience)? {
            Fetched::Nothing => {
                std::thread::sleep(rest.unwrap_or_default());
                queues.look(&paused)
            }
            Fetched::CaughtUp { slot, position } => {
                let is_news = queues.caught_up(slot, position);
                rouse.arrived(0, is_news);
                queues.look(&paused)
            }
            Fetched::Batch(batch) => {
                failpoint!(crate::failpoint::P01_POLLED, |_| Err(
                    crate::failpoint::broken()
                ));
                let records = batch.len();
                let (is_news, look) = queues.push(Arrived::new(batch), &paused);
                rouse.arrived(records, is_news);
                look
            }
        };
    }
    Ok(())
}
