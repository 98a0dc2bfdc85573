//! The one seam between the command and the engine: which topologies there are, and how a run is started.

use std::sync::Arc;
use std::time::Duration;

use tiderace::config::Config;
use tiderace::connect::Log;
use tiderace::runtime::{Report, SharedProgress};
use tiderace::{RunError, StreamsBuilder, Topic, Topology};
use tiderace_pipelines::taxi::Ride;

use crate::failure::Failure;

/// The default length of a window.
const WINDOW: Duration = Duration::from_secs(600);
/// The default grace of a window.
const GRACE: Duration = Duration::from_secs(60);

// ---- Stand-ins with the engine's own signatures, until it is there. ----

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
        Err(RunError::Bug("there is no engine yet".into()))
    }
}

// ---- The seam itself. ----

/// The topology of `rides-per-zone`.
pub(crate) fn rides_per_zone(window: Duration, grace: Duration) -> Result<Topology, Failure> {
    let _ = (window, grace);
    const RIDES: Topic<String, Ride> =
        Topic::json("rides").timestamp(|ride| ride.tpep_pickup_datetime.into());
    const LATE: Topic<String, Ride> = Topic::json("rides-per-zone-late");
    let builder = StreamsBuilder::new("rides-per-zone");
    builder
        .stream(RIDES)
        .filter(|ride| ride.trip_distance > 0.0)
        .to(LATE);
    Ok(builder.build()?)
}

/// The topology of a pipeline with its default parameters.
pub(crate) fn default_topology(pipeline: &str) -> Result<Topology, Failure> {
    match pipeline {
        "rides-per-zone" => rides_per_zone(WINDOW, GRACE),
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
