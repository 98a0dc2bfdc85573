//! A Kafka cluster as a [`Log`](super::Log): [`KafkaLog`].
//!
//! Everything that could lose or repeat a record is set here and cannot be overridden: committed records
//! only, absolute offsets, checked checksums, idempotent producers, transactions that are thrown away and
//! made anew when in doubt. Secrets of the configuration appear in no message and no `Debug`.

mod admin;
mod backlog;
mod calls;
mod client;
mod epochs;
mod errors;
mod ffi;
mod log;
mod properties;
mod reports;
mod source;
mod transactions;
mod turn;
mod writer;

pub use log::KafkaLog;
pub use properties::cluster_properties;
