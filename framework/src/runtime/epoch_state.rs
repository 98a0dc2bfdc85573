//! How epochs follow each other.
//!
//! An epoch is *clean* until a source claims it for its first record; decisions are added to a clean epoch, so that
//! each takes effect at its epoch's start. An epoch closes only if it holds a record or a decision.

mod decide;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tiderace_operators::dataflow::Epoch;
use timely::scheduling::SyncActivator;

use super::basis::Basis;
use super::entry::{Decision, EpochEntry, Share};
use super::in_flight::InFlight;
use super::keeping::Keeping;
use super::limits::Limits;
use super::pace::Pace;
use super::room::Room;
use super::schedule::Schedule;
use super::slot::Slot;
use super::slot_state::SlotState;

/// What the epochs of a run hold.
pub(crate) struct State {
    pub(super) slots: Vec<SlotState>,
    pub(super) limits: Limits,
    pub(super) bounded: bool,
    /// The first epoch of the run.
    pub(crate) first: Epoch,
    /// The open epoch; the one before the first until that opens.
    pub(crate) open: Epoch,
    pub(crate) committed: Epoch,
    /// The last epoch whose outputs the log has acknowledged, in a transaction or out of one.
    pub(crate) acknowledged: Epoch,
    pub(super) schedule: Schedule,
    pub(super) clean: bool,
    pub(super) records: u64,
    pub(super) bytes: usize,
    pub(super) pace: Pace,
    /// Records taken in since the run began.
    pub(super) taken: u64,
    /// A reason to close the open epoch before its time.
    pub(super) hurry: bool,
    /// Whether what was logged has been replayed and epochs may open that are not in the log.
    pub(super) live: bool,
    /// When that was, by the engine's clock.
    pub(super) live_since: Option<Duration>,
    pub(super) stopping: bool,
    pub(super) ended: bool,
    pub(super) decisions: BTreeMap<Epoch, Vec<Decision>>,
    pub(super) shares: BTreeMap<Epoch, Vec<(usize, Share)>>,
    pub(super) logged: BTreeMap<Epoch, Arc<EpochEntry>>,
    pub(super) last_logged: Epoch,
    pub(super) first_read: BTreeMap<Epoch, Duration>,
    /// Offsets at which each slot's share of an epoch begins.
    pub(super) bases: HashMap<(Epoch, usize), i64>,
    /// Whether stream records were read since the input last ended.
    pub(super) unended: bool,
    pub(super) room: Room,
    /// Whether a source was told to wait for room.
    pub(super) starved: bool,
    /// Whether the ticker is called when the open epoch is due.
    pub(super) awaits_due: bool,
    /// Whether the ticker waits until epochs are acknowledged or committed.
    stuck: bool,
    pub(super) ticker: Option<SyncActivator>,
    pub(super) sources: Vec<SyncActivator>,
    /// Moves the watermark by hand: the test driver's.
    pub(super) asked: Vec<Decision>,
    /// Partitions that topics were given and that are to be read.
    pub(super) grown: Vec<Slot>,
    /// When state is kept, if it is.
    pub(super) keeping: Option<Keeping>,
}

/// What the ticker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// Open this epoch.
    Open(Epoch),
    /// Look again after this long, or when woken.
    Wait(Duration),
    /// No more epochs.
    End,
}

/// How soon it is looked again whether what is under way is done: a snapshot, or an epoch that closed and has not passed.
const SOON: Duration = Duration::from_millis(5);

/// How often the ticker looks if nothing wakes it.
const HEARTBEAT: Duration = Duration::from_millis(200);

