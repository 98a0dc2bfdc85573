//! A partition that a worker reads: how far it has come and what is next.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use tiderace_operators::record::EventTime;
use tiderace_operators::stream_time::StreamTime;

use super::arrived::Arrived;
use super::lead::Told;
use super::poison::Reasons;
use super::queue::Queues;
use super::slot::{Slot, Status};
use crate::topology::Cursor;

/// A partition that this worker reads.
pub(crate) struct Reading {
    /// Its number among all slots of the run.
    pub(super) slot: usize,
    /// Its number among the queues of the worker.
    pub(super) queue: usize,
    pub(super) of: Slot,
    pub(super) cursor: Cursor,
    pub(super) status: Status,
    /// Offset of the next record to be taken.
    pub(super) next: i64,
    /// A batch of which records are left, and the index of the first.
    pub(super) pending: Option<(Arrived, usize)>,
    /// Those behind it that were taken with it.
    pub(super) ready: VecDeque<Arrived>,
    /// How many of these were looked at before they are read.
    pub(super) seen: usize,
    /// Those that were read since that was said. They go together: each is counted and freed where another core has written,
    /// which whoever reads on at once would wait for.
    pub(super) read: Vec<Arrived>,
    pub(super) caught_up_at: Option<Duration>,
    pub(super) records: u64,
    /// Records taken since the run began.
    pub(super) taken: u64,
    /// Records that may be taken now before others have to come after it.
    pub(super) room: u64,
    pub(super) skipped: Vec<i64>,
    pub(super) dead_lettered: Vec<i64>,
    /// Records that are rejected without a look at them.
    pub(super) poison: Reasons,
}

impl Reading {
    pub(crate) fn new(
        slot: usize,
        queue: usize,
        of: Slot,
        out_of_orderness: Duration,
        max_skew: Duration,
    ) -> Self {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let cursor = Cursor {
            source: of.source,
            partition: of.partition.partition,
            base: of.start,
            stream_time: StreamTime::resume(millis(out_of_orderness), of.largest),
            horizon: EventTime::MAX,
            max_skew: millis(max_skew),
        };
        Reading {
            slot,
            queue,
            cursor,
            status: of.status,
            next: of.start,
            pending: None,
            ready: VecDeque::new(),
            seen: 0,
            read: Vec::new(),
            caught_up_at: None,
            records: 0,
            taken: 0,
            room: u64::MAX,
            skipped: Vec::new(),
            dead_lettered: Vec::new(),
            poison: Reasons::new(),
            of,
        }
    }

    /// The batch whose records are next, and the range of those before `end`.
    pub(super) fn front(
        &mut self,
        queues: &Queues,
        end: Option<i64>,
    ) -> Option<(&Arrived, Range<usize>)> {
        if self.pending.is_none() {
            self.give_back(queues);
            queues.take(self.queue, &mut self.ready);
            self.pending = Some((self.next_ready()?, 0));
            self.caught_up_at = None;
        }
        let (batch, from) = self.pending.as_ref()?;
        let until = match end {
            Some(end) if batch.get(batch.len() - 1).offset >= end => (*from..batch.len())
                .find(|index| batch.get(*index).offset >= end)
                .unwrap_or(batch.len()),
            _ => batch.len(),
        };
        Some((batch, *from..until))
    }

    /// Hands over the [front](Self::front), of which records are to be taken.
    pub(super) fn take_front(&mut self) -> Arrived {
        let (batch, _) = self.pending.take().expect("there is one");
        batch
    }

    /// Whether everything before `end` has been taken: a record at or past it is next, or nothing is before it.
    pub(super) fn is_past(&mut self, queues: &Queues, end: i64) -> bool {
        if self.next >= end {
            return true;
        }
        match self.front(queues, Some(end)) {
            Some((_, range)) => range.is_empty(),
            None => queues
                .position(self.queue)
                .is_some_and(|position| position >= end),
        }
    }

    /// Notes that the records at `range` were taken of the batch that was handed over.
    pub(super) fn took(&mut self, batch: Arrived, range: &Range<usize>) {
        let records = range.len() as u64;
        self.records += records;
        self.taken += records;
        self.room = self.room.saturating_sub(records);
        self.next = batch.get(range.end - 1).offset + 1;
        self.pending = if range.end < batch.len() {
            Some((batch, range.end))
        } else {
            self.read.push(batch);
            self.next_ready().map(|next| (next, 0))
        };
    }

