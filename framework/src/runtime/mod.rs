//! Running a topology: workers, epochs, commit and recovery.

mod report;

pub use report::{Counts, Progress, Report, SharedProgress};