impl State {
    /// Before the first epoch, with what the log says of those that are to be replayed.
    pub(super) fn new(
        slots: Vec<Slot>,
        basis: &Basis,
        logged: Vec<EpochEntry>,
        limits: Limits,
    ) -> Self {
        let bounded = slots.iter().any(|slot| slot.end.is_some());
        let last_logged = logged.last().map_or(basis.epoch, |entry| entry.epoch);
        let tables: Vec<_> = slots
            .iter()
            .filter(|slot| slot.table)
            .map(|slot| slot.partition.topic.clone())
            .collect();
        let unended = basis.standing.unended;
        let unended = logged.iter().fold(unended, |unended, entry| {
            let ends = entry
                .decisions
                .iter()
                .any(|decision| matches!(decision, Decision::End { .. }));
            let reads = entry
                .read
                .iter()
                .any(|share| !tables.iter().any(|table| **table == share.topic));
            (unended && !ends) || reads
        });
        State {
            slots: slots.into_iter().map(SlotState::new).collect(),
            pace: Pace::new(limits.rate),
            limits,
            bounded,
            first: basis.epoch + 1,
            open: basis.epoch,
            committed: basis.epoch,
            acknowledged: basis.epoch,
            schedule: Schedule::new(limits.interval, limits.ahead),
            clean: true,
            records: 0,
            bytes: 0,
            taken: 0,
            hurry: false,
            live: false,
            live_since: None,
            stopping: false,
            ended: false,
            decisions: logged
                .iter()
                .map(|entry| (entry.epoch, entry.decisions.clone()))
                .collect(),
            shares: BTreeMap::new(),
            logged: logged
                .into_iter()
                .map(|entry| (entry.epoch, Arc::new(entry)))
                .collect(),
            last_logged,
            first_read: BTreeMap::new(),
            bases: HashMap::new(),
            unended,
            room: Room::new(limits.memory, InFlight::default()),
            starved: false,
            awaits_due: false,
            stuck: false,
            ticker: None,
            sources: Vec::new(),
            asked: Vec::new(),
            grown: Vec::new(),
            keeping: None,
        }
    }

    pub(super) fn wake(&self) {
        if let Some(ticker) = &self.ticker {
            // The worker is gone only when the run is over.
            let _ = ticker.activate();
        }
    }

    /// Epochs were acknowledged or committed: rouses the ticker, if it waits for that. Few do, and each time costs the worker
    /// that it runs on a turn.
    pub(super) fn went_on(&self) {
        if self.stuck {
            self.wake();
        }
    }

    /// There is more room: rouses the sources, if one waits for it and this is worth it.
    pub(super) fn made_room(&mut self) {
        if self.starved && self.room.is_worth_rousing() {
            self.starved = false;
            self.rouse_sources();
        }
    }

    /// Calls every source: what it could not read before it may read now.
    pub(super) fn rouse_sources(&self) {
        for source in &self.sources {
            // The worker is gone only when the run is over.
            let _ = source.activate();
        }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.records >= self.limits.records || self.bytes >= self.limits.bytes
    }

    pub(super) fn tables_ready(&self) -> bool {
        self.slots
            .iter()
            .all(|of| !of.slot.table || of.reached.is_some_and(|epoch| epoch < self.open))
    }

    /// What the ticker does now.
    pub(super) fn tick(&mut self, now: Duration) -> Tick {
        if self.ended {
            return Tick::End;
        }
        self.stuck = false;
        self.awaits_due = false;
        if self.open <= self.last_logged {
            let alone = self.open == self.committed;
            return self.open_next_if(alone || !self.room.is_full(), now);
        }
        if !self.live {
            return Tick::Wait(HEARTBEAT);
        }
        if self.clean {
            self.decide(self.open);
        }
        let (empty, early) = (self.is_empty(), self.closes_early());
        // Behind one that is not acknowledged an epoch would wait in line, and each record behind it; while it is open it takes
        // them in instead. What is acknowledged stands in no line: it goes with the next commit.
        let in_line = self.unacknowledged() > 1;
        let awaited = self.schedule.is_accompanied_by(self.open) && self.schedule.is_due(now);
        if awaited && !early && (empty || in_line) {
            let waits = self.forerunner_waits(now);
            if !waits.is_zero() {
                self.stuck = true;
                return Tick::Wait(waits);
            }
        }
        if !empty && (early || self.schedule.is_due(now)) {
            return self.open_next_if(early || !in_line, now);
        }
        let ahead = self.schedule.is_time_to_close_ahead(self.open, now);
        if !empty && ahead && self.may_close() && !in_line {
            self.schedule.close_ahead(self.open);
            return self.open_behind(now);
        }
        if empty && (self.stopping || self.bounded && self.all_ended()) {
            return self.end();
        }
        // Behind one that held something the next record is expected soon. It is not called for then, nor is the ticker.
        self.awaits_due = !self.schedule.is_due(now);
        Tick::Wait(match self.awaits_due {
            true => self.schedule.until_closed(self.open, now).min(HEARTBEAT),
            false => HEARTBEAT,
        })
    }