    /// The next of those that were taken together. Another core has written them, and who waits for each when its turn comes
    /// waits longer for a small one than its records take: so some are looked at together, few enough to stay at hand.
    fn next_ready(&mut self) -> Option<Arrived> {
        const TOGETHER: usize = 32;
        let next = self.ready.pop_front()?;
        if self.seen == 0 {
            let soon = self.ready.iter().take(TOGETHER);
            self.seen = soon.len();
            std::hint::black_box(soon.map(|batch| batch.get(0).offset).sum::<i64>());
        } else {
            self.seen -= 1;
        }
        Some(next)
    }

    /// Says how much of what was fetched is read.
    pub(super) fn give_back(&mut self, queues: &Queues) {
        if !self.read.is_empty() {
            let memory = self.read.drain(..).map(|batch| batch.memory()).sum();
            queues.done(self.queue, memory);
        }
    }

    /// The offset before which nothing is left to be taken: behind the last record, and behind what follows it that is
    /// no record, such as a transaction's marker.
    pub(super) fn reached(&self, queues: &Queues) -> i64 {
        let position = queues.position(self.queue);
        let empty = position.filter(|_| self.pending.is_none());
        empty.map_or(self.next, |position| position.max(self.next))
    }

    /// Whether the watermark waits for records of it that are there, as far as is known.
    pub(super) fn has_more(&mut self, queues: &Queues) -> bool {
        let is_read = match self.of.end {
            Some(end) => self.is_past(queues, end),
            None => self.pending.is_none() && queues.position(self.queue).is_some(),
        };
        self.status == Status::Active && !is_read
    }

    /// How far it has come.
    pub(super) fn told(&mut self, queues: &Queues) -> Told {
        Told {
            stream_time: self.cursor.stream_time.now(),
            taken: self.taken,
            has_more: self.has_more(queues),
        }
    }

    /// Whether it has something to read and has to wait until others have come after it.
    pub(super) fn is_held(&mut self, queues: &Queues) -> bool {
        self.status == Status::Active && self.room == 0 && self.has_more(queues)
    }

    /// What the partition should be from the next epoch on: idle, ended, or read (again).
    pub(super) fn wish(&mut self, queues: &Queues, now: Duration) -> Status {
        let has_more = match self.of.end {
            Some(end) => !self.is_past(queues, end),
            None => self.front(queues, None).is_some(),
        };
        if queues.position(self.queue).is_none() || self.pending.is_some() {
            self.caught_up_at = None;
        } else if self.caught_up_at.is_none() {
            self.caught_up_at = Some(now);
        }
        let silent = |since| now.saturating_sub(since) >= self.of.idle_timeout;
        let silent = self.caught_up_at.is_some_and(silent);
        match self.of.end {
            Some(_) if has_more => Status::Active,
            Some(_) => Status::Ended,
            None if has_more => Status::Active,
            None if self.status == Status::Active && silent && !self.of.table => Status::Idle,
            None => self.status,
        }
    }
}

/// The partition that others wait for: of those that have something to read the one that is behind in stream time, or
/// one of a table that is not read to its end.
pub(super) fn awaited<'a>(
    readings: &'a mut [Reading],
    queues: &Queues,
    table: bool,
) -> Option<&'a Reading> {
    if table {
        let mut unread = readings.iter_mut().filter_map(|reading| {
            let end = reading.of.table_end.max(reading.of.end.unwrap_or(0));
            (!reading.is_past(queues, end)).then_some(&*reading)
        });
        return unread.next();
    }
    let behind = readings.iter_mut().filter_map(|reading| {
        let has_more = reading.has_more(queues);
        has_more.then_some(&*reading)
    });
    behind.min_by_key(|reading| reading.cursor.stream_time.now())
}

/// When the first of the partitions will have been silent for so long that it may be called idle.
pub(super) fn idle_deadline(readings: &[Reading]) -> Option<Duration> {
    let active = readings
        .iter()
        .filter(|reading| reading.status == Status::Active);
    let deadlines =
        active.filter_map(|reading| Some(reading.caught_up_at? + reading.of.idle_timeout));
    deadlines.min()
}
