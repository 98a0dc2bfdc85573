//! Bad input of every kind: a clear error that says where, and nothing lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod conservation;
mod damage;
mod disk;
mod fickle;
mod outputs;
mod panics;
mod place;
mod poison;
mod policies;
mod programs;
mod records;
mod secrets;
mod starts;
