//! Running a topology: workers, epochs, commit and recovery.
//!
//! The engine meets the DSL in [`Topology`](crate::Topology) alone. `commit.rs` is the one place that orders
//! "state kept, output flushed, offsets committed".

mod clock;
mod commit;
mod dead_letter;
mod engine;
mod entry;
mod epochs;
mod fetch;
mod merge;
mod queue;
mod recover;
mod report;
mod retained;
mod source;
mod state_dir;
mod ticker;
mod worker;

pub use engine::{Engine, Running, StopHandle};
pub use report::{Counts, Progress, Report, SharedProgress};
pub use state_dir::StateDir;
