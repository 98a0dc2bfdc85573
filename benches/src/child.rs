//! A side of the comparison in a process of its own, and what it cost from its start to its end.
//!
//! The parent starts this program again as `measured`, which starts the side as its only child and reports
//! that child's `getrusage`: the peak of resident memory is kept per parent, not per child.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::machine::OnCores;

/// What one run of a side cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Used {
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// From its start to its end.
    pub wall: Duration,
    /// The most memory it had resident, in bytes.
    pub peak_memory: u64,
}

/// Why a side has no cost.
#[derive(Debug, thiserror::Error)]
#[error("{command} failed: {said}")]
pub struct Failed {
    command: String,
    said: String,
}

/// Runs `side`, a command line, on the first `cores` of this process's cores and says what it cost.
///
/// # Errors
/// It cannot be started or fails.
pub fn run(side: &[String], cores: usize) -> Result<Used, Failed> {
    let failed = |said: String| Failed {
        command: side.join(" "),
        said: said.trim_end().to_owned(),
    };
    let this = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut measured = Command::new(this);
    measured
        .arg("measured")
        .arg(cores.to_string())
        .args(side)
        .stdin(Stdio::null());
    let output = measured
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!(
            "{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

/// Has this process killed when the thread that started it ends, so that a benchmark that is killed leaves none running.
///
/// # Errors
/// The system refuses.
pub fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// The process between: runs the command line behind the number of cores, prints its [`Used`] as JSON, and
/// gives back whether it succeeded. The side's own output goes to stderr, which the parent shows on failure.
///
/// # Errors
/// The command line cannot be run.
pub fn measured(arguments: &[String]) -> io::Result<bool> {
    let [cores, program, rest @ ..] = arguments else {
        return Err(io::Error::other(
            "`measured` takes a number of cores and a command line",
        ));
    };
    end_with_parent()?;
    let _pinned = OnCores::first(cores.parse().map_err(io::Error::other)?)?;
    let begin = Instant::now();
    let status = Command::new(program)
        .args(rest)
        .stdout(io::stderr())
        .status()?;
    let wall = begin.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time =
        |spent: TimeVal| Duration::new(spent.tv_sec() as u64, spent.tv_usec() as u32 * 1_000);
    let cpu = time(usage.user_time()) + time(usage.system_time());
    let used = Used {
        cpu,
        wall,
        peak_memory: usage.max_rss() as u64 * 1_024,
    };
    serde_json::to_writer(io::stdout(), &used)?;
    io::stdout().flush()?;
    Ok(status.success())
}
