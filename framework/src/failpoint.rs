//! The places in the engine where tests strike, numbered as the crash matrix numbers them: every boundary of
//! reading, commit, snapshot and recovery, and of decisions about partitions. Compiled in with the feature `failpoints`
//! only, never into a release.
//!
//! A new point is a line here, one in [`ALL`] unless runs that are exactly once do not pass it, and `failpoint!` at
//! its place; `framework/tests/crash_matrix` then asks for its line in the matrix. P12 and P13 are late and repeated
//! requests of Kafka's, P21 to P24 happen to a whole process: those have tests of their own.

pub use tiderace_operators::failpoint::{P02_MID_OPERATOR, Point};

pub use crate::connect::embedded::P06_PARTLY_WRITTEN;
pub use crate::snapshot::points::{
    P14_COMPLETE, P14_HANDED_OVER, P14_HANDING_OVER, P15_APPENDED, P15_CREATED, P16_RENAMED,
    P16_SYNCED, P17_DELETING, P17_MERGED, P17_MERGING, P18_LISTED, P18_RESTORING, P18_VERIFIED,
};

use crate::connect::TransactionError;
use crate::error::LogError;

/// Records have been fetched and not been given to the dataflow.
pub static P01_POLLED: Point = Point::new("P01-polled");
/// An epoch is closed and complete, and no transaction holds anything of it.
pub static P03_EPOCH_CLOSED: Point = Point::new("P03-epoch-closed");
/// A transaction has begun and holds nothing; the one before may be under way.
pub static P04_BEGUN: Point = Point::new("P04-begun");
/// A record of the outputs has been sent; the number of passes says which.
pub static P05_RECORD_SENT: Point = Point::new("P05-record-sent");
/// The outputs have been sent, the entry of the epoch log has not.
pub static P07_OUTPUTS_SENT: Point = Point::new("P07-outputs-sent");
/// The entry of the epoch log has been sent, and nothing is acknowledged.
pub static P08_ENTRY_SENT: Point = Point::new("P08-entry-sent");
/// Outputs and entry are acknowledged, offsets have not been sent.
pub static P09_FLUSHED: Point = Point::new("P09-flushed");
/// A commit is about to be sent: in doubt, it was not applied.
pub static P10_BEFORE_COMMIT: Point = Point::new("P10-before-commit");
/// A commit has been sent and not been confirmed: in doubt, an embedded log has applied it.
pub static P11_BEHIND_COMMIT: Point = Point::new("P11-behind-commit");
/// A snapshot is wanted of an epoch that is about to close.
pub static P14_WANTED: Point = Point::new("P14-wanted");
/// The snapshot and the epoch log are read and every input is opened at its place; the start entry is not written.
pub static P18_SOUGHT: Point = Point::new("P18-sought");
/// An epoch has been replayed, and is about to be compared with its entry.
pub static P18_REPLAYED: Point = Point::new("P18-replayed");
/// Everything is replayed, and nothing new may be read yet.
pub static P18_LIVE: Point = Point::new("P18-live");
/// Producers have been made, at a start or in doubt, and older ones fenced; nothing has been read.
pub static P19_FENCED: Point = Point::new("P19-fenced");
/// Rows of a table are about to be read that no epoch holds yet.
pub static P20_TABLE_READ: Point = Point::new("P20-table-read");
/// A silent partition is about to be left out of the watermark.
pub static P20_IDLE: Point = Point::new("P20-idle");
/// A partition is about to be in the watermark again.
pub static P20_ACTIVE: Point = Point::new("P20-active");
/// A partition of a bounded run has been read to its end, which no epoch says yet.
pub static P20_ENDED: Point = Point::new("P20-ended");
/// All partitions of a bounded run have ended, which no epoch says yet.
pub static P20_END: Point = Point::new("P20-end");
/// A record of the outputs has been written outside a transaction; the number of passes says which.
pub static P25_OUTPUT_WRITTEN: Point = Point::new("P25-output-written");
/// At least once: the outputs of an epoch are acknowledged, and no transaction holds its entry.
pub static P26_OUTPUTS_ACKNOWLEDGED: Point = Point::new("P26-outputs-acknowledged");
/// At most once: the commit of an epoch is confirmed, and none of its outputs is written.
pub static P27_OUTPUTS_DUE: Point = Point::new("P27-outputs-due");
/// The entry of a reset is committed, and nothing is deleted of what it forgets.
pub static P28_RESET_COMMITTED: Point = Point::new("P28-reset-committed");
/// The snapshots that a reset forgets are deleted, and the entries before its own are not.
pub static P28_TRIMMING: Point = Point::new("P28-trimming");
/// Everything that a reset forgets is deleted.
pub static P28_TRIMMED: Point = Point::new("P28-trimmed");
/// A source is about to lose a record, as a bug would have it.
pub static LOSE_RECORD: Point = Point::new("lose-record");

/// The points of the crash matrix, which are those of a run that is exactly once. The others are struck by
/// `framework/tests/delivery_modes` (P25 to P27) and `framework/tests/resets` (P28).
pub static ALL: [&Point; 34] = [
    &P01_POLLED,
    &P02_MID_OPERATOR,
    &P03_EPOCH_CLOSED,
    &P04_BEGUN,
    &P05_RECORD_SENT,
    &P06_PARTLY_WRITTEN,
    &P07_OUTPUTS_SENT,
    &P08_ENTRY_SENT,
    &P09_FLUSHED,
    &P10_BEFORE_COMMIT,
    &P11_BEHIND_COMMIT,
    &P14_WANTED,
    &P14_HANDING_OVER,
    &P14_HANDED_OVER,
    &P14_COMPLETE,
    &P15_CREATED,
    &P15_APPENDED,
    &P16_SYNCED,
    &P16_RENAMED,
    &P17_DELETING,
    &P17_MERGING,
    &P17_MERGED,
    &P18_LISTED,
    &P18_VERIFIED,
    &P18_RESTORING,
    &P18_SOUGHT,
    &P18_REPLAYED,
    &P18_LIVE,
    &P19_FENCED,
    &P20_TABLE_READ,
    &P20_IDLE,
    &P20_ACTIVE,
    &P20_ENDED,
    &P20_END,
];

/// The error of a place that is made to fail.
pub(crate) fn broken() -> LogError {
    LogError::Client {
        location: "failpoint".to_owned(),
        reason: "made to fail".to_owned(),
    }
}

/// The error of a step of a transaction that is made to fail: in doubt if the action says `doubt`.
pub(crate) fn transaction(said: String) -> TransactionError {
    match said.as_str() {
        "doubt" => TransactionError::Doubt("made to fail".to_owned()),
        _ => broken().into(),
    }
}
