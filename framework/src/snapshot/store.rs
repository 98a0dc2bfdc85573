//! Where snapshots lie: names to bytes, each published whole or not at all.
//!
//! Knows nothing of what is in the bytes. Names are plain: letters, digits, `.` and `-`.

use std::io;

/// Somewhere to keep snapshots. Used by one writer at a time, which the lock of the state directory sees to.
pub trait SnapshotStore: Send + Sync {
    /// Where this is, for messages: a directory, an address.
    fn location(&self) -> String;

    /// Everything that is published, in no order.
    ///
    /// # Errors
    /// The store cannot be read.
    fn list(&self) -> io::Result<Vec<Stored>>;

    /// Opens what is published under a name.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is nothing, or the store cannot be read.
    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>>;

    /// Begins something new, which nobody sees until it is published.
    ///
    /// # Errors
    /// The store cannot be written.
    fn create(&self) -> io::Result<Box<dyn Draft>>;

    /// Deletes what is published under a name, if it is there.
    ///
    /// # Errors
    /// The store cannot be written.
    fn delete(&self, name: &str) -> io::Result<()>;
}

/// Something published, in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Something published, opened to be read by any number of threads.
pub trait ReadAt: Send + Sync {
    /// Its length in bytes.
    fn bytes(&self) -> u64;

    /// Fills the buffer from a byte on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if it ends before, or the store cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Something being written. Dropped without being published, it is gone.
pub trait Draft: Send {
    /// Appends bytes: all of them, or none when it fails. It may be tried again then.
    ///
    /// # Errors
    /// There is no room, or the store cannot be written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes it last and be seen under a name, both before this returns; what had the name before is replaced at
    /// once. May be tried again when it fails, and may have been done all the same.
    ///
    /// # Errors
    /// The store cannot be written.
    fn publish(&mut self, name: &str) -> io::Result<()>;
}
