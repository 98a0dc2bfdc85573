//! The state directory of an application, `DIR/state/APP`, with the lock that keeps a second instance on
//! the same directory out. The same for every log; what fences instances elsewhere is the log's business.

use std::path::{Path, PathBuf};

use crate::connect::is_topic_name;
use crate::error::LogError;
use crate::lock_file::LockFile;

/// An application's state directory, locked until this is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: LockFile,
}

impl StateDir {
    /// Creates `data_dir/state/application_id` if it is missing, and locks it.
    ///
    /// # Errors
    /// [`LogError::InUse`] with the holder's pid, [`LogError::CannotWrite`], or [`LogError::Refused`] for an
    /// application id that cannot be a directory's name.
    pub fn lock(data_dir: &Path, application_id: &str) -> Result<StateDir, LogError> {
        if !is_topic_name(application_id) {
            return Err(LogError::Refused(format!(
                "application id `{application_id}` is not valid: it takes 1 to 249 letters, digits, `.`, `_` or `-`"
            )));
        }
        let path = data_dir.join("state").join(application_id);
        std::fs::create_dir_all(&path).map_err(|source| LogError::CannotWrite {
            file: path.clone(),
            source,
        })?;
        let what = format!("application `{application_id}` in {}", data_dir.display());
        let lock = LockFile::acquire(&path.join("lock"), &what)?;
        Ok(StateDir { path, _lock: lock })
    }

    /// The directory, for snapshots.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
