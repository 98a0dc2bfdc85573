//! Ready-made pipelines, and what the `tiderace` command needs around them: the taxi rides' vocabulary and
//! the loader of their records.

pub mod load;
pub mod read;
pub mod rides_per_zone;
pub mod taxi;
