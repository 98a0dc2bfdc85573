//! A run that fails restarts by itself, from the last commit, where that may help; one that stands still says where.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod faulty;
mod job;
#[allow(dead_code, reason = "each test program uses a part")]
#[path = "../bad_input/place.rs"]
mod place;
mod restarts;
mod stalls;
mod unreachable;
#[path = "../support/wrapped.rs"]
mod wrapped;
