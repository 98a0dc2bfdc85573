//! What a run goes on from: the state at the close of an epoch, or nothing.

use serde::{Deserialize, Serialize};
use tiderace_operators::dataflow::Epoch;
use tiderace_operators::record::EventTime;

/// The state that a run begins with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Basis {
    /// The epoch at whose close the state was this; 0 is before the first.
    pub(crate) epoch: Epoch,
    /// What sources know beside how far each partition was read.
    pub(crate) standing: Standing,
}

/// What outlives an epoch in sources, beside how far each partition was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// Whether stream records were read since the input last ended.
    pub(crate) unended: bool,
    /// The largest stream time of all partitions, if the input has ended.
    pub(crate) ended: Option<EventTime>,
    /// The watermark set by hand.
    pub(crate) floor: Option<EventTime>,
}
