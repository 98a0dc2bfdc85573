//! Snapshots against tables kept by the tests themselves, on whole, damaged, full and dying stores.

mod application;
mod damage;
mod directory;
mod dying;
mod kept;
mod memory;
mod oracle;
mod refused;
mod stores;
mod workers;

use std::sync::Arc;

use super::store::SnapshotStore;
use super::{LocalSnapshots, ObjectSnapshots};

/// A directory that is gone when the test ends.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Each back end, below a directory.
fn back_ends(directory: &std::path::Path) -> [(&'static str, Arc<dyn SnapshotStore>); 3] {
    let objects = |objects| {
        let spool = directory.to_owned();
        Arc::new(ObjectSnapshots::new(objects, "state/app", spool).unwrap())
    };
    let root = directory.join("objects");
    std::fs::create_dir(&root).unwrap();
    let files = object_store::local::LocalFileSystem::new_with_prefix(root).unwrap();
    [
        (
            "directory",
            Arc::new(LocalSnapshots::open(&directory.join("snapshots")).unwrap()),
        ),
        (
            "objects in memory",
            objects(Arc::new(object_store::memory::InMemory::new())),
        ),
        ("objects in files", objects(Arc::new(files))),
    ]
}
