//! A file that is appended to, and cut back to its last good length when that fails.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// The file and how far it is good.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    length: u64,
}

impl Spool {
    /// An empty file.
    pub(super) fn new(file: File) -> Self {
        Spool { file, length: 0 }
    }

    /// Appends all of the bytes or none.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.write(bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // The next attempt writes over the same place; cutting gives the room back until then.
                let _ = self.file.set_len(self.length);
                Err(error)
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        // Crossing RLIMIT_FSIZE raises SIGXFSZ, which ends a process that does not catch it.
        let limit = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
        if self.length.saturating_add(bytes.len() as u64) > limit {
            return Err(Errno::FBIG.into());
        }
        self.file.write_all_at(bytes, self.length)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// How many bytes were appended.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}
