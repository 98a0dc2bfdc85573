//! Folders of tests: temporary ones where syncing costs nothing, and copies of whole ones.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// A temporary folder, in memory where the system has a place for that: for tests that sync more than they do anything
/// else.
///
/// # Panics
/// It cannot be made.
pub fn temporary() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("a temporary folder can be made")
}

/// Copies a folder with all that is in it, and who may do what with its folders: snapshots lie in one that is their
/// owner's alone.
///
/// # Panics
/// Something cannot be read or written; nothing may change in `from` meanwhile.
pub fn copy(from: &Path, to: &Path) {
    let done = fs::create_dir_all(to)
        .and_then(|()| fs::metadata(from))
        .and_then(|is| fs::set_permissions(to, is.permissions()));
    done.expect("a folder can be made like another one");
    for entry in fs::read_dir(from).expect("a folder can be read") {
        let path = entry.expect("a folder can be read").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).expect("a file can be copied");
        }
    }
}
