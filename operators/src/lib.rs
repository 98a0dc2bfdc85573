//! Keyed state, windows and watermarks as timely operators.

pub mod aggregate;
pub mod batch;
pub mod current;
pub mod dataflow;
pub mod exchange;
pub mod fold;
pub mod join_table;
pub mod key;
pub mod merge;
pub mod record;
pub mod shard;
pub mod store;
pub mod stream_time;
pub mod tally;
pub mod window;
pub mod window_aggregate;
