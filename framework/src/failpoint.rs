//! The places in the engine where tests strike, numbered as the crash matrix numbers them: every boundary of
//! reading, commit and recovery. Compiled in with the feature `failpoints` only, never into a release.
//!
//! A new point is a line here, one in [`ALL`] unless runs that are exactly once do not pass it, and `failpoint!` at
//! its place; `framework/tests/crash_matrix` then asks for its line in the matrix.

pub use tiderace_operators::failpoint::{P02_MID_OPERATOR, Point};

use crate::connect::TransactionError;
use crate::error::LogError;

/// Records have been fetched and not been given to the dataflow.
pub static P01_POLLED: Point = Point::new("P01-polled");
/// An epoch is closed and complete, and its transaction has not begun.
pub static P03_EPOCH_CLOSED: Point = Point::new("P03-epoch-closed");
/// A transaction has begun and holds nothing.
pub static P04_BEGUN: Point = Point::new("P04-begun");
/// A record of the outputs has been sent; the number of passes says which.
pub static P05_RECORD_SENT: Point = Point::new("P05-record-sent");
/// The outputs have been sent, the entry of the epoch log has not.
pub static P07_OUTPUTS_SENT: Point = Point::new("P07-outputs-sent");
/// Outputs and entry are acknowledged, offsets have not been sent.
pub static P09_FLUSHED: Point = Point::new("P09-flushed");
/// A commit is about to be sent: in doubt, it was not applied.
pub static P10_BEFORE_COMMIT: Point = Point::new("P10-before-commit");
/// A commit has been sent and not been confirmed: in doubt, an embedded log has applied it.
pub static P11_BEHIND_COMMIT: Point = Point::new("P11-behind-commit");
/// An epoch has been replayed, and is about to be compared with its entry.
pub static P18_REPLAYED: Point = Point::new("P18-replayed");
/// Producers have been made, at a start or in doubt, and older ones fenced; nothing has been read.
pub static P19_FENCED: Point = Point::new("P19-fenced");
/// A record of the outputs has been written outside a transaction; the number of passes says which.
pub static P25_OUTPUT_WRITTEN: Point = Point::new("P25-output-written");
/// At least once: the outputs of an epoch are acknowledged, and the transaction of its entry has not begun.
pub static P26_OUTPUTS_ACKNOWLEDGED: Point = Point::new("P26-outputs-acknowledged");
/// At most once: the commit of an epoch is confirmed, and none of its outputs is written.
pub static P27_OUTPUTS_DUE: Point = Point::new("P27-outputs-due");
/// A source is about to lose a record, as a bug would have it.
pub static LOSE_RECORD: Point = Point::new("lose-record");

/// The points of the crash matrix, which are those of a run that is exactly once. The others are struck by
/// `framework/tests/delivery_modes`.
pub static ALL: [&Point; 11] = [
    &P01_POLLED,
    &P02_MID_OPERATOR,
    &P03_EPOCH_CLOSED,
    &P04_BEGUN,
    &P05_RECORD_SENT,
    &P07_OUTPUTS_SENT,
    &P09_FLUSHED,
    &P10_BEFORE_COMMIT,
    &P11_BEHIND_COMMIT,
    &P18_REPLAYED,
    &P19_FENCED,
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
