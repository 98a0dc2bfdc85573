//! The commits file: the one place that says what is committed. [`Commits`] follows it, and appends to it.
//!
//! An appender holds the file's lock from its first byte until the record is synced, and a follower takes
//! it shared for the moment of reading: so nobody sees a commit that could still fail. Now and then an
//! appender puts a new file, which begins with a checkpoint of all that was said, in the old one's place;
//! whoever has the old one open sees by its link count of zero that it must look again.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

use super::catalog::{Catalog, Change};
use super::disk::{self, cannot_read, damaged};
use super::format::{FRAME_HEAD, Format, PREAMBLE, frame, unframe};
use crate::error::LogError;

const FORMAT: Format = Format {
    magic: *b"TIDEcmts",
    version: 1,
};
/// Records are replaced by a checkpoint when they take this many bytes, and eight times the checkpoint's.
const CHECKPOINT_AFTER: u64 = if cfg!(test) { 2 << 10 } else { 1 << 20 };

/// So many looks that find an append under way are given up; the next one waits for its end.
const REFUSALS: u32 = 50;

/// Why a change was not appended, or may have been.
#[derive(Debug)]
pub(super) enum AppendError {
    /// It was not and will not be.
    Failed(LogError),
    /// It may have been: only reading the file again will tell.
    Doubt(LogError),
}

impl From<LogError> for AppendError {
    fn from(error: LogError) -> Self {
        AppendError::Failed(error)
    }
}

impl AppendError {
    /// The cause, for whom the difference does not matter.
    pub(super) fn into_cause(self) -> LogError {
        match self {
            AppendError::Failed(cause) | AppendError::Doubt(cause) => cause,
        }
    }
}

/// What the commits file says, up to a position in it.
pub(super) struct Commits {
    path: PathBuf,
    writable: bool,
    file: Arc<File>,
    catalog: Catalog,
    /// Behind the last whole record read.
    position: u64,
    /// Where the records begin, behind the checkpoint.
    records: u64,
    /// Whether the file's name may not be on the disk yet.
    unsynced_name: bool,
    /// How many looks in a row have found an append under way.
    refusals: u32,
}

/// A lock on a file, until it is dropped.
struct Locked(Arc<File>);

