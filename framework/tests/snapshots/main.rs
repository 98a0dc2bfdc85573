//! State is kept in snapshots and taken back from them: after a clean end nothing is replayed, after a crash what the
//! newest whole one lacks, by any number of workers, and only by a program that the state fits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod job;
#[allow(dead_code, reason = "each test program uses a part")]
#[path = "../bad_input/place.rs"]
mod place;
mod restarts;
mod retention;
