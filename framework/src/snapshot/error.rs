//! What can go wrong with snapshots.

use std::io;
use std::path::PathBuf;

use crate::error::{LogError, RunError};

/// Why a snapshot could not be kept, found or taken back. Outputs and the epoch log are never touched by it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// What lies there is not for this program: another application's, a newer version's, an unsafe directory.
    #[error("{0}")]
    Refused(String),
    /// Bytes that are not what was written.
    #[error("{}: damaged at byte {offset}: {reason}", object.display())]
    Damaged {
        /// The file.
        object: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What does not match.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", object.display())]
    Unreadable {
        /// The file or directory.
        object: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Writing failed so often that the keeper gave up.
    #[error(
        "cannot write to {}: {source}; gave up after {failures} failures in a row. What was committed and the \
         snapshot before are safe. Make room or mend the permissions, and start again", object.display()
    )]
    Unwritable {
        /// Where to.
        object: PathBuf,
        /// The system's word.
        source: io::Error,
        /// How many times in a row it failed.
        failures: u32,
    },
    /// State that is not what operators are to hand over, or do not take back. A bug of ours.
    #[error("{0}")]
    Bug(String),
}

impl SnapshotError {
    /// The exit code of a command that ends with this error, as `docs/contract.md` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            SnapshotError::Refused(_) => 64,
            SnapshotError::Damaged { .. } => 65,
            SnapshotError::Unreadable { .. } | SnapshotError::Unwritable { .. } => 73,
            SnapshotError::Bug(_) => 70,
        }
    }
}

impl From<SnapshotError> for RunError {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Refused(reason) => RunError::Refused(reason),
            SnapshotError::Damaged {
                object: file,
                offset,
                reason,
            } => LogError::Damaged {
                file,
                offset,
                reason,
            }
            .into(),
            SnapshotError::Unreadable {
                object: file,
                source,
            } => LogError::CannotRead { file, source }.into(),
            SnapshotError::Unwritable {
                object: file,
                source,
                ..
            } => LogError::CannotWrite { file, source }.into(),
            SnapshotError::Bug(reason) => RunError::Bug(reason),
        }
    }
}
