//! A source's turn: what it takes in of the partitions that it reads before the operators behind it have theirs.

use std::ops::Range;
use std::sync::atomic::Ordering;

use tiderace_operators::dataflow::{Epoch, Ports};

use super::slot::Status;
use super::source::SourceStage;
use super::staged::RECORDS_PER_FLUSH;
use crate::error::RunError;

/// Records taken in one activation before other operators get their turn.
const RECORDS_PER_TURN: usize = 2_048;

/// Bytes of records after which it is their turn as well, so that they find them in the cache; a batch of records is taken
/// whatever it holds.
const BYTES_PER_TURN: usize = 256 << 10;

/// Records beyond which an epoch is claimed once a turn: it has room for those of other sources, too, that are not counted
/// yet. With less, each batch is claimed and counted by itself, so that no epoch takes more than it may.
const MANY: usize = 4 * RECORDS_PER_TURN;

/// What was taken in.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) records: usize,
    bytes: usize,
    /// What of it is counted.
    counted: (usize, usize),
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing is left that may be read.
    Nothing,
    /// It is the operators' turn.
    Full,
    /// No more may be added to the epoch for now.
    Refused,
}

impl SourceStage {
    /// Takes in what has arrived until it is the operators' turn. An epoch of much room is claimed once for all of it: a batch
    /// may be of few records, and other threads look at what is counted.
    pub(super) fn take_turn(
        &mut self,
        epoch: Epoch,
        turn: &mut Turn,
        ports: &mut Ports,
    ) -> Result<Ended, RunError> {
        let (mut claimed, mut most) = (None, RECORDS_PER_TURN);
        while let Some((index, mut range)) = self.next_batch() {
            let room = match claimed {
                Some(room) => room,
                None => {
                    let claim = self.epochs.claim(epoch, self.table, self.standing.applied);
                    let Some((room, decided)) = claim else {
                        return Ok(Ended::Refused);
                    };
                    if turn.records == 0 {
                        // What the first of a turn makes is not known before the operators had theirs.
                        most = most.min(room);
                    }
                    if decided {
                        self.apply_decisions(epoch);
                        if self.readings[index].status != Status::Active {
                            continue;
                        }
                    }
                    room
                }
            };
            let reading = &mut self.readings[index];
            let ahead = usize::try_from(reading.room).unwrap_or(usize::MAX);
            range.end = range.end.min(range.start.saturating_add(room.min(ahead)));
            let batch = reading.take_front();
            let mut bytes = batch.share(&range);
            if bytes > BYTES_PER_TURN {
                let fit = range.len() * BYTES_PER_TURN / bytes;
                range.end = range.end.min(range.start + fit.max(RECORDS_PER_FLUSH));
                bytes = batch.share(&range);
            }
            turn.records += range.len();
            turn.bytes += bytes;
            claimed = room.checked_sub(range.len()).filter(|left| *left > MANY);
            if claimed.is_none() {
                self.count(epoch, turn);
            }
            self.take(epoch, index, batch, range, None, ports)?;
            if turn.records >= most || turn.bytes >= BYTES_PER_TURN {
                return Ok(Ended::Full);
            }
        }
        Ok(Ended::Nothing)
    }

    /// Counts what a turn has taken and is not counted.
    pub(super) fn count(&self, epoch: Epoch, turn: &mut Turn) {
        let (records, bytes) = turn.counted;
        if turn.records > records {
            let more = (turn.records - records) as u64;
            self.epochs.spend(epoch, more, turn.bytes - bytes);
            if !self.table {
                self.progress.read.fetch_add(more, Ordering::Relaxed);
            }
            turn.counted = (turn.records, turn.bytes);
        }
    }

    /// Of the partitions that have something to read and need not wait for others, the one that is behind in stream
    /// time; and the range of its records.
    fn next_batch(&mut self) -> Option<(usize, Range<usize>)> {
        let queues = &self.queues;
        let ready = self
            .readings
            .iter_mut()
            .enumerate()
            .filter(|(_, reading)| reading.status == Status::Active && reading.room > 0);
        let ready = ready.filter_map(|(index, reading)| {
            let end = reading.of.end;
            let (_, range) = reading.front(queues, end)?;
            (!range.is_empty()).then_some((reading.cursor.stream_time.now(), index, range))
        });
        let (_, index, range) = ready.min_by_key(|(time, index, _)| (*time, *index))?;
        Some((index, range))
    }
}
