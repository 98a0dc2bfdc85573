//! Other engines that run the same workloads on the same broker, each built on demand and run as a process of its own.
//! Their programs and settings lie in `benches/peers/`, with a README.

mod kafka_streams;
mod maven;

pub use kafka_streams::{
    Guarantee, KafkaStreams, Measured, Membership, Run, RunError, Started, Store, Workload,
};
pub use maven::BuildError;
