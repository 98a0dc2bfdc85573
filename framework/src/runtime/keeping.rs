//! When state is kept, and the engine's own part of it: how far every partition was read.
//!
//! A snapshot is of the close of an epoch. The ticker says of which, before that epoch can close anywhere; operators and
//! sources hand their state over when they close it; it is published once that epoch is committed. At a clean end the
//! state of the last epoch is handed over at the close of the empty one behind it.

use std::sync::Arc;
use std::time::Duration;

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::failpoint;
use tiderace_operators::record::EventTime;

use super::basis::Standing;
use super::epochs::Epochs;
use crate::snapshot::{InputPlace, LogPlace, SnapshotKeeper};

/// When state is kept.
pub(crate) struct Keeping {
    keeper: Arc<SnapshotKeeper>,
    interval: Duration,
    /// When one was wanted last. `None` behind a replay: the next is wanted at once, or a run that crashes again and again
    /// before the interval is over would replay more each time.
    wanted_at: Option<Duration>,
    /// The epoch at whose close sources hand over; 0 if none.
    close: Epoch,
    /// The epoch whose state was wanted last, or with which the run began.
    state_of: Epoch,
    /// Whether stream records had been read since the input last ended, then.
    unended: bool,
    /// How far each slot was read, of those that there were when the snapshot was wanted, if it has handed that over.
    inputs: Vec<Option<InputPlace>>,
    /// How far partitions were read that the program does not read any more: it may read them again.
    unread: Vec<InputPlace>,
    /// The last epoch that is committed, and where its entry lies if that is known.
    committed: (Epoch, Option<LogPlace>),
}

impl Keeping {
    /// A run that leaves these partitions `unread` and goes on from the state of epoch `basis`; the last epoch that is
    /// committed is `committed`.
    pub(crate) fn new(
        keeper: Arc<SnapshotKeeper>,
        interval: Duration,
        unread: Vec<InputPlace>,
        basis: Epoch,
        committed: (Epoch, Option<LogPlace>),
    ) -> Self {
        Keeping {
            keeper,
            interval,
            wanted_at: (committed.0 == basis).then_some(Duration::ZERO),
            close: 0,
            state_of: basis,
            unended: false,
            inputs: Vec::new(),
            unread,
            committed,
        }
    }

    /// An epoch is about to close that reads so many slots: whether its state is to be kept is decided now.
    pub(super) fn closing(&mut self, epoch: Epoch, unended: bool, slots: usize, now: Duration) {
        let is_over = |at: Duration| now.saturating_sub(at) >= self.interval;
        let due = self.wanted_at.is_none_or(is_over);
        if due && self.want(epoch, epoch, unended, slots) {
            self.wanted_at = Some(now);
        }
    }

    /// The run ends in order with `open` open and empty. False if the snapshot before is still under way: ask again.
    pub(super) fn ending(&mut self, open: Epoch, unended: bool, slots: usize) -> bool {
        let last = open.saturating_sub(1);
        self.state_of == last || self.want(open, last, unended, slots)
    }

    fn want(&mut self, close: Epoch, state_of: Epoch, unended: bool, slots: usize) -> bool {
        if !self.keeper.want(state_of, close) {
            return false;
        }
        failpoint!(crate::failpoint::P14_WANTED);
        self.close = close;
        self.state_of = state_of;
        self.unended = unended;
        self.inputs = vec![None; slots];
        self.tell_committed();
        true
    }

    /// Whether sources hand over at the close of this epoch.
    pub(super) fn keeps(&self, epoch: Epoch) -> bool {
        self.close == epoch
    }

    /// Whether a snapshot is wanted of the state at the end of this epoch.
    pub(super) fn keeps_state_of(&self, epoch: Epoch) -> bool {
        self.state_of == epoch
    }

    /// Takes in how far a slot was read, and what its source knows beside that.
    pub(super) fn keep(
        &mut self,
        slot: usize,
        input: InputPlace,
        (ended, floor): (Option<EventTime>, EventTime),
    ) {
        self.inputs[slot] = Some(input);
        if self.inputs.iter().all(Option::is_some) {
            let read = self.inputs.iter_mut().filter_map(Option::take);
            let inputs = read.chain(self.unread.iter().cloned()).collect();
            let standing = Standing {
                unended: self.unended,
                ended,
                floor: (floor > EventTime::MIN).then_some(floor),
            };
            let standing =
                serde_json::to_value(standing).expect("it holds nothing that JSON cannot");
            self.keeper.sources(self.state_of, inputs, standing);
        }
    }

    /// Notes that an epoch is committed.
    pub(super) fn committed(&mut self, epoch: Epoch, place: Option<LogPlace>) {
        self.committed = (epoch, place);
        self.tell_committed();
    }

    fn tell_committed(&self) {
        if let (epoch, Some(place)) = &self.committed
            && *epoch == self.state_of
        {
            self.keeper.committed(*epoch, place.clone());
        }
    }
}

impl Epochs {
    /// Has state kept from now on.
    pub(crate) fn set_keeping(&self, keeping: Keeping) {
        self.state().keeping = Some(keeping);
    }

    /// Lets go of whoever keeps state: its thread ends before another life of the run begins.
    pub(crate) fn end_keeping(&self) {
        self.state().keeping = None;
    }

    /// Whether sources hand over how far they have read at the close of this epoch.
    pub(crate) fn keeps(&self, epoch: Epoch) -> bool {
        self.state()
            .keeping
            .as_ref()
            .is_some_and(|keeping| keeping.keeps(epoch))
    }

    /// Whether a snapshot is wanted of the state at the end of this epoch.
    pub(crate) fn keeps_state_of(&self, epoch: Epoch) -> bool {
        let state = self.state();
        state
            .keeping
            .as_ref()
            .is_some_and(|keeping| keeping.keeps_state_of(epoch))
    }

    /// Takes in, for a snapshot, how far a slot was read and what its source knows beside that.
    pub(crate) fn keep(
        &self,
        slot: usize,
        input: InputPlace,
        standing: (Option<EventTime>, EventTime),
    ) {
        if let Some(keeping) = &mut self.state().keeping {
            keeping.keep(slot, input, standing);
        }
    }
}
