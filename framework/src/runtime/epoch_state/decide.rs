//! The decisions of epochs: what sources wish for, what is asked by hand, where input ends.

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::failpoint;
use tiderace_operators::record::EventTime;

use super::State;
use crate::connect::TopicPartition;
use crate::runtime::entry::Decision;
use crate::runtime::slot::Status;
use crate::runtime::slot_state::SlotState;

impl State {
    pub(super) fn all_ended(&self) -> bool {
        self.slots
            .iter()
            .all(|of| of.status == Status::Ended && of.wish == Some(Status::Ended))
    }

    /// Whether the end of a bounded run's input is still to be decided. The last partition to end need not have changed:
    /// behind a restart it may have ended before, and its source may be the last one to look.
    fn ends(&self) -> bool {
        self.bounded && self.unended && self.all_ended()
    }

    pub(in crate::runtime) fn wants_decision(&self) -> bool {
        let asked = !self.asked.is_empty() || !self.grown.is_empty();
        let changes = || self.slots.iter().any(SlotState::wants_change);
        !self.stopping && (asked || changes() || self.ends())
    }

    /// Turns what sources wish for into decisions of a clean epoch.
    pub(super) fn decide(&mut self, epoch: Epoch) {
        if !self.wants_decision() {
            return;
        }
        let mut decisions = std::mem::take(&mut self.asked);
        decisions.extend(self.admit(epoch));
        for of in self.slots.iter_mut().filter(|of| of.wants_change()) {
            of.status = of.wish.unwrap_or(of.status);
            match of.status {
                Status::Active => {
                    failpoint!(crate::failpoint::P20_ACTIVE);
                }
                Status::Idle => {
                    failpoint!(crate::failpoint::P20_IDLE);
                }
                Status::Ended => {
                    failpoint!(crate::failpoint::P20_ENDED);
                }
            }
            let TopicPartition { topic, partition } = of.slot.partition.clone();
            let topic = topic.to_string();
            decisions.push(match of.status {
                Status::Active => Decision::Active { topic, partition },
                Status::Idle => Decision::Idle { topic, partition },
                Status::Ended => Decision::Ended { topic, partition },
            });
        }
        if self.ends() {
            self.unended = false;
            failpoint!(crate::failpoint::P20_END);
            let streams = self.slots.iter().filter(|of| !of.slot.table);
            let stream_time = streams
                .map(|of| of.stream_time)
                .max()
                .unwrap_or(EventTime::MIN);
            decisions.push(Decision::End { stream_time });
        }
        self.decisions.entry(epoch).or_default().extend(decisions);
        self.rouse_sources();
    }

    /// Notes what the log decided for the epoch that was opened.
    pub(super) fn replay_decisions(&mut self) {
        for decision in self.decisions.get(&self.open).cloned().unwrap_or_default() {
            let (topic, partition, status) = match decision {
                Decision::Idle { topic, partition } => (topic, partition, Status::Idle),
                Decision::Active { topic, partition } => (topic, partition, Status::Active),
                Decision::Ended { topic, partition } => (topic, partition, Status::Ended),
                // Who replays an addition has read of it at the start.
                Decision::Added { .. } | Decision::End { .. } | Decision::Watermark { .. } => {
                    continue;
                }
            };
            let is = |of: &&mut SlotState| {
                *of.slot.partition.topic == *topic && of.slot.partition.partition == partition
            };
            if let Some(of) = self.slots.iter_mut().find(is) {
                of.status = status;
            }
        }
    }
}
