//! Snapshots in a directory of this machine.
//!
//! A draft is a file `+new-NUMBER`, synced, renamed, and the directory synced behind it. Such a file that is there
//! when the directory is opened is what a crash has left, and goes.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tiderace_operators::failpoint;

use super::error::SnapshotError;
use super::spool::Spool;
use super::store::{Draft, ReadAt, SnapshotStore, Stored};

/// How the name of a draft begins.
const DRAFT: &str = "+new-";

/// A directory as a store of snapshots. Its files are this user's alone: state may hold what records hold.
#[derive(Debug)]
pub struct LocalSnapshots {
    path: PathBuf,
    drafts: AtomicU64,
}

impl LocalSnapshots {
    /// Opens a directory to write to it, creating it if it is missing, and removes what a crash has left there. The
    /// caller holds the lock of the state directory.
    ///
    /// # Errors
    /// [`SnapshotError::Refused`] if others could change it: the directory or the one it lies in is a symbolic link
    /// or writable by everybody. [`SnapshotError::Unwritable`], [`SnapshotError::Unreadable`].
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let unwritable = |source| SnapshotError::Unwritable {
            object: path.to_owned(),
            source,
            failures: 1,
        };
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => sync_parent(path).map_err(unwritable)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unwritable(error)),
        }
        let store = LocalSnapshots::open_to_read(path)?;
        let mut removed = 0;
        for entry in std::fs::read_dir(path).map_err(unwritable)? {
            let entry = entry.map_err(unwritable)?;
            if entry.file_name().to_string_lossy().starts_with(DRAFT) {
                std::fs::remove_file(entry.path()).map_err(unwritable)?;
                removed += 1;
            }
        }
        if removed > 0 {
            tracing::info!(
                directory = %path.display(),
                removed,
                "removed files of snapshots that a crash left unfinished"
            );
        }
        Ok(store)
    }

    /// Opens a directory that another process may be writing to: removes nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open); also when it is not there.
    pub fn open_to_read(path: &Path) -> Result<Self, SnapshotError> {
        if let Some(parent) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
            refuse_unsafe(parent)?;
        }
        refuse_unsafe(path)?;
        Ok(LocalSnapshots {
            path: path.to_owned(),
            drafts: AtomicU64::new(0),
        })
    }

    fn new_file(&self) -> io::Result<(PathBuf, File)> {
        loop {
            let number = self.drafts.fetch_add(1, Ordering::Relaxed);
            let path = self.path.join(format!("{DRAFT}{number}"));
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match file {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => return file.map(|file| (path, file)),
            }
        }
    }
}

/// Refuses a directory that somebody else could put something into, or lead elsewhere.
fn refuse_unsafe(path: &Path) -> Result<(), SnapshotError> {
    let found = std::fs::symlink_metadata(path).map_err(|source| SnapshotError::Unreadable {
        object: path.to_owned(),
        source,
    })?;
    let shown = path.display();
    let reason = if found.is_symlink() {
        format!(
            "{shown} is a symbolic link, which could be led elsewhere: put a directory in its place, or name the \
             directory it leads to with --data-dir"
        )
    } else if !found.is_dir() {
        format!("{shown} is not a directory: move it away, or name another with --data-dir")
    } else if found.mode() & 0o002 != 0 && found.mode() & 0o1000 == 0 {
        format!(
            "{shown} can be written by everybody (mode {:o}), so its state cannot be trusted: look whether it is \
             what you left there, then `chmod o-w {shown}`",
            found.mode() & 0o7777
        )
    } else {
        return Ok(());
    };
    Err(SnapshotError::Refused(reason))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

impl SnapshotStore for LocalSnapshots {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<Stored>> {
        let mut stored = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let found = match entry.metadata() {
                Ok(found) => found,
                // Deleted since, by the process that writes here.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let Ok(name) = entry.file_name().into_string()
                && found.is_file()
                && !name.starts_with(DRAFT)
            {
                stored.push(Stored {
                    name,
                    bytes: found.len(),
                });
            }
        }
        Ok(stored)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        let file = File::open(self.path.join(name))?;
        let bytes = file.metadata()?.len();
        Ok(Box::new(LocalFile { file, bytes }))
    }

    fn create(&self) -> io::Result<Box<dyn Draft>> {
        let (path, file) = self.new_file()?;
        let draft = LocalDraft {
            spool: Spool::new(file),
            path: Some(path),
            directory: self.path.clone(),
            unsynced: false,
        };
        failpoint!(super::points::P15_CREATED, |_| Err(super::points::broken()));
        Ok(Box::new(draft))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        failpoint!(
            super::points::P17_DELETING,
            |_| Err(super::points::broken())
        );
        match std::fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

struct LocalFile {
    file: File,
    bytes: u64,
}

impl ReadAt for LocalFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

struct LocalDraft {
    spool: Spool,
    /// `None` once it is renamed.
    path: Option<PathBuf>,
    directory: PathBuf,
    /// A sync has failed. The kernel says so once: a second sync would succeed without what the first one lost.
    unsynced: bool,
}

impl Draft for LocalDraft {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.spool.append(bytes)?;
        failpoint!(super::points::P15_APPENDED);
        Ok(())
    }

    fn publish(&mut self, name: &str) -> io::Result<()> {
        if self.unsynced {
            return Err(io::Error::other("the disk has lost parts of the file"));
        }
        let synced = self.spool.file().sync_all();
        self.unsynced = synced.is_err();
        synced?;
        failpoint!(super::points::P16_SYNCED, |_| Err(super::points::broken()));
        if let Some(path) = &self.path {
            std::fs::rename(path, self.directory.join(name))?;
            self.path = None;
        }
        failpoint!(super::points::P16_RENAMED, |_| Err(super::points::broken()));
        File::open(&self.directory)?.sync_all()
    }
}

impl Drop for LocalDraft {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // One that cannot be removed goes when the directory is opened the next time.
            let _ = std::fs::remove_file(path);
        }
    }
}
