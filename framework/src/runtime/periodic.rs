//! Something that is done now and then while a life of a run goes on.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::RunError;

/// A thread that does its work, waits, and does it again, until this is dropped.
pub(crate) struct Periodic {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Periodic {
    /// Starts a thread of this name. The first time is at once, each further one `every` so often behind the one before.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(
        name: &str,
        every: Duration,
        mut work: impl FnMut() + Send + 'static,
    ) -> Result<Self, RunError> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                loop {
                    work();
                    if stopped.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            });
        let thread =
            thread.map_err(|e| RunError::Bug(format!("no thread could be started: {e}")))?;
        Ok(Periodic {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Periodic {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // The work does not panic; if it did, nothing depends on it.
            let _ = thread.join();
        }
    }
}
