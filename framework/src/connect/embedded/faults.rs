//! Failing disks for this module's tests: without `cfg(test)` the check is nothing.

#[cfg(not(test))]
pub(super) fn check(_path: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use armed::{check, fail_after, heal};

#[cfg(test)]
mod armed {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;

    struct Failing {
        directory: PathBuf,
        /// How many changes still succeed.
        left: usize,
        refused: bool,
    }

    /// Directories whose disk is failing.
    static FAILING: Mutex<Vec<Failing>> = Mutex::new(Vec::new());

    /// Lets the next `changes` changes under `directory` succeed; all behind them find the disk full.
    pub(in super::super) fn fail_after(directory: &Path, changes: usize) {
        heal(directory);
        FAILING
            .lock()
            .expect("no test panics in here")
            .push(Failing {
                directory: directory.to_owned(),
                left: changes,
                refused: false,
            });
    }

    /// Ends what [`fail_after`] began, and says whether a change has been refused.
    pub(in super::super) fn heal(directory: &Path) -> bool {
        let mut failing = FAILING.lock().expect("no test panics in here");
        let refused = failing
            .iter()
            .any(|disk| disk.directory == directory && disk.refused);
        failing.retain(|disk| disk.directory != directory);
        refused
    }

    pub(in super::super) fn check(path: &Path) -> io::Result<()> {
        let mut failing = FAILING.lock().expect("no test panics in here");
        let Some(disk) = failing
            .iter_mut()
            .find(|disk| path.starts_with(&disk.directory))
        else {
            return Ok(());
        };
        if disk.left == 0 {
            disk.refused = true;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        disk.left -= 1;
        Ok(())
    }
}
