//! Every change to the disk, with an error that names the file. Nothing else in the embedded log calls
//! the system's writing functions, so a test can make any of them fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::faults;
use crate::error::LogError;

/// Turns the system's word into an error about writing `file`.
pub(super) fn cannot_write(file: &Path) -> impl Fn(io::Error) -> LogError {
    move |source| LogError::CannotWrite {
        file: file.to_owned(),
        source,
    }
}

/// Turns the system's word into an error about reading `file`.
pub(super) fn cannot_read(file: &Path) -> impl Fn(io::Error) -> LogError {
    move |source| LogError::CannotRead {
        file: file.to_owned(),
        source,
    }
}

/// An error about committed bytes of `file` that are not what was written.
pub(super) fn damaged(file: &Path, offset: u64, reason: impl Into<String>) -> LogError {
    LogError::Damaged {
        file: file.to_owned(),
        offset,
        reason: reason.into(),
    }
}

/// Creates a directory unless it is there; its parent exists.
pub(super) fn create_directory(path: &Path) -> Result<(), LogError> {
    let made = faults::check(path).and_then(|()| std::fs::create_dir(path));
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.map_err(cannot_write(path)),
    }
}

/// Opens a file to read and write, creating it if it is missing.
pub(super) fn open_for_writing(path: &Path) -> Result<File, LogError> {
    faults::check(path)
        .and_then(|()| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
        })
        .map_err(cannot_write(path))
}

/// Writes all of `bytes` at `position`; a failure may leave a part of them.
pub(super) fn write_at(
    file: &File,
    path: &Path,
    bytes: &[u8],
    position: u64,
) -> Result<(), LogError> {
    let write = || {
        // Crossing RLIMIT_FSIZE raises SIGXFSZ, which ends a process that does not catch it. Signals belong
        // to the program, so the limit is kept here.
        let limit = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
        if position.saturating_add(bytes.len() as u64) > limit {
            return Err(Errno::FBIG.into());
        }
        if let Err(full) = faults::check(path) {
            file.write_all_at(&bytes[..bytes.len() / 2], position)?;
            return Err(full);
        }
        file.write_all_at(bytes, position)
    };
    write().map_err(cannot_write(path))
}

/// Waits until a file's bytes and length are on the disk.
pub(super) fn sync(file: &File, path: &Path) -> Result<(), LogError> {
    faults::check(path)
        .and_then(|()| file.sync_data())
        .map_err(cannot_write(path))
}

/// Waits until the names in a directory are on the disk.
pub(super) fn sync_directory(path: &Path) -> Result<(), LogError> {
    faults::check(path)
        .and_then(|()| File::open(path))
        .and_then(|directory| directory.sync_all())
        .map_err(cannot_write(path))
}

/// Shortens a file to `length` bytes.
pub(super) fn truncate(file: &File, path: &Path, length: u64) -> Result<(), LogError> {
    faults::check(path)
        .and_then(|()| file.set_len(length))
        .map_err(cannot_write(path))
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), LogError> {
    match faults::check(path).and_then(|()| std::fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot_write(path)(error)),
        _ => Ok(()),
    }
}

/// Removes a directory and everything in it, if it is there.
pub(super) fn remove_directory(path: &Path) -> Result<(), LogError> {
    match faults::check(path).and_then(|()| std::fs::remove_dir_all(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot_write(path)(error)),
        _ => Ok(()),
    }
}

/// Gives the file at `from` the name `to`, in place of what had it.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), LogError> {
    faults::check(to)
        .and_then(|()| std::fs::rename(from, to))
        .map_err(cannot_write(to))
}

/// Puts a file with these bytes at `path`, whole or not at all, and returns it open.
/// The caller syncs the directory.
pub(super) fn publish(
    path: &Path,
    bytes: &[u8],
    prepare: impl Fn(&File),
) -> Result<File, LogError> {
    let new = beside(path);
    let file = open_for_writing(&new)?;
    truncate(&file, &new, 0)?;
    write_at(&file, &new, bytes, 0)?;
    sync(&file, &new)?;
    prepare(&file);
    rename(&new, path)?;
    Ok(file)
}

/// The name under which a new version of `path` is prepared. No topic can be called so.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push("+new");
    path.with_file_name(name)
}

/// The committed bytes of a file from `position` on, exactly as many as `buffer` takes; a file that is
/// shorter is damaged.
pub(super) fn read_at(
    file: &File,
    path: &Path,
    buffer: &mut [u8],
    position: u64,
) -> Result<(), LogError> {
    match file.read_exact_at(buffer, position) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let length = file.metadata().map_err(cannot_read(path))?.len();
            let reason = format!(
                "the file ends here, {} bytes more are committed",
                position + buffer.len() as u64 - length.min(position)
            );
            Err(damaged(path, length, reason))
        }
        read => read.map_err(cannot_read(path)),
    }
}

/// A file's length in bytes.
pub(super) fn length(file: &File, path: &Path) -> Result<u64, LogError> {
    Ok(file.metadata().map_err(cannot_read(path))?.len())
}
