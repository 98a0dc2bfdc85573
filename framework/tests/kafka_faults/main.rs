//! Exactly once on a real broker while requests and answers of transactions get lost, come late, or come twice.
//!
//! Each case is a run of its own application over the same input, through a proxy of its own that strikes one
//! request (see `tiderace_testing::proxy`). Afterwards the output is byte for byte that of a run that nobody
//! disturbed, which in turn is what a sort and a map make of the input; the epoch log holds every epoch once, in
//! order, chained, its offsets growing, its counts adding up. A case whose fault did not strike fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod case;
#[path = "../support/entries.rs"]
mod entries;
mod input;
mod late_ends;
mod lost;
mod timed_out;
mod weaker;
#[allow(dead_code, reason = "each test program uses a part")]
#[path = "../support/wrapped.rs"]
mod wrapped;
