//! Ctrl-C and SIGTERM: the first asks the command to end in order, the second ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// Whether the user asked for the end.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over both signals for the rest of the process.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let asked = Arc::new(AtomicBool::new(false));
        let register = || {
            for (signal, exit_code) in [(SIGINT, 130), (SIGTERM, 143)] {
                // In this order: a signal ends the process if an earlier one has set the flag.
                flag::register_conditional_shutdown(signal, exit_code, asked.clone())?;
                flag::register(signal, asked.clone())?;
            }
            Ok(())
        };
        register().map_err(|source| Failure::System {
            what: "watch for signals".into(),
            source,
        })?;
        Ok(Interrupt(asked))
    }

    /// Whether a signal came.
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
