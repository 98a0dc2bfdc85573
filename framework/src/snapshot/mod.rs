//! Snapshots of operator state: where they are kept, and the thread that writes them.
//!
//! A snapshot is a manifest and a chain of data files, a base and the deltas on it. It exists once its manifest is
//! published, which is the last thing done, and only when its epoch is committed. Nothing here is needed to be
//! right: whatever is damaged is passed over for the snapshot before, and a replay of the epoch log makes up for it.
//!
//! ```text
//! open:   Snapshots::open(store)  ->  newest(epoch)  ->  Found { loaded, warnings }
//! run:    SnapshotKeeper::start(snapshots, loaded, settings, on_failure)
//! each:   want(e)  ->  operators: chunk, done; runtime: sources(e), committed(e)  ->  published
//! end:    finish(timeout), drop
//! ```
//!
//! # Files
//!
//! - What is written: `manifest.rs` and `format.rs` (the bytes), `name.rs` (what they are called), `chain.rs` (which of
//!   a snapshot's entries count). Where to: `store.rs`, behind which are `local.rs` and `object.rs`.
//! - Who reads: `snapshots.rs` finds, `data_file.rs` verifies, `restore.rs` gives entries back.
//! - Who writes: `shared.rs` gathers, `writer.rs` writes, `merge.rs` makes new bases, `collect.rs` says what goes.
//!
//! Knows nothing of what entries mean, of Kafka or of how an epoch is committed.

mod attempt;
mod chain;
mod collect;
mod data_file;
mod data_writer;
mod error;
mod format;
mod hex;
mod keeper;
mod local;
mod manifest;
mod merge;
mod name;
mod object;
#[cfg(feature = "failpoints")]
pub mod points;
mod restore;
mod shared;
mod snapshots;
mod spool;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use error::SnapshotError;
pub use keeper::{Settings, SnapshotKeeper, Step};
pub use local::LocalSnapshots;
pub use manifest::{InputPlace, InputStatus, LogPlace, Manifest, StepState};
pub use object::ObjectSnapshots;
/// The crate that [`ObjectSnapshots`] speaks through.
pub use object_store;
pub use shared::{OnFailure, Published};
pub use snapshots::{Checked, Found, Loaded, Snapshots};
pub use store::{Draft, ReadAt, SnapshotStore, Stored};