    /// Epochs that are not acknowledged, the open one among them.
    fn unacknowledged(&self) -> Epoch {
        self.open - self.acknowledged
    }

    /// Whether another epoch may be closed and not be acknowledged, or not be committed.
    fn may_close(&self) -> bool {
        // `open` closed and `open + 1` open leaves `open - committed` epochs closed and uncommitted.
        self.unacknowledged() <= self.limits.in_flight
            && self.open - self.committed <= self.limits.uncommitted
    }

    /// Whether the open epoch closes before its interval is over.
    fn closes_early(&self) -> bool {
        let mut decisions = self.decisions.get(&self.open).into_iter().flatten();
        self.is_spent()
            || self.hurry
            || self.stopping
            || self.wants_decision()
            || decisions.any(|decision| matches!(decision, Decision::End { .. }))
    }

    /// Opens the next epoch if `it_should` and the open one may be closed; waits for commits otherwise.
    fn open_next_if(&mut self, it_should: bool, now: Duration) -> Tick {
        if it_should && self.may_close() {
            return self.open_next(now);
        }
        self.stuck = true;
        Tick::Wait(HEARTBEAT)
    }

    /// The last epoch is closed; its state is handed over first.
    fn end(&mut self) -> Tick {
        if let Some(keeping) = &mut self.keeping
            && !keeping.ending(self.open, self.unended, self.slots.len())
        {
            return Tick::Wait(SOON);
        }
        self.ended = true;
        Tick::End
    }

    /// Closes the open epoch and opens the next, with which an interval begins.
    fn open_next(&mut self, now: Duration) -> Tick {
        self.schedule.begin(now);
        self.open_behind(now)
    }

    /// Closes the open epoch and opens the next.
    fn open_behind(&mut self, now: Duration) -> Tick {
        if let Some(keeping) = &mut self.keeping
            && self.live
            && self.open >= self.first
        {
            keeping.closing(self.open, self.unended, self.slots.len(), now);
        }
        self.open += 1;
        self.clean = true;
        self.records = 0;
        self.bytes = 0;
        // Behind an earlier start input has been waiting: its first outputs do not wait for the interval, too.
        self.hurry = self.open == self.last_logged + 1 && self.last_logged > 0;
        if self.open > self.last_logged {
            self.decide(self.open);
        } else {
            self.replay_decisions();
        }
        Tick::Open(self.open)
    }

    /// Whether the open epoch holds nothing so far.
    fn is_empty(&self) -> bool {
        self.clean && self.decisions.get(&self.open).is_none_or(Vec::is_empty)
    }

    /// How long the epoch that was closed ahead waits for the open one, which is behind it: until the end of the interval, and a
    /// while longer if that holds something. Then it goes alone.
    fn forerunner_waits(&mut self, now: Duration) -> Duration {
        let waits = match self.is_empty() {
            true => self.schedule.until_due(now),
            false => self.schedule.until_late(now),
        };
        if waits.is_zero() {
            self.schedule.go_alone(now);
        }
        waits
    }

    /// How long the commit of `epoch`, which is acknowledged, waits for the one behind it, if it was closed ahead.
    pub(super) fn commit_waits(&mut self, epoch: Epoch, now: Duration) -> Duration {
        if !self.schedule.is_forerunner(epoch) {
            return Duration::ZERO;
        }
        match self.open > epoch + 1 {
            // It is closed, and passes soon; for more than an interval nobody waits for it.
            true => self.schedule.until_due(now).min(SOON),
            false => self.forerunner_waits(now),
        }
    }
}
