//! The one seam between the command and the engine: which topologies there are, and how a run is started.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tiderace::config::Config;
use tiderace::connect::Log;
use tiderace::runtime::{Report, SharedProgress};

use crate::failure::Failure;

// ---- Stand-ins with the engine's own signatures, until it is there. ----

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct RunError(String);
impl RunError {
    pub(crate) fn exit_code(&self) -> u8 {
        70
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BuildError(String);

pub(crate) struct Topology;
impl Topology {
    pub(crate) fn to_mermaid(&self) -> String {
        String::new()
    }
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}
impl fmt::Display for Topology {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

#[derive(Clone)]
pub(crate) struct StopHandle;
impl StopHandle {
    pub(crate) fn stop(&self) {}
}

pub(crate) struct Running;
impl Running {
    pub(crate) fn stop_handle(&self) -> StopHandle {
        StopHandle
    }
    pub(crate) fn progress(&self) -> SharedProgress {
        SharedProgress::default()
    }
    pub(crate) fn wait(&self, _: Duration) -> bool {
        true
    }
    pub(crate) fn join(self) -> Result<Report, RunError> {
        Err(RunError("there is no engine yet".into()))
    }
}

// ---- The seam itself. ----

/// The topology of `rides-per-zone`.
pub(crate) fn rides_per_zone(window: Duration, grace: Duration) -> Result<Topology, Failure> {
    let _ = (window, grace);
    Ok(Topology)
}

/// The topology of a pipeline with its default parameters.
pub(crate) fn default_topology(pipeline: &str) -> Result<Topology, Failure> {
    match pipeline {
        "rides-per-zone" => rides_per_zone(Duration::from_secs(600), Duration::from_secs(60)),
        _ => Err(Failure::Refused(format!(
            "there is no pipeline `{pipeline}`"
        ))),
    }
}

/// Starts a topology on a log.
pub(crate) fn start(
    topology: &Topology,
    log: Arc<dyn Log>,
    config: &Config,
) -> Result<Running, Failure> {
    let _ = (topology, log, config);
    Ok(Running)
}
