//! Which topologies the command knows, by name.

use std::time::Duration;

use tiderace::Topology;
use tiderace_pipelines::rides_per_zone::{self, Parameters};

use crate::failure::Failure;

/// The topology of `rides-per-zone`.
pub(crate) fn rides_per_zone(window: Duration, grace: Duration) -> Result<Topology, Failure> {
    Ok(rides_per_zone::topology(&Parameters { window, grace })?)
}

/// The topology of a pipeline with its default parameters.
pub(crate) fn default_topology(pipeline: &str) -> Result<Topology, Failure> {
    match pipeline {
        "rides-per-zone" => Ok(rides_per_zone::topology(&Parameters::default())?),
        _ => Err(Failure::Refused(format!(
            "there is no pipeline `{pipeline}`"
        ))),
    }
}
