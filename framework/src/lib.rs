//! Tiderace, a stream-processing framework.

pub mod codec;
pub mod config;
pub mod connect;
mod dsl;
pub mod error;
#[cfg(feature = "failpoints")]
pub mod failpoint;
mod lock_file;
pub mod runtime;
pub mod testing;
mod topology;
pub mod web;

use std::time::Duration;

pub use config::Config;
pub use connect::{Takes, Topic};
pub use dsl::{
    Branches, GlobalKTable, KGroupedStream, KStream, KTable, StreamsBuilder, TimeWindowedKStream,
};
pub use error::{BuildError, LogError, RunError};
pub use runtime::{Counts, Engine, Progress, Report, Running, SharedProgress, StopHandle};
pub use tiderace_operators::aggregate::Change;
pub use tiderace_operators::key::{Data, Key, Windowed};
pub use tiderace_operators::record::EventTime;
pub use tiderace_operators::window::{TimeWindows, Window};
pub use topology::{Fingerprint, OnError, Topology};

/// A duration of whole milliseconds.
pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A duration of whole seconds.
pub const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A duration of whole minutes.
pub const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}
