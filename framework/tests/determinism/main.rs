//! Promise 3: closed-window results are a function of the partitions' content alone, whatever the interleaving of
//! partitions, the cuts between epochs, the number of workers and the size of batches; they are what a sort and a map
//! make of it; and an epoch log is replayed to the same bytes by any number of workers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod driver;
mod engine;
mod floats;
mod log;
mod matrix;
mod replay;
mod sums;
