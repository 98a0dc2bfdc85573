//! Reading a stretch of a topic from start to end, committed records only, for tools and reports.

use std::ops::ControlFlow;
use std::time::Duration;

use tiderace::connect::{Fetched, Log, RecordBatch, TopicPartition};
use tiderace::error::LogError;

/// Memory that a reader's client may buffer.
pub const READ_MEMORY: usize = 16 << 20;

/// How long a reader waits for records before it looks whether it is to stop.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// Hands the records of a partition from offset `from` up to what the log holds below `end` to `visit`, a
/// batch and an index each; `visit` may break off, and `wanted` is asked whenever nothing comes.
///
/// # Errors
/// Those of the log's reader.
pub fn read_partition(
    log: &dyn Log,
    partition: &TopicPartition,
    from: i64,
    end: i64,
    wanted: &dyn Fn() -> bool,
    visit: &mut dyn FnMut(&dyn RecordBatch, usize) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, LogError> {
    if from >= end {
        return Ok(ControlFlow::Continue(()));
    }
    let mut source = log.source(&[(partition.clone(), from)], READ_MEMORY)?;
    while wanted() {
        let batch = match source.poll(PATIENCE)? {
            Fetched::Batch(batch) => batch,
            Fetched::CaughtUp { .. } => return Ok(ControlFlow::Continue(())),
            Fetched::Nothing => continue,
        };
        for index in 0..batch.len() {
            if batch.get(index).offset >= end {
                return Ok(ControlFlow::Continue(()));
            }
            if visit(&*batch, index).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if batch.get(batch.len() - 1).offset + 1 >= end {
            return Ok(ControlFlow::Continue(()));
        }
    }
    Ok(ControlFlow::Break(()))
}
