//! The plain writer of one topic.

use super::outputs::Outputs;
use crate::connect::{SinkRecord, Writer};
use crate::error::LogError;

/// What is sent becomes visible after so many bytes even if nobody flushes.
const COMMIT_AFTER: usize = 32 << 20;

/// Sends to one topic outside any transaction. After an error it is good for nothing: what had been
/// flushed is safe, and a new one goes on from there.
pub(super) struct PlainWriter {
    outputs: Outputs,
    uncommitted: usize,
    failed: bool,
}

impl PlainWriter {
    pub(super) fn new(outputs: Outputs) -> PlainWriter {
        PlainWriter {
            outputs,
            uncommitted: 0,
            failed: false,
        }
    }

    fn commit(&mut self) -> Result<(), LogError> {
        self.outputs.sync()?;
        self.outputs
            .commit()
            .map_err(super::commits::AppendError::into_cause)?;
        self.uncommitted = 0;
        Ok(())
    }

    fn usable(&self) -> Result<(), LogError> {
        if self.failed {
            return Err(LogError::Refused(
                "an earlier write has failed: open the topic's writer again".to_owned(),
            ));
        }
        Ok(())
    }
}

impl Writer for PlainWriter {
    fn send(&mut self, record: &SinkRecord<'_>) -> Result<(), LogError> {
        self.usable()?;
        let sent = self.outputs.add(record);
        // A record that is refused leaves those before it as they are.
        self.failed = matches!(
            sent,
            Err(LogError::CannotWrite { .. }
                | LogError::CannotRead { .. }
                | LogError::Damaged { .. })
        );
        self.uncommitted += sent?.bytes;
        if self.uncommitted >= COMMIT_AFTER {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.usable()?;
        let committed = self.commit();
        self.failed = committed.is_err();
        committed
    }
}