impl Drop for Locked {
    fn drop(&mut self) {
        // Failing leaves the lock to the closing of the file.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Commits {
    /// Puts an empty commits file into the log's directory unless there is one. One that is missing where
    /// there are topics is damage.
    pub(super) fn create_if_missing(directory: &Path) -> Result<(), LogError> {
        let path = directory.join("commits");
        if path.exists() {
            return Ok(());
        }
        let _locked = lock_directory(directory)?;
        if path.exists() {
            return Ok(());
        }
        if let Some(topic) = any_topic(directory)? {
            let reason = format!("the file is missing, but there is `{}`", topic.display());
            return Err(damaged(&path, 0, reason));
        }
        disk::publish(&path, &image(&Catalog::default()), |_| ())?;
        disk::sync_directory(directory)
    }

    /// Whether the log's directory must have a commits file: one that somebody is about to create has none and
    /// no topic either. Topics are looked for first, since the file is there before any of them.
    pub(super) fn expected(directory: &Path) -> Result<bool, LogError> {
        Ok(directory.exists()
            && (any_topic(directory)?.is_some() || directory.join("commits").exists()))
    }

    /// Reads the commits file of a log's directory.
    pub(super) fn open(directory: &Path) -> Result<Commits, LogError> {
        Commits::load(directory.join("commits"), false)
    }

    /// Reads the commits file of a log's directory, to append to it.
    pub(super) fn open_to_append(directory: &Path) -> Result<Commits, LogError> {
        Commits::load(directory.join("commits"), true)
    }

    /// What is committed, as of the last look.
    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Waits for an append under way and reads what is new.
    pub(super) fn refresh(&mut self) -> Result<(), LogError> {
        let _locked = lock(&self.file, &self.path, FlockOperation::LockShared)?;
        if self.is_replaced()? {
            *self = Commits::load(self.path.clone(), self.writable)?;
            return Ok(());
        }
        self.read_on().map(|_| ())
    }

    /// Reads what is new, if no append is under way, and says whether there was anything. Costs one system
    /// call if there is not. Among many appenders it waits now and then, or it might never have its turn.
    pub(super) fn poll(&mut self) -> Result<bool, LogError> {
        let metadata = self.file.metadata().map_err(cannot_read(&self.path))?;
        if metadata.nlink() == 0 {
            let before = std::mem::take(&mut self.catalog);
            *self = Commits::load(self.path.clone(), self.writable)?;
            return Ok(self.catalog != before);
        }
        if metadata.len() == self.position {
            return Ok(false);
        }
        let _locked = if self.refusals < REFUSALS {
            let Some(locked) = try_lock_shared(&self.file, &self.path)? else {
                self.refusals += 1;
                return Ok(false);
            };
            locked
        } else {
            lock(&self.file, &self.path, FlockOperation::LockShared)?
        };
        self.refusals = 0;
        let before = self.position;
        self.read_on()?;
        Ok(self.position > before)
    }

    /// Adds a change and syncs it. When this returns, the change is durable and visible.
    pub(super) fn append(&mut self, change: Change) -> Result<(), AppendError> {
        let _locked = self.lock_to_append()?;
        let mut catalog = self.catalog.clone();
        let record = frame(&change.encode());
        if let Err(reason) = catalog.apply(change) {
            let path = self.path.display();
            return Err(LogError::Refused(format!("{path} cannot take a record: {reason}")).into());
        }
        if self.unsynced_name {
            disk::sync_directory(self.directory())?;
            self.unsynced_name = false;
        }
        if let Err(cause) = disk::write_at(&self.file, &self.path, &record, self.position) {
            // If this fails too, a part of a record stays, which the next appender cuts off.
            let _ = disk::truncate(&self.file, &self.path, self.position);
            return Err(cause.into());
        }
        if let Err(cause) = disk::sync(&self.file, &self.path) {
            return Err(
                match disk::truncate(&self.file, &self.path, self.position) {
                    Ok(()) => AppendError::Failed(cause),
                    Err(_) => AppendError::Doubt(cause),
                },
            );
        }
        self.catalog = catalog;
        self.position += record.len() as u64;
        if self.position - self.records > CHECKPOINT_AFTER.max(8 * self.records)
            && let Err(error) = self.write_checkpoint()
        {
            tracing::warn!(%error, "the commits file goes on growing");
        }
        Ok(())
    }

    fn load(path: PathBuf, writable: bool) -> Result<Commits, LogError> {
        loop {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(writable)
                .open(&path);
            let file = Arc::new(file.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => damaged(&path, 0, "the file is missing"),
                _ if writable => disk::cannot_write(&path)(error),
                _ => cannot_read(&path)(error),
            })?);
            let _locked = lock(&file, &path, FlockOperation::LockShared)?;
            let mut commits = Commits {
                path: path.clone(),
                writable,
                file,
                catalog: Catalog::default(),
                position: 0,
                records: 0,
                unsynced_name: true,
                refusals: 0,
            };
            if !commits.is_replaced()? {
                commits.read_checkpoint()?;
                commits.read_on()?;
                return Ok(commits);
            }
        }
    }

    /// Takes the lock of the file that has the name now, reads what is new, and cuts a torn tail off.
    fn lock_to_append(&mut self) -> Result<Locked, LogError> {
        assert!(
            self.writable,
            "appending is for whom opened the file to append"
        );
        let locked = loop {
            let locked = lock(&self.file, &self.path, FlockOperation::LockExclusive)?;
            if !self.is_replaced()? {
                break locked;
            }
            drop(locked);
            *self = Commits::load(self.path.clone(), true)?;
        };
        let length = self.read_on()?;
        if length > self.position {
            tracing::warn!(file = %self.path.display(), from = self.position, to = length, "cut off a torn tail");
            disk::truncate(&self.file, &self.path, self.position)?;
        }
        Ok(locked)
    }

    fn directory(&self) -> &Path {
        self.path
            .parent()
            .expect("the commits file lies in the log's directory")
    }

    /// Whether a checkpoint has taken this file's name.
    fn is_replaced(&self) -> Result<bool, LogError> {
        Ok(self
            .file
            .metadata()
            .map_err(cannot_read(&self.path))?
            .nlink()
            == 0)
    }

    fn read_checkpoint(&mut self) -> Result<(), LogError> {
        let bytes = self.read_from(0)?;
        FORMAT.check(&bytes, &self.path)?;
        let (file, at) = (&self.path, PREAMBLE as u64);
        let payload = unframe(&bytes[PREAMBLE..], file, at)?.ok_or_else(|| {
            damaged(
                file,
                bytes.len() as u64,
                "the file ends within its checkpoint",
            )
        })?;
        self.catalog = Catalog::decode(payload)
            .ok_or_else(|| damaged(file, at, "the checkpoint makes no sense"))?;
        self.position = at + (FRAME_HEAD + payload.len()) as u64;
        self.records = self.position;
        Ok(())
    }

    /// Reads whole records from `position` on, and returns the file's length.
    fn read_on(&mut self) -> Result<u64, LogError> {
        let bytes = self.read_from(self.position)?;
        let length = self.position + bytes.len() as u64;
        let mut rest = bytes.as_slice();
        while let Some(payload) = unframe(rest, &self.path, self.position)? {
            let change = Change::decode(payload).ok_or("it makes no sense");
            change
                .and_then(|change| self.catalog.apply(change))
                .map_err(|reason| {
                    damaged(
                        &self.path,
                        self.position,
                        format!("the record does not fit: {reason}"),
                    )
                })?;
            self.position += (FRAME_HEAD + payload.len()) as u64;
            rest = &rest[FRAME_HEAD + payload.len()..];
        }
        Ok(length)
    }

    fn read_from(&self, position: u64) -> Result<Vec<u8>, LogError> {
        let length = disk::length(&self.file, &self.path)?;
        let Some(missing) = length.checked_sub(position) else {
            return Err(damaged(
                &self.path,
                length,
                format!("the file ends here, it has been {position} bytes long"),
            ));
        };
        let mut bytes = vec![0; missing as usize];
        disk::read_at(&self.file, &self.path, &mut bytes, position)?;
        Ok(bytes)
    }

    /// Puts a file with nothing but a checkpoint in this one's place. Its lock is held until its name is
    /// synced, so that nobody appends to a file that a crash could take away.
    fn write_checkpoint(&mut self) -> Result<(), LogError> {
        let bytes = image(&self.catalog);
        let file = Arc::new(disk::publish(&self.path, &bytes, |file| {
            let _ = flock(file, FlockOperation::LockExclusive);
        })?);
        let _locked = Locked(Arc::clone(&file));
        self.file = file;
        self.position = bytes.len() as u64;
        self.records = self.position;
        self.unsynced_name = true;
        disk::sync_directory(self.directory())?;
        self.unsynced_name = false;
        Ok(())
    }
}

