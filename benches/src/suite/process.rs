//! Parts of benchmarks that have a process of their own, because memory, or the time from exec, is what is measured.

use std::io;
use std::process::{Child, Command, ExitCode, Stdio};

use clap::Args;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{memory, startup};
use crate::Failure;

/// What the process does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Part {
    /// A side of `state` with one number of keys.
    State(memory::Growth),
    /// A run of `skew`.
    Skew(memory::SkewRun),
    /// A start of `startup`, until it is killed.
    Startup(startup::Start),
}

/// Options of the process.
#[derive(Args)]
pub(crate) struct PartOptions {
    part: String,
}

impl Part {
    /// Runs it and returns what it found.
    ///
    /// # Errors
    /// It cannot be started, or fails; with what it wrote to stderr.
    pub(super) fn run<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let output = self.command()?.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{self:?} ended with {}: {said}", output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Starts it and leaves it running.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn spawn(&self) -> io::Result<Child> {
        self.command()?.spawn()
    }

    fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["part", &serde_json::to_string(self)?])
            .stdin(Stdio::null());
        Ok(command)
    }
}

/// The process. What still runs in it when its part is done ends with it.
pub(crate) fn run_part(options: &PartOptions) -> Result<ExitCode, Failure> {
    match serde_json::from_str(&options.part)? {
        Part::State(growth) => say(&growth.run()?)?,
        Part::Skew(run) => say(&run.run()?)?,
        Part::Startup(start) => start.run()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn say(found: &impl Serialize) -> Result<(), Failure> {
    Ok(serde_json::to_writer(io::stdout(), found)?)
}
