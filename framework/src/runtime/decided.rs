//! What decisions do to a source: each takes effect at the start of its epoch, in a replay as it did live.

use tiderace_operators::dataflow::Epoch;

use super::entry::Decision;
use super::reading::Reading;
use super::slot::{Slot, Status};
use super::source::SourceStage;

/// Begins to read a slot, given by its number, if it is one of this source and this worker.
pub(crate) type Admit = Box<dyn Fn(usize, Slot) -> Option<Reading>>;

impl SourceStage {
    /// Lets the decisions of the open epoch take effect that have not yet.
    pub(super) fn apply_decisions(&mut self, epoch: Epoch) {
        let decisions = self.epochs.decisions(epoch, self.standing.applied);
        self.standing.applied += decisions.len();
        for decision in decisions {
            if matches!(decision, Decision::Active { .. } | Decision::Added { .. }) {
                // Whoever reads that partition: sources of other workers are to say the same.
                self.standing.ended = None;
            }
            match decision {
                Decision::Idle { topic, partition } => self.set(&topic, partition, Status::Idle),
                Decision::Active { topic, partition } => {
                    self.set(&topic, partition, Status::Active);
                }
                Decision::Ended { topic, partition } => self.set(&topic, partition, Status::Ended),
                Decision::Added {
                    topic, partition, ..
                } => self.admit(&topic, partition),
                Decision::End { stream_time } => self.standing.ended = Some(stream_time),
                Decision::Watermark { time } => {
                    self.standing.floor = self.standing.floor.max(time);
                }
            }
        }
    }

    fn reading(&mut self, topic: &str, partition: u32) -> Option<&mut Reading> {
        let is = |of: &&mut Reading| {
            *of.of.partition.topic == *topic && of.of.partition.partition == partition
        };
        self.readings.iter_mut().find(is)
    }

    fn set(&mut self, topic: &str, partition: u32, status: Status) {
        if let Some(reading) = self.reading(topic, partition) {
            reading.status = status;
        }
    }

    /// Begins to read a partition that was added. A replay reads it already: its start knew of it.
    fn admit(&mut self, topic: &str, partition: u32) {
        if self.reading(topic, partition).is_none() {
            let added = self.epochs.slot(topic, partition);
            let reading = added.and_then(|(slot, of)| (self.admit)(slot, of));
            self.readings.extend(reading);
        }
        self.set(topic, partition, Status::Active);
    }
}
