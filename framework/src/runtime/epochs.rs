//! The epochs of a run: which one is open, what each reads, what was decided for it, how it went before.
//!
//! Shared by the ticker, the sources of all workers and the committer. An epoch is *clean* until a source claims
//! it for its first record; decisions are added to a clean epoch, so that each takes effect at its epoch's start.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::record::EventTime;
use timely::scheduling::SyncActivator;

use super::clock::Clock;
use super::entry::{Decision, EpochEntry, Share};
use crate::config::Config;
use crate::connect::TopicPartition;

/// A partition that the run reads.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Number of the source among those of the topology.
    pub(crate) source: usize,
    pub(crate) partition: TopicPartition,
    pub(crate) table: bool,
    /// Offset at which the run begins to read.
    pub(crate) start: i64,
    /// Of a table: the end that must be reached before streams are read.
    pub(crate) table_end: i64,
    /// Of a bounded run: where the input ends.
    pub(crate) end: Option<i64>,
    /// How long it is silent before it is left out of the watermark.
    pub(crate) idle_timeout: Duration,
}

/// Whether a partition counts in the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Active,
    Idle,
    Ended,
}

/// Limits that decide when an epoch closes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) interval: Duration,
    pub(crate) records: u64,
    pub(crate) bytes: usize,
    pub(crate) in_flight: u64,
    pub(crate) output_bytes: usize,
}

impl Limits {
    pub(crate) fn of(config: &Config) -> Self {
        Limits {
            interval: config.commit_interval,
            records: config.epoch_records.max(1),
            bytes: (config.memory_budget / 4).max(1),
            in_flight: config.epochs_in_flight.max(2),
            output_bytes: (config.memory_budget / 4).max(1),
        }
    }

    /// Limits of epochs that close when they are told to.
    pub(crate) fn by_hand() -> Self {
        Limits {
            interval: Duration::from_secs(u64::from(u32::MAX)),
            records: u64::MAX,
            bytes: usize::MAX,
            in_flight: u64::from(u32::MAX),
            output_bytes: usize::MAX,
        }
    }
}

/// The epochs of a run. Clones share them.
#[derive(Clone)]
pub(crate) struct Epochs(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    clock: Clock,
}

pub(crate) struct State {
    pub(crate) slots: Vec<SlotState>,
    limits: Limits,
    bounded: bool,
    /// The open epoch, 0 before the first.
    pub(crate) open: Epoch,
    pub(crate) committed: Epoch,
    opened_at: Duration,
    clean: bool,
    records: u64,
    bytes: usize,
    /// Records taken in since the run began.
    taken: u64,
    /// A reason to close the open epoch before its time.
    hurry: bool,
    /// Whether what was logged has been replayed and epochs may open that are not in the log.
    live: bool,
    stopping: bool,
    ended: bool,
    decisions: BTreeMap<Epoch, Vec<Decision>>,
    shares: BTreeMap<Epoch, Vec<(usize, Share)>>,
    logged: BTreeMap<Epoch, Arc<EpochEntry>>,
    last_logged: Epoch,
    first_read: BTreeMap<Epoch, Duration>,
    /// Offsets at which each slot's share of an epoch begins.
    bases: HashMap<(Epoch, usize), i64>,
    /// Whether stream records were read since the input last ended.
    unended: bool,
    pub(crate) outputs_in_flight: usize,
    ticker: Option<SyncActivator>,
    /// Moves the watermark by hand: the test driver's.
    asked: Vec<Decision>,
}

pub(crate) struct SlotState {
    pub(crate) slot: Slot,
    pub(crate) status: Status,
    /// What its source wants it to be; `None` until the source has looked.
    wish: Option<Status>,
    stream_time: EventTime,
    /// Of a table: the epoch in which its end was reached.
    reached: Option<Epoch>,
    /// Offset behind what closed epochs have read.
    pub(crate) next: i64,
}

