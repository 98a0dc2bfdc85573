//! The directory: who may touch it, what a crash leaves there, and a disk that takes a write halfway.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::application::{Application, start, stored};
use super::directory;
use crate::snapshot::spool::Spool;
use crate::snapshot::store::SnapshotStore;
use crate::snapshot::{LocalSnapshots, SnapshotError};

fn refusal(path: &Path) -> String {
    match LocalSnapshots::open(path) {
        Err(SnapshotError::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn directory_and_files_are_this_users_alone() {
    let directory = directory();
    let path = directory.path().join("snapshots");
    let store: Arc<dyn SnapshotStore> = Arc::new(LocalSnapshots::open(&path).unwrap());
    let mut application = Application::new(1, &["windows"]);
    application.put("windows", b"key", Some(b"value"));
    let (keeper, _) = start(&store, &application);
    application.snapshot(&keeper, 1);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&path), 0o700);
    let files: Vec<_> = std::fs::read_dir(&path).unwrap().collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn a_directory_that_everybody_may_write_to_is_refused() {
    let directory = directory();
    let path = directory.path().join("snapshots");
    drop(LocalSnapshots::open(&path).unwrap());
    allow(&path, 0o707);
    let reason = refusal(&path);
    assert!(
        reason.contains("written by everybody") && reason.contains("chmod o-w"),
        "{reason}"
    );
    allow(&path, 0o700);
    drop(LocalSnapshots::open(&path).unwrap());
    allow(directory.path(), 0o777);
    let reason = refusal(&path);
    assert!(
        reason.contains(&format!("chmod o-w {}`", directory.path().display())),
        "{reason}"
    );
}

#[test]
fn a_symbolic_link_or_a_file_in_its_place_is_refused() {
    let directory = directory();
    let (real, link) = (directory.path().join("real"), directory.path().join("link"));
    drop(LocalSnapshots::open(&real).unwrap());
    symlink(&real, &link).unwrap();
    assert!(refusal(&link).contains("symbolic link"));
    assert!(refusal(&link.join("snapshots")).contains("symbolic link"));
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(refusal(&file).contains("not a directory"));
}

#[test]
fn drafts_that_a_crash_left_go_at_the_start_but_not_for_a_reader() {
    let directory = directory();
    let path = directory.path().join("snapshots");
    let store = LocalSnapshots::open(&path).unwrap();
    let mut draft = store.create().unwrap();
    draft.append(b"half").unwrap();
    // As a kill leaves it.
    std::mem::forget(draft);
    std::fs::write(path.join("notes"), "of the operator").unwrap();
    let count = || std::fs::read_dir(&path).unwrap().count();
    assert_eq!(count(), 2);
    drop(LocalSnapshots::open_to_read(&path).unwrap());
    assert_eq!(count(), 2);
    let store = LocalSnapshots::open(&path).unwrap();
    assert_eq!(count(), 1);
    assert_eq!(store.list().unwrap().len(), 1);
    drop(store.create().unwrap());
    assert_eq!(count(), 1, "a draft that is given up is gone");
}

#[test]
fn a_reader_beside_the_writer_finds_what_is_published() {
    let directory = directory();
    let path = directory.path().join("snapshots");
    let store: Arc<dyn SnapshotStore> = Arc::new(LocalSnapshots::open(&path).unwrap());
    let mut application = Application::new(2, &["windows"]);
    let (keeper, _) = start(&store, &application);
    application.put("windows", b"key", Some(b"value"));
    application.snapshot(&keeper, 1);
    let reader: Arc<dyn SnapshotStore> = Arc::new(LocalSnapshots::open_to_read(&path).unwrap());
    assert_eq!(
        stored(&reader, &application),
        Some((1, application.state.clone()))
    );
}

/// A file of 4 KiB that cannot grow takes the first page of a longer write.
#[test]
fn what_was_written_halfway_is_cut_off_again() {
    let file = memfd_create("disk", MemfdFlags::ALLOW_SEALING).unwrap();
    let file = File::from(file);
    file.set_len(4096).unwrap();
    fcntl_add_seals(&file, SealFlags::GROW).unwrap();
    let watched = file.try_clone().unwrap();
    let mut spool = Spool::new(file);
    spool.append(b"good").unwrap();
    assert!(spool.append(&[7; 6000]).is_err());
    assert_eq!(spool.length(), 4);
    assert_eq!(watched.metadata().unwrap().len(), 4, "it is cut back");
}
