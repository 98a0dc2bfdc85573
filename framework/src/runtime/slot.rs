//! A partition that a run reads, and whether it counts in the watermark.

use std::sync::Arc;
use std::time::Duration;

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::record::EventTime;

use crate::connect::TopicPartition;
pub(crate) use crate::snapshot::InputStatus as Status;

/// A partition that the run reads.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Number of the source among those of the topology.
    pub(crate) source: usize,
    pub(crate) partition: TopicPartition,
    pub(crate) table: bool,
    /// The last epoch in which it does not count in the watermark, as the run that wrote that did not know it.
    pub(crate) after: Epoch,
    /// Offset at which the run begins to read.
    pub(crate) start: i64,
    /// The largest timestamp that was read before.
    pub(crate) largest: EventTime,
    /// Its status where the run begins.
    pub(crate) status: Status,
    /// Of a table: the end that must be reached before streams are read.
    pub(crate) table_end: i64,
    /// Of a bounded run: where the input ends.
    pub(crate) end: Option<i64>,
    /// The windowed steps that its records reach, by node; none of a table's.
    pub(crate) windows: Arc<[usize]>,
    /// How long it is silent before it is left out of the watermark.
    pub(crate) idle_timeout: Duration,
}
