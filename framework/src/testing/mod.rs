//! Testing a topology without a broker: [`TopologyTestDriver`].
//!
//! It is the real dataflow on one worker in the thread of the test, with the real sources, ticker and committer
//! around it; only the log is in memory and the clock stands still until it is told.

mod driver;
mod input;
mod memory;
mod output;
mod record;
mod store;

pub use driver::TopologyTestDriver;
pub use record::{RawRecord, TestRecord};
pub use store::Store;
