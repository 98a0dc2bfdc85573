//! Topics that are given partitions while the application follows them.
//!
//! Their partitions are counted now and then. What was added is read from its first record on, from the start of the
//! next epoch: a decision like any other, so that a replay does the same at the same place. From there on it counts in the
//! watermark, not before. Grouped state does not care which partition a record came from: keys are divided by a
//! hash of their own. Rows of a table do: behind the growth the rows of one key may lie in two partitions, and nothing
//! tells which of them is the latest, so a table's topic must not grow.
//!
//! Outputs go on into the partitions that a topic had at the start, so that within a life a key stays where it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::record::EventTime;

use super::entry::{Decision, Input};
use super::epoch_state::State;
use super::epochs::Epochs;
use super::inputs::{check_id, describe, grown_table};
use super::remedy::{Remedy, remedy};
use super::slot::{Slot, Status};
use super::slot_state::SlotState;
use super::worker::ToCommitter;
use crate::connect::{Log, TopicPartition};
use crate::error::RunError;
use crate::topology::{SourceTopic, Topology};

/// Looks for partitions that were added.
pub(super) struct Growth {
    application_id: String,
    read: Vec<Read>,
    /// Topics that are written, with how many partitions they had when it was last said.
    written: BTreeMap<String, usize>,
    epochs: Epochs,
    /// Who ends the run when a topic has become what cannot be read.
    to_committer: Sender<ToCommitter>,
}

/// A topic that is read.
struct Read {
    /// Its number among the sources.
    source: usize,
    of: SourceTopic,
    /// What is known of it since it was read first.
    input: Option<Input>,
    known: usize,
    idle_timeout: Duration,
}

impl Growth {
    /// Looks at the topics of a life over `slots`, which were first read as `inputs` tell.
    pub(super) fn new(
        application_id: &str,
        topology: &Topology,
        inputs: &[Input],
        slots: &[Slot],
        written: &HashMap<String, u32>,
        idle_timeout: Duration,
        life: (Epochs, Sender<ToCommitter>),
    ) -> Self {
        let read = |(source, of): (usize, SourceTopic)| Read {
            source,
            input: inputs.iter().find(|it| it.topic == of.topic).cloned(),
            known: slots.iter().filter(|slot| slot.source == source).count(),
            idle_timeout: of.idle_timeout.unwrap_or(idle_timeout),
            of,
        };
        let (epochs, to_committer) = life;
        let written = written.iter();
        Growth {
            application_id: application_id.to_owned(),
            read: topology
                .sources()
                .into_iter()
                .enumerate()
                .map(read)
                .collect(),
            written: written
                .map(|(topic, count)| (topic.clone(), *count as usize))
                .collect(),
            epochs,
            to_committer,
        }
    }

    /// Looks once. What cannot be found out now is looked at again; what will not mend ends the run.
    pub(super) fn look(&mut self, log: &Arc<dyn Log>) {
        if let Err(error) = self.look_at_inputs(&**log) {
            if remedy(&error) == Remedy::End {
                // If the committer is gone the run has failed already, for an earlier reason.
                let _ = self.to_committer.send(ToCommitter::Failed(error));
                return;
            }
            tracing::warn!(%error, "whether topics have grown is not known; it is looked at again");
            // The outputs would have each question wait as long.
            return;
        }
        self.look_at_outputs(&**log);
    }

    fn look_at_inputs(&mut self, log: &dyn Log) -> Result<(), RunError> {
        for read in &mut self.read {
            let topic = &read.of.topic;
            // One that is gone is told of by whoever reads it.
            let Some(now) = log.partitions(topic)?.filter(|now| *now > read.known) else {
                continue;
            };
            if read.of.table {
                return Err(grown_table(topic, read.known, now));
            }
            let described = describe(log, topic)?;
            if described.partitions.len() <= read.known {
                // Another broker has answered, which has not heard of it yet.
                continue;
            }
            if let Some(input) = &read.input {
                check_id(&self.application_id, input, &described)?;
            }
            let added = described.partitions.iter().enumerate().skip(read.known);
            let slot = |(number, offsets): (usize, &crate::connect::PartitionOffsets)| Slot {
                source: read.source,
                partition: TopicPartition::new(
                    topic.as_str(),
                    u32::try_from(number).expect("partitions are counted in u32"),
                ),
                table: false,
                after: 0,
                start: offsets.first,
                largest: EventTime::MIN,
                status: Status::Active,
                table_end: 0,
                end: None,
                windows: Arc::clone(&read.of.windows),
                idle_timeout: read.idle_timeout,
            };
            tracing::info!(
                topic,
                from = read.known,
                to = described.partitions.len(),
                "the topic has grown: its new partitions are read from their first record on"
            );
            self.epochs.grow(added.map(slot));
            read.known = described.partitions.len();
        }
        Ok(())
    }

    fn look_at_outputs(&mut self, log: &dyn Log) {
        for (topic, known) in &mut self.written {
            let Ok(now) = log.partitions(topic) else {
                return;
            };
            if let Some(now) = now.filter(|now| *now > *known) {
                tracing::warn!(
                    topic,
                    from = *known,
                    to = now,
                    "the output has grown: this run goes on with the partitions that it had at the start, the next \
                     start takes all, and keys move to others then"
                );
                *known = now;
            }
        }
    }
}

impl Epochs {
    /// Has partitions read from the next epoch on.
    fn grow(&self, slots: impl Iterator<Item = Slot>) {
        let state = &mut *self.state();
        state.grown.extend(slots);
        state.wake();
    }

    /// A partition that the run reads, with its number.
    pub(super) fn slot(&self, topic: &str, partition: u32) -> Option<(usize, Slot)> {
        let state = self.state();
        let is = |of: &SlotState| {
            *of.slot.partition.topic == *topic && of.slot.partition.partition == partition
        };
        let number = state.slots.iter().position(is)?;
        Some((number, state.slots[number].slot.clone()))
    }
}

impl State {
    /// Takes partitions in that were added, for an epoch that is clean.
    pub(super) fn admit(&mut self, epoch: Epoch) -> Vec<Decision> {
        let admit = |slot: Slot| {
            let decision = Decision::Added {
                topic: slot.partition.topic.to_string(),
                partition: slot.partition.partition,
                start: slot.start,
            };
            self.slots.push(SlotState::new(Slot {
                after: epoch - 1,
                ..slot
            }));
            decision
        };
        std::mem::take(&mut self.grown)
            .into_iter()
            .map(admit)
            .collect()
    }
}
