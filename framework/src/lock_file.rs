//! A lock file: one process holds it at a time, and its pid stands in it for the one that is refused.
//!
//! The lock is the kernel's (`flock`), so it ends with its holder however that dies; the pid is only for
//! the message. Knows nothing of what it protects.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

use crate::error::LogError;

/// A lock held until it is dropped.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
}

impl LockFile {
    /// Takes the lock at `path`, whose directory exists, or says who holds `what`.
    pub(crate) fn acquire(path: &Path, what: &str) -> Result<LockFile, LogError> {
        let cannot_write = |source| LogError::CannotWrite {
            file: path.to_owned(),
            source,
        };
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(cannot_write)?;
            match retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(LogError::InUse {
                        what: what.to_owned(),
                        pid: holder(path),
                    });
                }
                Err(error) => return Err(cannot_write(error.into())),
            }
            // The holder before may have deleted the file together with what it protects; then this lock
            // is on a file that nobody else will find.
            let locked = file.metadata().map_err(cannot_write)?;
            match std::fs::metadata(path) {
                Ok(found) if found.ino() == locked.ino() && found.dev() == locked.dev() => {}
                _ => continue,
            }
            let lock = LockFile { file };
            lock.file.set_len(0).map_err(cannot_write)?;
            let pid = format!("{}\n", std::process::id());
            lock.file
                .write_all_at(pid.as_bytes(), 0)
                .map_err(cannot_write)?;
            return Ok(lock);
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // A child process between fork and exec shares the lock; unlocking ends it for both. Failing at
        // either leaves a stale pid or a lock that closing the file ends.
        let _ = self.file.set_len(0);
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// The pid in a lock file that somebody holds; 0 if he does not get round to writing it.
fn holder(path: &Path) -> u32 {
    for _ in 0..100 {
        let mut text = String::new();
        let read = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
        if let (Ok(_), Some(line)) = (read, text.strip_suffix('\n'))
            && let Ok(pid) = line.parse()
        {
            return pid;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    0
}
