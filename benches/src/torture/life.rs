//! One life of the pipeline's process: from its start to SIGKILL, or to its own end.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use crate::Failure;

/// A process under way; it is killed when dropped.
pub(super) struct Life {
    child: Child,
    began: Instant,
    report: PathBuf,
    messages: PathBuf,
}

impl Life {
    pub(super) fn begin(child: Child, report: PathBuf, messages: PathBuf) -> Self {
        Life {
            child,
            began: Instant::now(),
            report,
            messages,
        }
    }

    /// Time since it was started.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        Ok(self.child.try_wait()?)
    }

    /// Sends SIGKILL and waits for the end; whether it was that which it died of.
    pub(super) fn kill(mut self) -> Result<bool, Failure> {
        self.child.kill()?;
        Ok(self.child.wait()?.signal() == Some(9))
    }

    /// What it reported.
    pub(super) fn report(&self) -> Result<serde_json::Value, Failure> {
        Ok(serde_json::from_slice(&fs::read(&self.report)?)?)
    }

    /// The last lines of what it said.
    pub(super) fn last_words(&self) -> String {
        let said = fs::read_to_string(&self.messages).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
