//! The operator that reads a source's partitions on one worker: by the log as long as it replays, then live.
//!
//! It publishes what an epoch read before it goes on to the next, so that an epoch's entry is complete when every
//! operator has passed it.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use tiderace_operators::current;
use tiderace_operators::dataflow::{Epoch, NEVER, Ports};
use tiderace_operators::record::EventTime;

use super::arrived::Arrived;
use super::dead_letter::DeadLetters;
use super::decided::Admit;
use super::entry::{EpochEntry, Share};
use super::epochs::Epochs;
use super::queue::Queues;
use super::reading::{self, Reading};
use super::rejections::Policy;
use super::retained::Retained;
use super::staged::{RECORDS_PER_FLUSH, Staged};
use super::standing::Standing;
use super::turn::{Ended, Turn};
use crate::error::RunError;
use crate::snapshot::InputPlace;
use crate::topology::{OnError, Reader};

/// The state of a source on one worker.
pub(crate) struct SourceStage {
    pub(crate) node: String,
    pub(crate) index: u32,
    pub(crate) table: bool,
    pub(crate) readings: Vec<Reading>,
    /// How a partition comes to them that was added.
    pub(crate) admit: Admit,
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) queues: Queues,
    pub(crate) epochs: Epochs,
    pub(crate) on_error: OnError,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) retained: Option<Retained>,
    /// Called with the first error; the run ends.
    pub(crate) fail: Rc<dyn Fn(RunError)>,
    /// Live figures: records read.
    pub(crate) progress: super::SharedProgress,
    pub(crate) standing: Standing,
    pub(crate) staged: Staged,
}

/// When a source wants to be called again though nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// At once: there is more to read.
    Now,
    /// After this long.
    In(Duration),
    /// When something arrives.
    OnArrival,
    /// When something arrives, and not before: an epoch that is replayed is not complete.
    Incomplete,
}

/// How soon a source asks again whether it may read.
const RETRY: Duration = Duration::from_millis(5);

impl SourceStage {
    /// Reads what may be read. `ticks` is the ticker's frontier: the open epoch, or [`NEVER`] at the end, when
    /// every epoch that was opened is still gone through.
    pub(crate) fn run(&mut self, ticks: Epoch, ports: &mut Ports) -> Again {
        let again = self.go_through(ticks, ports);
        for reading in &mut self.readings {
            reading.give_back(&self.queues);
        }
        if !self.standing.failed {
            self.staged.send_on(&mut *self.reader, ports);
        }
        again
    }

    fn go_through(&mut self, ticks: Epoch, ports: &mut Ports) -> Again {
        let open = if ticks == NEVER {
            self.epochs.state().open
        } else {
            ticks
        };
        loop {
            let epoch = ports.epoch();
            if self.standing.failed
                || epoch == NEVER
                || (epoch == open && ticks != NEVER && epoch == 0)
            {
                return Again::OnArrival;
            }
            let outcome = if epoch == 0 {
                Ok(Again::OnArrival)
            } else {
                self.read(epoch, open, ports)
            };
            match outcome {
                Err(error) => {
                    self.standing.failed = true;
                    (self.fail)(error);
                    return Again::OnArrival;
                }
                Ok(Again::Incomplete) => return Again::Incomplete,
                Ok(again) if epoch == open && ticks != NEVER => return again,
                Ok(_) => {
                    self.staged.send_on(&mut *self.reader, ports);
                    self.close(epoch, ports);
                    ports.advance_to(match epoch {
                        _ if epoch >= open => NEVER,
                        0 => self.epochs.first(),
                        _ => epoch + 1,
                    });
                }
            }
        }
    }

    /// Reads for the open epoch.
    fn read(&mut self, epoch: Epoch, ticks: Epoch, ports: &mut Ports) -> Result<Again, RunError> {
        self.apply_decisions(epoch);
        match self.epochs.logged(epoch) {
            Some(entry) => self.replay(epoch, &entry, ports),
            None if ticks == epoch => self.live(epoch, ports),
            None => Ok(Again::OnArrival),
        }
    }

    /// Reads exactly what the log says that the epoch read.
    fn replay(
        &mut self,
        epoch: Epoch,
        entry: &EpochEntry,
        ports: &mut Ports,
    ) -> Result<Again, RunError> {
        let mut again = Again::OnArrival;
        for index in 0..self.readings.len() {
            let partition = self.readings[index].of.partition.clone();
            let is = |share: &&Share| {
                *share.topic == *partition.topic && share.partition == partition.partition
            };
            let Some(share) = entry.read.iter().find(is) else {
                continue;
            };
            while self.readings[index].next < share.end {
                let Some((batch, range)) =
                    self.readings[index].front(&self.queues, Some(share.end))
                else {
                    break;
                };
                if range.is_empty() {
                    break;
                }
                let memory = batch.share(&range);
                self.epochs.hold(epoch, range.len() as u64, memory);
                let batch = self.readings[index].take_front();
                self.take(epoch, index, batch, range, Some(share), ports)?;
            }
            let reading = &mut self.readings[index];
            if !reading.is_past(&self.queues, share.end) {
                if again != Again::Incomplete {
                    self.queues.want(reading.queue);
                }
                again = Again::Incomplete;
                continue;
            }
            if reading.records != share.records {
                return Err(RunError::Vanished {
                    epoch,
                    partition,
                    table: self.table,
                    counted: share.records,
                    found: reading.records,
                    end: share.end,
                });
            }
            reading.next = share.end;
        }
        Ok(again)
    }

