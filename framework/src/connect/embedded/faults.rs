//! Failing disks for this module's tests: without `cfg(test)` the check is nothing.

use std::io;
use std::path::Path;

#[cfg(not(test))]
pub(super) fn check(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use armed::{check, fail_after, heal};

#[cfg(test)]
mod armed {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;

    /// Directories whose disk is failing, with the number of changes that still succeed.
    static FAILING: Mutex<Vec<(PathBuf, usize)>> = Mutex::new(Vec::new());

    /// Lets the next `changes` changes under `directory` succeed; all behind them find the disk full.
    pub(in super::super) fn fail_after(directory: &Path, changes: usize) {
        heal(directory);
        FAILING.lock().expect("no test panics in here").push((directory.to_owned(), changes));
    }

    /// Ends what [`fail_after`] began, and says whether the disk had become full.
    pub(in super::super) fn heal(directory: &Path) -> bool {
        let mut failing = FAILING.lock().expect("no test panics in here");
        let was_full = failing.iter().any(|(path, left)| path == directory && *left == 0);
        failing.retain(|(path, _)| path != directory);
        was_full
    }

    pub(in super::super) fn check(path: &Path) -> io::Result<()> {
        let mut failing = FAILING.lock().expect("no test panics in here");
        match failing.iter_mut().find(|(directory, _)| path.starts_with(directory)) {
            Some((_, 0)) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Some((_, left)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
