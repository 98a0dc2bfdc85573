//! Snapshots of operator state: where they are kept.

mod error;
mod local;
mod object;
mod spool;
mod store;
#[cfg(test)]
mod tests;

pub use error::SnapshotError;
pub use local::LocalSnapshots;
pub use object::ObjectSnapshots;
/// The crate that [`ObjectSnapshots`] speaks through.
pub use object_store;
pub use store::{Draft, ReadAt, SnapshotStore, Stored};