impl SlotState {
    fn wants_change(&self) -> bool {
        self.wish.is_some_and(|wish| wish != self.status)
    }
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

/// How often the ticker looks if nothing wakes it.
const HEARTBEAT: Duration = Duration::from_millis(200);

impl Epochs {
    pub(crate) fn new(
        slots: Vec<Slot>,
        logged: Vec<EpochEntry>,
        limits: Limits,
        clock: Clock,
    ) -> Self {
        let bounded = slots.iter().any(|slot| slot.end.is_some());
        let last_logged = logged.last().map_or(0, |entry| entry.epoch);
        let tables: Vec<_> = slots
            .iter()
            .filter(|slot| slot.table)
            .map(|slot| slot.partition.topic.clone())
            .collect();
        let unended = logged.iter().fold(false, |unended, entry| {
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
        let slots = slots.into_iter().map(|slot| SlotState {
            status: Status::Active,
            wish: None,
            stream_time: EventTime::MIN,
            reached: (slot.table && slot.start >= slot.table_end).then_some(0),
            next: slot.start,
            slot,
        });
        let state = State {
            slots: slots.collect(),
            limits,
            bounded,
            open: 0,
            committed: 0,
            opened_at: Duration::ZERO,
            clean: true,
            records: 0,
            bytes: 0,
            taken: 0,
            hurry: false,
            live: false,
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
            outputs_in_flight: 0,
            ticker: None,
            asked: Vec::new(),
        };
        Epochs(Arc::new(Shared {
            state: Mutex::new(state),
            clock,
        }))
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panicking holder ends the run; what it left is only looked at to report it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the ticker woken when there is something for it to do.
    pub(crate) fn set_ticker(&self, ticker: SyncActivator) {
        self.state().ticker = Some(ticker);
    }

    /// What the ticker is to do now.
    pub(crate) fn tick(&self) -> Tick {
        self.state().tick(self.0.clock.now())
    }

    /// Claims an epoch for records of a source: false if none may be added to it (any more).
    pub(crate) fn claim(&self, epoch: Epoch, table: bool) -> bool {
        let now = self.0.clock.now();
        let state = &mut *self.state();
        if epoch != state.open || !state.live || state.stopping || state.ended || state.is_spent() {
            return false;
        }
        if state.outputs_in_flight > state.limits.output_bytes && state.open - 1 > state.committed {
            return false;
        }
        state.unended |= !table;
        if state.clean {
            state.clean = false;
            state.first_read.insert(epoch, now);
            state.wake();
        }
        true
    }

    /// Counts what a source has added to a claimed epoch.
    pub(crate) fn spend(&self, epoch: Epoch, records: u64, bytes: usize) {
        let state = &mut *self.state();
        state.taken += records;
        if epoch == state.open {
            state.records += records;
            state.bytes += bytes;
            if state.is_spent() {
                state.wake();
            }
        }
    }

    /// Says what a slot should be from the next epoch on, and its stream time.
    pub(crate) fn wish(&self, slot: usize, status: Status, stream_time: EventTime) {
        let state = &mut *self.state();
        let of = &mut state.slots[slot];
        of.stream_time = stream_time;
        if of.wish != Some(status) {
            of.wish = Some(status);
            state.wake();
        }
    }

    /// Notes that a table's slot was read to the end that streams wait for. In a clean epoch nothing of it was
    /// read, so its end was reached before: such an epoch, the first one behind a replay, may never close.
    pub(crate) fn reached(&self, slot: usize, epoch: Epoch) {
        let state = &mut *self.state();
        if state.slots[slot].reached.is_none() {
            let before = state.clean && epoch == state.open;
            state.slots[slot].reached = Some(if before { epoch - 1 } else { epoch });
            state.hurry |= !before;
            state.wake();
        }
    }

    /// Whether streams may be read: every table's end was reached in an epoch that is closed.
    pub(crate) fn tables_ready(&self) -> bool {
        self.state().tables_ready()
    }

    /// Decisions of an epoch, from the `from`th on.
    pub(crate) fn decisions(&self, epoch: Epoch, from: usize) -> Vec<Decision> {
        self.state()
            .decisions
            .get(&epoch)
            .map_or_else(Vec::new, |all| all[from.min(all.len())..].to_vec())
    }

    /// What the log says of an epoch that is to be replayed.
    pub(crate) fn logged(&self, epoch: Epoch) -> Option<Arc<EpochEntry>> {
        self.state().logged.get(&epoch).cloned()
    }

    /// Publishes what a slot gave to an epoch, before its source goes on.
    pub(crate) fn publish(
        &self,
        epoch: Epoch,
        slot: usize,
        stream_time: EventTime,
        share: Option<Share>,
    ) {
        let state = &mut *self.state();
        let of = &mut state.slots[slot];
        of.stream_time = stream_time;
        if let Some(share) = share {
            of.next = share.end;
            state.shares.entry(epoch).or_default().push((slot, share));
        }
    }

    /// Notes where a slot's share of an epoch begins.
    pub(crate) fn begins(&self, epoch: Epoch, slot: usize, base: i64) {
        self.state().bases.insert((epoch, slot), base);
    }

    /// Names the record at `offset`, relative to what an open epoch took first, for an error message.
    pub(crate) fn locate(
        &self,
        source: usize,
        partition: u32,
        offset: u64,
    ) -> Option<(TopicPartition, i64)> {
        let state = self.state();
        let of = |slot: &SlotState| {
            slot.slot.source == source && slot.slot.partition.partition == partition
        };
        let index = state.slots.iter().position(of)?;
        let base = (state.committed..=state.open)
            .rev()
            .find_map(|epoch| state.bases.get(&(epoch, index)))?;
        Some((
            state.slots[index].slot.partition.clone(),
            base + i64::try_from(offset).ok()?,
        ))
    }

    /// The offset that is `offset` behind what `epoch` took first of a partition.
    pub(crate) fn locate_in(
        &self,
        epoch: Epoch,
        source: usize,
        partition: u32,
        offset: u64,
    ) -> Option<i64> {
        let state = self.state();
        let of = |slot: &SlotState| {
            slot.slot.source == source && slot.slot.partition.partition == partition
        };
        let index = state.slots.iter().position(of)?;
        Some(state.bases.get(&(epoch, index))? + i64::try_from(offset).ok()?)
    }

    /// Lets epochs open that are not in the log.
    pub(crate) fn go_live(&self) {
        let state = &mut *self.state();
        state.live = true;
        state.wake();
    }

    /// Takes out what a closed epoch read and decided.
    pub(crate) fn take(&self, epoch: Epoch) -> (Vec<Share>, Vec<Decision>, Option<Duration>) {
        let state = &mut *self.state();
        let mut shares = state.shares.remove(&epoch).unwrap_or_default();
        shares.sort_by_key(|(slot, _)| *slot);
        let shares = shares.into_iter().map(|(_, share)| share).collect();
        (
            shares,
            state.decisions.remove(&epoch).unwrap_or_default(),
            state.first_read.remove(&epoch),
        )
    }

    /// Notes that an epoch is committed, or, in a replay, verified.
    pub(crate) fn commit(&self, epoch: Epoch) {
        let state = &mut *self.state();
        state.committed = epoch;
        state.logged.remove(&epoch);
        state.bases.retain(|(of, _), _| *of > epoch);
        state.wake();
    }

    /// Adds or takes off bytes of outputs that are not committed.
    pub(crate) fn outputs(&self, added: usize, gone: usize) {
        let state = &mut *self.state();
        state.outputs_in_flight = (state.outputs_in_flight + added).saturating_sub(gone);
    }

    /// Finishes the open epoch and opens no other.
    pub(crate) fn stop(&self) {
        let state = &mut *self.state();
        state.stopping = true;
        state.wake();
    }

    /// Moves the watermark by hand, with the next epoch.
    pub(crate) fn ask_watermark(&self, time: EventTime) {
        let state = &mut *self.state();
        state.asked.push(Decision::Watermark { time });
        state.wake();
    }

    /// Ends the input by hand, with the next epoch: all that was read so far is all there is.
    pub(crate) fn ask_end(&self) {
        let state = &mut *self.state();
        for of in &mut state.slots {
            of.wish = Some(Status::Ended);
        }
        let streams = state.slots.iter().filter(|of| !of.slot.table);
        let stream_time = streams
            .map(|of| of.stream_time)
            .max()
            .unwrap_or(EventTime::MIN);
        state.asked.push(Decision::End { stream_time });
        state.wake();
    }

    /// Asks for the open epoch to close as soon as it may.
    pub(crate) fn hurry(&self) {
        let state = &mut *self.state();
        state.hurry = true;
        state.wake();
    }

    /// Records that sources have taken in since the run began.
    pub(crate) fn taken(&self) -> u64 {
        self.state().taken
    }

    /// Whether the open epoch holds something, or is about to.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.state();
        !state.clean || state.decisions.contains_key(&state.open) || state.wants_decision()
    }
}

impl State {
    fn wake(&self) {
        if let Some(ticker) = &self.ticker {
            // The worker is gone only when the run is over.
            let _ = ticker.activate();
        }
    }

    fn is_spent(&self) -> bool {
        self.records >= self.limits.records || self.bytes >= self.limits.bytes
    }

    fn tables_ready(&self) -> bool {
        self.slots
            .iter()
            .all(|of| !of.slot.table || of.reached.is_some_and(|epoch| epoch < self.open))
    }

    fn tick(&mut self, now: Duration) -> Tick {
        if self.ended {
            return Tick::End;
        }
        // `open` closed and `open + 1` open leaves `open - committed` epochs closed and uncommitted.
        let may_close = self.open - self.committed <= self.limits.in_flight;
        if self.open <= self.last_logged {
            return if may_close {
                self.open_next(now)
            } else {
                Tick::Wait(HEARTBEAT)
            };
        }
        if !self.live {
            return Tick::Wait(HEARTBEAT);
        }
        if self.clean {
            self.decide(self.open);
        }
        let decisions = self
            .decisions
            .get(&self.open)
            .map_or(&[][..], Vec::as_slice);
        let ends = decisions
            .iter()
            .any(|decision| matches!(decision, Decision::End { .. }));
        let empty = self.clean && decisions.is_empty();
        let due = self.opened_at + self.limits.interval;
        let early = self.is_spent() || self.hurry || self.stopping || self.wants_decision() || ends;
        if !empty && (early || now >= due) {
            return if may_close {
                self.open_next(now)
            } else {
                Tick::Wait(HEARTBEAT)
            };
        }
        if empty && (self.stopping || self.bounded && self.all_ended()) {
            self.ended = true;
            return Tick::End;
        }
        Tick::Wait(if empty {
            HEARTBEAT
        } else {
            due.saturating_sub(now).min(HEARTBEAT)
        })
    }

    fn open_next(&mut self, now: Duration) -> Tick {
        self.open += 1;
        self.opened_at = now;
        self.clean = true;
        self.records = 0;
        self.bytes = 0;
        self.hurry = false;
        if self.open > self.last_logged {
            self.decide(self.open);
        } else {
            self.replay_decisions();
        }
        Tick::Open(self.open)
    }

    fn all_ended(&self) -> bool {
        self.slots
            .iter()
            .all(|of| of.status == Status::Ended && of.wish == Some(Status::Ended))
    }

    fn wants_decision(&self) -> bool {
        !self.stopping && (!self.asked.is_empty() || self.slots.iter().any(SlotState::wants_change))
    }

    /// Turns what sources wish for into decisions of a clean epoch.
    fn decide(&mut self, epoch: Epoch) {
        if !self.wants_decision() {
            return;
        }
        let mut decisions = std::mem::take(&mut self.asked);
        for of in self.slots.iter_mut().filter(|of| of.wants_change()) {
            of.status = of.wish.unwrap_or(of.status);
            let TopicPartition { topic, partition } = of.slot.partition.clone();
            let topic = topic.to_string();
            decisions.push(match of.status {
                Status::Active => Decision::Active { topic, partition },
                Status::Idle => Decision::Idle { topic, partition },
                Status::Ended => Decision::Ended { topic, partition },
            });
        }
        if self.bounded && self.all_ended() && self.unended {
            self.unended = false;
            let streams = self.slots.iter().filter(|of| !of.slot.table);
            let stream_time = streams
                .map(|of| of.stream_time)
                .max()
                .unwrap_or(EventTime::MIN);
            decisions.push(Decision::End { stream_time });
        }
        self.decisions.entry(epoch).or_default().extend(decisions);
    }

    /// Notes what the log decided for the epoch that was opened.
    fn replay_decisions(&mut self) {
        for decision in self.decisions.get(&self.open).cloned().unwrap_or_default() {
            let (topic, partition, status) = match decision {
                Decision::Idle { topic, partition } => (topic, partition, Status::Idle),
                Decision::Active { topic, partition } => (topic, partition, Status::Active),
                Decision::Ended { topic, partition } => (topic, partition, Status::Ended),
                Decision::End { .. } | Decision::Watermark { .. } => continue,
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
