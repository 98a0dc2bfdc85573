//! Tiderace, a stream-processing framework: Kafka Streams' words in Rust's form, on timely dataflow, exactly once.
//!
//! A pipeline is described with a [`StreamsBuilder`] and built into a [`Topology`], a value that can be described,
//! checked, tested ([`testing::TopologyTestDriver`]) and run ([`Engine`]; for short programs [`Connection`]). It
//! reads and writes topics of a [`Log`](connect::Log): a Kafka cluster, or a directory.
//!
//! ```
#![doc = include_str!("../../examples/rides_per_zone.rs")]
//! ```
//!
//! # Layout
//!
//! - `dsl`: the words, a stage a file. Describes only; knows nothing of workers, epochs or logs.
//! - `topology`: the plan as a value, and its compilation to one worker's dataflow. Knows no engine: what runs it
//!   comes in through one trait.
//! - [`runtime`]: sources, epochs, commit, recovery. Knows no types of users and no DSL; `runtime/commit.rs` alone
//!   orders "state kept, outputs flushed, offsets committed".
//! - [`snapshot`]: where operator state is kept, and the thread that writes it. Knows nothing of what it keeps.
//! - [`connect`]: the [`Log`](connect::Log) seam with the embedded log and Kafka behind it. No log knows what an
//!   epoch means, and nothing above the seam knows which log it has.
//! - [`codec`]: bytes to values and back. [`config`]: settings, resolved once at the edge. [`web`]: metrics.
//! - [`testing`]: the same dataflow in the thread of a test, with a log in memory and a clock that is told.
//!
//! There is no global state, no signal handler, no clock read inside an operator, and no `unsafe` outside
//! `topology/compile.rs` and `connect/kafka/ffi`. `framework/tests/architecture.rs` checks these arrows.

#![warn(clippy::iter_over_hash_type)]

mod clock;
pub mod codec;
pub mod config;
pub mod connect;
mod connection;
mod dsl;
pub mod error;
#[cfg(feature = "failpoints")]
pub mod failpoint;
mod lock_file;
pub mod runtime;
pub mod snapshot;
pub mod testing;
mod topology;
pub mod web;

use std::time::Duration;

pub use config::{Config, Guarantee};
pub use connect::{Takes, Topic};
pub use connection::{Connection, TypedRecord};
pub use dsl::{
    Branches, GlobalKTable, KGroupedStream, KStream, KTable, StreamsBuilder, TimeWindowedKStream,
};
pub use error::{BuildError, LogError, ReadError, RunError};
pub use runtime::{
    Counts, Engine, EpochLogView, Progress, Report, Running, SharedProgress, StopHandle,
};
pub use tiderace_operators::aggregate::Change;
pub use tiderace_operators::key::{Data, Key, Windowed};
pub use tiderace_operators::record::EventTime;
pub use tiderace_operators::window::{TimeWindows, Window};
pub use topology::{Fingerprint, OnError, StatefulStep, Topology};

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

/// The programs of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ReadmePrograms;
