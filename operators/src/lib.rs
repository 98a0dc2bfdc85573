//! Keyed state, windows and watermarks as timely operators.

pub mod batch;
pub mod dataflow;
pub mod exchange;
pub mod fold;
pub mod key;
pub mod record;
pub mod shard;
pub mod stream_time;
pub mod tally;
pub mod window;
pub mod window_aggregate;
