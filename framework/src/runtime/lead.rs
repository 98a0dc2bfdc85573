//! How far partitions may be read ahead of the one that the watermark waits for.
//!
//! Windows close by the watermark, and that is the stream time of the partition furthest behind. What others read
//! beyond it stays in the state of windowed steps, so a partition may be read by `max.lead.records` beyond the partition
//! that is furthest behind and has something to read, and waits there. Records are counted, not time: they are what
//! takes memory, and a row of state is made by a record at least.
//!
//! Partitions wait for each other only if they reach the same windowed step. Nobody waits for one that is idle, has
//! ended, or was read to its end: such a one has nothing that anybody could wait for. Whoever waits does so for one of a
//! smaller stream time, so of those that have something to read the one with the smallest never waits: it is read,
//! its fetching goes on under pressure ([`awaited`](super::reading::awaited)), and in the end it passes the others or is
//! read to its end. So somebody always goes on. When records are taken decides nothing but which epoch they fall into,
//! which the epoch log tells; a replay does not ask.

use std::collections::VecDeque;

use tiderace_operators::record::EventTime;

use super::epoch_state::State;
use super::epochs::Epochs;
use super::reading::Reading;
use super::slot::Status;
use super::slot_state::SlotState;

/// In how many steps, about, the bound is measured: a partition that goes on and on leaves a step behind for each
/// part of it.
const STEPS: u64 = 64;

/// How far a partition has come, as its source says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) stream_time: EventTime,
    /// Records taken since the run began, replayed ones included.
    pub(crate) taken: u64,
    /// Whether the watermark waits for records that are there: it counts, and was not read to its end.
    pub(crate) has_more: bool,
}

/// What a partition has taken, by stream time, as far back as the watermark has not come.
#[derive(Clone, Debug, Default)]
pub(super) struct Lead {
    /// Stream times, ascending, and how many records had been taken when that was reached.
    steps: VecDeque<(EventTime, u64)>,
    /// How many had been taken at the steps that are forgotten.
    settled: u64,
    taken: u64,
}

impl Lead {
    /// Notes how many records were taken and the stream time with them. Steps of fewer than `grain` records are put
    /// together, under the later time, so that what lies beyond is never counted too low.
    fn note(&mut self, stream_time: EventTime, taken: u64, grain: u64) {
        if taken == self.taken {
            return;
        }
        self.taken = taken;
        let before = self.steps.len().checked_sub(2).map(|at| self.steps[at].1);
        let before = before.unwrap_or(self.settled);
        match self.steps.back_mut() {
            Some(last) if last.0 >= stream_time => last.1 = taken,
            Some(last) if taken - before <= grain => *last = (stream_time, taken),
            _ => self.steps.push_back((stream_time, taken)),
        }
    }

    /// Forgets the steps that the watermark has passed.
    fn settle(&mut self, watermark: EventTime) {
        let passed = self.steps.partition_point(|(time, _)| *time <= watermark);
        if let Some((_, taken)) = self.steps.drain(..passed).next_back() {
            self.settled = taken;
        }
    }

    /// Records taken beyond a stream time.
    fn beyond(&self, time: EventTime) -> u64 {
        let within = self.steps.partition_point(|(at, _)| *at <= time);
        let within = within.checked_sub(1).map(|at| self.steps[at].1);
        self.taken - within.unwrap_or(self.settled)
    }
}

impl SlotState {
    /// Takes in what the slot's source says; `limit` is the most that it may be ahead.
    pub(super) fn hear(&mut self, told: Told, limit: u64) {
        self.stream_time = told.stream_time;
        self.has_more = told.has_more;
        if !self.slot.windows.is_empty() {
            self.lead
                .note(told.stream_time, told.taken, limit.div_ceil(STEPS));
        }
    }
}

impl State {
    /// The stream times of the partition that the watermark waits for and of the one that others wait for, among
    /// those that reach one of these windowed steps.
    fn least(&self, windows: &[usize]) -> (EventTime, Option<EventTime>) {
        let meets = |of: &&SlotState| of.slot.windows.iter().any(|step| windows.contains(step));
        let active = || {
            let active = self.slots.iter().filter(|of| of.status == Status::Active);
            active.filter(meets)
        };
        let watermark = active().map(|of| of.stream_time).min();
        let behind = active().filter(|of| of.has_more).map(|of| of.stream_time);
        (watermark.unwrap_or(EventTime::MAX), behind.min())
    }
}

impl Epochs {
    /// Says for the partitions of a source how many records may be taken of each before it has to wait for others.
    pub(super) fn limit_lead(&self, readings: &mut [Reading]) {
        let Some(first) = readings.first() else {
            return;
        };
        if first.of.windows.is_empty() {
            return;
        }
        let state = &mut *self.state();
        let limit = state.limits.lead;
        let (watermark, behind) = state.least(&first.of.windows);
        for reading in readings {
            let lead = &mut state.slots[reading.slot].lead;
            lead.settle(watermark);
            reading.room = behind.map_or(u64::MAX, |time| limit.saturating_sub(lead.beyond(time)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> EventTime {
        EventTime::from_millis(millis)
    }

    /// A partition that has taken ten records in each of the milliseconds 1 to 100.
    fn steady(grain: u64) -> Lead {
        let mut lead = Lead::default();
        for millis in 1..=100 {
            lead.note(at(millis), millis as u64 * 10, grain);
        }
        lead
    }

    #[test]
    fn what_lies_beyond_a_stream_time_is_counted() {
        let lead = steady(1);
        assert_eq!(lead.beyond(EventTime::MIN), 1_000);
        assert_eq!(lead.beyond(at(0)), 1_000);
        assert_eq!(lead.beyond(at(40)), 600);
        assert_eq!(lead.beyond(at(100)), 0);
        assert_eq!(lead.beyond(EventTime::MAX), 0);
    }

    #[test]
    fn what_the_watermark_has_passed_is_forgotten_and_not_counted_again() {
        let mut lead = steady(1);
        lead.settle(at(40));
        assert_eq!(lead.steps.len(), 60);
        assert_eq!(lead.beyond(at(40)), 600);
        // One that wakes behind the watermark does not bring back what is final.
        assert_eq!(lead.beyond(EventTime::MIN), 600);
        lead.settle(EventTime::MAX);
        assert_eq!((lead.steps.len(), lead.beyond(EventTime::MIN)), (0, 0));
    }

    #[test]
    fn records_that_do_not_move_the_stream_time_count_with_it() {
        let mut lead = Lead::default();
        lead.note(at(5), 10, 1);
        lead.note(at(5), 30, 1);
        assert_eq!((lead.beyond(at(4)), lead.beyond(at(5))), (30, 0));
    }

    #[test]
    fn small_steps_are_put_together_and_never_count_for_less() {
        let (fine, coarse) = (steady(1), steady(64));
        assert!(coarse.steps.len() <= 20, "{}", coarse.steps.len());
        for millis in 0..=100 {
            let (exact, found) = (fine.beyond(at(millis)), coarse.beyond(at(millis)));
            assert!(
                (exact..=exact + 64).contains(&found),
                "at {millis}: {found} for {exact}"
            );
        }
    }
}