    /// Reads what has arrived, as far as the epoch takes it.
    fn live(&mut self, epoch: Epoch, ports: &mut Ports) -> Result<Again, RunError> {
        let now = self.epochs.clock().now();
        self.look_at_slots(epoch, now);
        if !self.table && !self.epochs.tables_ready() {
            return Ok(Again::In(RETRY));
        }
        let horizon = EventTime::from_millis(self.epochs.clock().wall_millis());
        for reading in &mut self.readings {
            reading.cursor.horizon = horizon.saturating_add(reading.cursor.max_skew);
        }
        self.epochs.limit_lead(&mut self.readings);
        let mut turn = Turn::default();
        let ended = self.take_turn(epoch, &mut turn, ports);
        self.count(epoch, &mut turn);
        let ended = ended?;
        if ended == Ended::Refused {
            return Ok(Again::In(RETRY));
        }
        self.look_at_slots(epoch, now);
        if ended == Ended::Full {
            return Ok(Again::Now);
        }
        let queues = &self.queues;
        let awaited = reading::awaited(&mut self.readings, queues, self.table);
        if let Some(reading) = awaited.filter(|reading| reading.pending.is_none()) {
            queues.want(reading.queue);
        }
        if self.readings.iter_mut().any(|of| of.is_held(queues)) {
            // What was taken may be what it had to wait for.
            return Ok(match turn.records {
                0 => Again::In(RETRY),
                _ => Again::Now,
            });
        }
        Ok(self.idle_deadline(now))
    }

    /// Takes in records of a batch.
    pub(super) fn take(
        &mut self,
        epoch: Epoch,
        index: usize,
        batch: Arrived,
        range: Range<usize>,
        logged: Option<&Share>,
        ports: &mut Ports,
    ) -> Result<(), RunError> {
        current::during(epoch);
        let reading = &mut self.readings[index];
        if reading.records == 0 {
            reading.cursor.base = reading.next;
            self.epochs.begins(epoch, reading.slot, reading.cursor.base);
        }
        if let Some(retained) = &self.retained {
            retained.keep(
                epoch,
                reading.cursor.source,
                reading.cursor.partition,
                batch.records(),
            );
        }
        let mut policy = Policy {
            node: &self.node,
            partition: &reading.of.partition,
            source: reading.cursor.source,
            base: reading.cursor.base,
            on_error: &self.on_error,
            logged,
            poison: &reading.poison,
            letters: &mut self.dead_letters,
            skipped: &mut reading.skipped,
            dead_lettered: &mut reading.dead_lettered,
        };
        let mut from = range.start;
        while from < range.end {
            let until = range.end.min(from + RECORDS_PER_FLUSH);
            let read = self
                .reader
                .read(&*batch, from..until, &mut reading.cursor, &mut policy);
            // What goes wrong from here on is no record's fault.
            current::leave();
            read?;
            self.staged.add(until - from, &mut *self.reader, ports);
            from = until;
        }
        reading.took(batch, &range);
        Ok(())
    }

    /// Tells the ticker which partitions are idle, have ended, or are to be read (again).
    fn look_at_slots(&mut self, epoch: Epoch, now: Duration) {
        for reading in &mut self.readings {
            let wish = reading.wish(&self.queues, now);
            let told = reading.told(&self.queues);
            self.epochs.wish(reading.slot, wish, told);
            if self.table && reading.is_past(&self.queues, reading.of.table_end) {
                // With nothing of this epoch's, its rows lie in epochs that are closed, such as replayed ones.
                let last = if reading.records == 0 {
                    epoch - 1
                } else {
                    epoch
                };
                self.epochs.reached(reading.slot, last);
            }
        }
    }

    /// When the next partition may have to be called idle.
    fn idle_deadline(&self, now: Duration) -> Again {
        let deadline = reading::idle_deadline(&self.readings);
        match deadline.filter(|_| !self.table) {
            Some(deadline) => Again::In(deadline.saturating_sub(now).max(Duration::from_millis(1))),
            None => Again::OnArrival,
        }
    }

    /// Publishes what the epoch read and tells everyone behind how far event time has come.
    fn close(&mut self, epoch: Epoch, ports: &mut Ports) {
        if epoch > 0 {
            self.apply_decisions(epoch);
            for reading in &mut self.readings {
                let share = (reading.records > 0).then(|| Share {
                    topic: reading.of.partition.topic.to_string(),
                    partition: reading.of.partition.partition,
                    end: reading.next,
                    records: std::mem::take(&mut reading.records),
                    skipped: std::mem::take(&mut reading.skipped),
                    dead_lettered: std::mem::take(&mut reading.dead_lettered),
                });
                let told = reading.told(&self.queues);
                self.epochs.publish(epoch, reading.slot, told, share);
            }
            if self.epochs.keeps(epoch) {
                self.keep();
            }
            self.reader.close(epoch);
            self.dead_letters.close(epoch);
            ports.mark(self.index, self.standing.advance(&self.readings, epoch));
        }
        self.standing.applied = 0;
    }

    /// Hands over how far this worker has read, for the snapshot of the epoch's end.
    fn keep(&self) {
        for reading in &self.readings {
            let of = &reading.of.partition;
            let input = InputPlace {
                topic: of.topic.to_string(),
                topic_id: None,
                partition: of.partition,
                table: self.table,
                offset: reading.reached(&self.queues),
                largest: reading.cursor.stream_time.largest(),
                status: reading.status,
            };
            let standing = (self.standing.ended, self.standing.floor);
            self.epochs.keep(reading.slot, input, standing);
        }
    }
}
