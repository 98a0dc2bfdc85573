//! The epochs of a run: which one is open, what each reads, what was decided for it, how it went before.
//!
//! Shared by the ticker, the sources of all workers and the committer; what it holds and how epochs follow each
//! other stands in `epoch_state.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::failpoint;
use tiderace_operators::record::EventTime;
use timely::scheduling::SyncActivator;

use super::basis::Basis;
use super::clock::Clock;
use super::entry::{Decision, EpochEntry, Share};
use super::epoch_state::{State, Tick};
use super::in_flight::InFlight;
use super::lead::Told;
use super::limits::Limits;
use super::report::Progress;
use super::slot::{Slot, Status};
use super::slot_state::SlotState;
use crate::connect::TopicPartition;
use crate::snapshot::LogPlace;

/// The epochs of a run. Clones share them.
#[derive(Clone)]
pub(crate) struct Epochs(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    clock: Clock,
}

impl Epochs {
    pub(crate) fn new(
        slots: Vec<Slot>,
        basis: &Basis,
        logged: Vec<EpochEntry>,
        limits: Limits,
        clock: Clock,
    ) -> Self {
        let state = Mutex::new(State::new(slots, basis, logged, limits));
        Epochs(Arc::new(Shared { state, clock }))
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

    /// Has a source woken when something was decided for the open epoch.
    pub(crate) fn add_source(&self, source: SyncActivator) {
        self.state().sources.push(source);
    }

    /// The first epoch of the run.
    pub(crate) fn first(&self) -> Epoch {
        self.state().first
    }

    /// What the ticker is to do now.
    pub(crate) fn tick(&self) -> Tick {
        self.state().tick(self.0.clock.now())
    }

    /// Claims an epoch for records of a source: how many may be added to it, none if it may not (any more), and whether
    /// more was decided for the epoch than what it has `applied`.
    pub(crate) fn claim(&self, epoch: Epoch, table: bool, applied: usize) -> Option<(usize, bool)> {
        let state = &mut *self.state();
        if epoch != state.open || !state.live || state.stopping || state.ended || state.is_spent() {
            return None;
        }
        let fitting = state.room.fitting(state.sources.len());
        if fitting == 0 {
            // What is closed goes on by itself; what is open has to be closed.
            state.hurry |= !state.clean;
            state.starved = true;
            state.wake();
            return None;
        }
        // What time it is is asked only where it matters: this is called for each batch.
        let now = || self.0.clock.now();
        let room = state.pace.room(now);
        if room == 0 {
            return None;
        }
        if table {
            failpoint!(crate::failpoint::P20_TABLE_READ);
        }
        state.unended |= !table;
        if state.clean {
            state.clean = false;
            state.first_read.insert(epoch, now());
            if !state.awaits_due || state.hurry {
                state.wake();
            }
        }
        let left = (state.limits.records - state.records).min(fitting);
        let decided = state.decisions.get(&epoch).map_or(0, Vec::len) > applied;
        Some((
            usize::try_from(left.min(room)).unwrap_or(usize::MAX),
            decided,
        ))
    }

    /// Records after which an epoch closes.
    pub(crate) fn most_records(&self) -> u64 {
        self.state().limits.records
    }

    /// How long the commit of an epoch that is acknowledged waits for the one behind it.
    pub(crate) fn commit_waits(&self, epoch: Epoch) -> Duration {
        self.state().commit_waits(epoch, self.0.clock.now())
    }

    /// Counts what a source has read for an epoch, until operators have passed it.
    pub(crate) fn hold(&self, epoch: Epoch, records: u64, bytes: usize) {
        self.state().room.take(epoch, records, bytes);
    }

    /// Notes that operators have passed all epochs before this one.
    pub(crate) fn passed(&self, epoch: Epoch) {
        let state = &mut *self.state();
        state.room.passed(epoch);
        state.made_room();
    }

    /// Has what is in flight counted with what is fetched.
    pub(crate) fn count_in(&self, in_flight: InFlight) {
        self.state().room.in_flight = in_flight;
    }

    /// What is in flight.
    pub(crate) fn in_flight(&self) -> InFlight {
        self.state().room.in_flight.clone()
    }

    /// Counts what a source has added to a claimed epoch.
    pub(crate) fn spend(&self, epoch: Epoch, records: u64, bytes: usize) {
        let state = &mut *self.state();
        state.room.take(epoch, records, bytes);
        state.taken += records;
        state.pace.take(|| self.0.clock.now(), records);
        if epoch == state.open {
            state.records += records;
            state.bytes += bytes;
            if state.is_spent() {
                state.wake();
            }
        }
    }

    /// Says what a slot should be from the next epoch on, and how far it has come.
    pub(crate) fn wish(&self, slot: usize, status: Status, told: Told) {
        let state = &mut *self.state();
        let of = &mut state.slots[slot];
        of.hear(told, state.limits.lead);
        if of.wish != Some(status) {
            of.wish = Some(status);
            state.wake();
        }
    }

    /// Notes that a table's slot was read, up to this epoch, to the end that streams wait for.
    pub(crate) fn reached(&self, slot: usize, epoch: Epoch) {
        let state = &mut *self.state();
        if state.slots[slot].reached.is_none() {
            state.slots[slot].reached = Some(epoch);
            state.hurry |= epoch == state.open;
            state.wake();
            if state.tables_ready() {
                state.rouse_sources();
            }
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
    pub(crate) fn publish(&self, epoch: Epoch, slot: usize, told: Told, share: Option<Share>) {
        let state = &mut *self.state();
        let of = &mut state.slots[slot];
        of.hear(told, state.limits.lead);
        if let Some(share) = share {
            of.next = share.end;
            state.shares.entry(epoch).or_default().push((slot, share));
        }
    }

    /// Notes where a slot's share of an epoch begins.
    pub(crate) fn begins(&self, epoch: Epoch, slot: usize, base: i64) {
        self.state().bases.insert((epoch, slot), base);
    }

    /// The partition of a source, and the offset that is `offset` behind what `epoch` took first of it.
    pub(crate) fn locate_in(
        &self,
        epoch: Epoch,
        source: usize,
        partition: u32,
        offset: u64,
    ) -> Option<(TopicPartition, i64)> {
        let state = self.state();
        let of = |slot: &SlotState| {
            slot.slot.source == source && slot.slot.partition.partition == partition
        };
        let index = state.slots.iter().position(of)?;
        let offset = state.bases.get(&(epoch, index))? + i64::try_from(offset).ok()?;
        Some((state.slots[index].slot.partition.clone(), offset))
    }

    /// Lets epochs open that are not in the log; true the first time.
    pub(crate) fn go_live(&self) -> bool {
        let now = self.0.clock.now();
        let state = &mut *self.state();
        if state.live {
            return false;
        }
        state.live_since = Some(now);
        state.live = true;
        state.wake();
        state.rouse_sources();
        true
    }

    /// How long epochs have been open that are not in the log, `None` in the replay.
    pub(crate) fn live_for(&self) -> Option<Duration> {
        let since = self.state().live_since?;
        Some(self.0.clock.now().saturating_sub(since))
    }

    /// Whether the run was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.state().stopping
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

    /// Notes that the outputs of all epochs up to this one are acknowledged, and kept until they are committed.
    pub(crate) fn sent(&self, epoch: Epoch) {
        let state = &mut *self.state();
        state.acknowledged = epoch;
        state.went_on();
    }

    /// Notes that the outputs of all epochs up to this one are acknowledged and not kept, the last one's so many bytes.
    pub(crate) fn written(&self, epoch: Epoch, bytes: usize) {
        let state = &mut *self.state();
        state.acknowledged = epoch;
        state.room.outputs(0, bytes);
        state.room.committed(epoch);
        state.made_room();
        state.went_on();
    }

    /// Notes that an epoch is committed, or, in a replay, verified; with the place of its entry, if that is known.
    pub(crate) fn commit(&self, epoch: Epoch, place: Option<LogPlace>) {
        let state = &mut *self.state();
        state.committed = epoch;
        state.acknowledged = state.acknowledged.max(epoch);
        state.room.committed(epoch);
        state.made_room();
        if let Some(keeping) = &mut state.keeping
            && state.live
        {
            keeping.committed(epoch, place);
        }
        state.logged.remove(&epoch);
        state.bases.retain(|(of, _), _| *of > epoch);
        state.went_on();
    }

    /// Shows how far the run has come.
    pub(crate) fn show(&self, progress: &Progress) {
        let state = self.state();
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        progress.committed_epoch.store(state.committed, relaxed);
        progress
            .open_epochs
            .store(state.open.saturating_sub(state.committed), relaxed);
        let streams = || state.slots.iter().filter(|of| !of.slot.table);
        let active = streams()
            .filter(|of| of.status == Status::Active)
            .map(|of| of.stream_time)
            .min();
        let watermark = active.or_else(|| streams().map(|of| of.stream_time).max());
        if let Some(watermark) = watermark {
            progress.watermark.fetch_max(watermark.as_millis(), relaxed);
        }
    }

    /// Adds or takes off bytes of outputs that are not committed.
    pub(crate) fn outputs(&self, added: usize, gone: usize) {
        let state = &mut *self.state();
        state.room.outputs(added, gone);
        state.made_room();
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
