//! Keyed state, windows and watermarks as timely operators.

pub mod batch;
pub mod exchange;
pub mod record;