/// A commits file that holds a checkpoint and no record.
fn image(catalog: &Catalog) -> Vec<u8> {
    let mut bytes = FORMAT.preamble().to_vec();
    bytes.extend(frame(&catalog.encode()));
    bytes
}

/// A topic's directory, if there is one.
fn any_topic(directory: &Path) -> Result<Option<PathBuf>, LogError> {
    for entry in std::fs::read_dir(directory).map_err(cannot_read(directory))? {
        let path = entry.map_err(cannot_read(directory))?.path();
        if path.is_dir() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Serializes the creating and deleting of topics, and of the commits file.
pub(super) fn lock_directory(directory: &Path) -> Result<impl Drop, LogError> {
    let opened = File::open(directory).map_err(cannot_read(directory))?;
    lock(&Arc::new(opened), directory, FlockOperation::LockExclusive)
}

fn lock(file: &Arc<File>, path: &Path, operation: FlockOperation) -> Result<Locked, LogError> {
    retry_on_intr(|| flock(file, operation)).map_err(|error| cannot_read(path)(error.into()))?;
    Ok(Locked(Arc::clone(file)))
}

fn try_lock_shared(file: &Arc<File>, path: &Path) -> Result<Option<Locked>, LogError> {
    match retry_on_intr(|| flock(file, FlockOperation::NonBlockingLockShared)) {
        Ok(()) => Ok(Some(Locked(Arc::clone(file)))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(cannot_read(path)(error.into())),
    }
}
