//! Exactly once, from outside: the real process is killed, stopped, started twice, started with other workers,
//! and what it wrote is compared, byte for byte, with what a run writes that nobody disturbs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod brokers;
mod calm;
#[allow(dead_code, reason = "each test file uses its part")]
#[path = "../command/mod.rs"]
mod command;
mod instances;
mod kills;
mod release;
mod resets;
mod restarts;
mod rows;
mod site;
mod stops;
