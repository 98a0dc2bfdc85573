//! Which topologies the command knows, by name.

use std::collections::BTreeMap;
use std::time::Duration;

use tiderace::Topology;
use tiderace_pipelines::rides_per_zone::{self, Parameters};

use crate::failure::Failure;

/// The pipelines.
pub(crate) const PIPELINES: [&str; 1] = ["rides-per-zone"];

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

/// The topology of a pipeline with the parameters that an epoch log names.
pub(crate) fn of_parameters(
    pipeline: &str,
    logged: &BTreeMap<String, String>,
) -> Result<Topology, Failure> {
    let parameters = match pipeline {
        "rides-per-zone" => Parameters::of_logged(logged),
        _ => None,
    };
    let parameters = parameters.ok_or_else(|| {
        Failure::Refused(format!(
            "the epochs were not written by the pipeline `{pipeline}`: its parameters are others than {logged:?}"
        ))
    })?;
    Ok(rides_per_zone::topology(&parameters)?)
}
