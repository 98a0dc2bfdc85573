//! Running a topology: workers, epochs, commit and recovery.
//!
//! The engine meets the DSL in [`Topology`](crate::Topology) alone. `commit.rs` is the one place that orders
//! "state kept, output flushed, offsets committed".

mod ahead;
mod alarm;
mod arrived;
mod backoff;
mod basis;
mod check;
mod clock;
mod commit;
#[cfg(feature = "failpoints")]
mod commit_points;
mod committed;
mod compaction;
mod compatible;
mod crew;
mod dead_letter;
mod decided;
mod digest;
mod engine;
mod entry;
mod epoch_log;
mod epoch_state;
mod epoch_view;
mod epochs;
mod fetch;
mod growth;
mod heritage;
mod in_flight;
mod inputs;
mod keeping;
mod kept;
mod lead;
mod limits;
mod losses;
mod merge;
mod offsets;
mod outbox;
mod pace;
mod periodic;
mod pickup;
mod poison;
mod queue;
mod reading;
mod recover;
mod recovery;
mod rejections;
mod remedy;
mod replay;
mod report;
mod rerun;
mod reset;
mod retained;
mod room;
mod run;
mod scan;
mod schedule;
mod slot;
mod slot_state;
mod source;
mod staged;
mod standing;
mod state_dir;
mod supervisor;
mod ticker;
mod trim;
mod turn;
mod watchdog;
mod worker;

/// What the test driver drives by hand.
pub(crate) mod driving {
    pub(crate) use super::arrived::Arrived;
    pub(crate) use super::basis::Basis;
    pub(crate) use super::clock::Clock;
    pub(crate) use super::commit::{CommitParts, Committer, Delivery, Waits};
    pub(crate) use super::epochs::Epochs;
    pub(crate) use super::in_flight::InFlight;
    pub(crate) use super::limits::Limits;
    pub(crate) use super::outbox::Outbox;
    pub(crate) use super::poison::Poison;
    pub(crate) use super::queue::Queues;
    pub(crate) use super::recovery::Recovering;
    pub(crate) use super::report::Progress;
    pub(crate) use super::slot::{Slot, Status};
    pub(crate) use super::worker::{Dataflow, Plan, Watch, build};
}

pub use check::{Verdict, check, check_with_inputs};
pub use compatible::Change;
pub use engine::{Engine, Running, StopHandle};
pub use epoch_view::{EpochLogView, LoggedEntry};
pub use recovery::Recovery;
pub use report::{Counts, NodeCounts, Progress, Report, SharedProgress, Stall};
pub use rerun::{Replay, ReplayedEpoch};
pub use reset::{Move, Reset, StartPoint};
pub use state_dir::StateDir;
