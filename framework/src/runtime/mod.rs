//! Running a topology: workers, epochs, commit and recovery.

mod report;
mod state_dir;

pub use report::{Counts, Progress, Report, SharedProgress};
pub use state_dir::StateDir;
