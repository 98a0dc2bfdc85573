//! The fetch thread of a worker: owns its [`Source`] and fills its [`Queues`]. Nothing blocks a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use timely::scheduling::SyncActivator;

use super::queue::Queues;
use crate::connect::{Fetched, Source};
use crate::error::LogError;

/// How long a fetch waits before it looks whether it should stop or let a partition go on.
const PATIENCE: Duration = Duration::from_millis(20);

/// A running fetch thread.
pub(crate) struct Fetcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Fetcher {
    /// Starts fetching; `failed` is told of an error, which ends the thread. `wake` rouses the operators that read
    /// the queues.
    pub(crate) fn start(
        source: Box<dyn Source>,
        queues: Queues,
        wake: Vec<SyncActivator>,
        failed: impl FnOnce(LogError) + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("tiderace-fetch".into())
            .spawn(move || {
                if let Err(error) = fetch(source, &queues, &wake, &stopped) {
                    failed(error);
                }
            })?;
        Ok(Fetcher { stop, thread })
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic of the thread was reported by its failure to deliver; there is nothing to add here.
        let _ = self.thread.join();
    }
}

fn fetch(
    mut source: Box<dyn Source>,
    queues: &Queues,
    wake: &[SyncActivator],
    stopped: &AtomicBool,
) -> Result<(), LogError> {
    let mut paused = vec![false; queues.count()];
    while !stopped.load(Ordering::Relaxed) {
        for slot in queues.to_switch(&paused) {
            if paused[slot] {
                source.resume(slot)?;
            } else {
                source.pause(slot)?;
            }
            paused[slot] = !paused[slot];
        }
        let patience = if paused.contains(&true) {
            Duration::from_millis(1)
        } else {
            PATIENCE
        };
        match source.poll(patience)? {
            Fetched::Nothing => continue,
            Fetched::CaughtUp { slot, position } => queues.caught_up(slot, position),
            Fetched::Batch(batch) => queues.push(batch.slot(), Arc::from(batch)),
        }
        for activator in wake {
            // The worker is gone only when the run is over.
            let _ = activator.activate();
        }
    }
    Ok(())
}
