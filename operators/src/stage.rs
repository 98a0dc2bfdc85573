//! What an operator with one input does, and what has it see its epochs one after another.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use timely::progress::frontier::MutableAntichain;

use crate::batch::{Batch, Mark};
use crate::changes::{Haste, Left};
use crate::current;
use crate::dataflow::{Epoch, Head, NEVER, Ports, RecordInput};
use crate::record::Record;

/// What an operator with one input does; see [`drive`].
pub trait Stage<K, V>: 'static {
    /// Takes a record of the open epoch.
    fn record(&mut self, record: Record<K, V>);
    /// Takes records of the open epoch, in their order.
    fn records(&mut self, records: impl Iterator<Item = Record<K, V>>) {
        records.for_each(|record| self.record(record));
    }
    /// Takes a mark of the open epoch.
    fn mark(&mut self, mark: Mark, ports: &mut Ports);
    /// The open epoch is complete: emits what is left of it.
    fn close(&mut self, epoch: Epoch, ports: &mut Ports);
    /// The epochs `closed` are complete, and the state is that of each: those behind the first were empty. If a
    /// snapshot of one of them is wanted, what changed is to be handed over as it is now.
    fn closed(&mut self, _closed: Range<Epoch>) {}
    /// Hands over some of what a snapshot is wanted of; called whenever the operator is.
    fn hand_over(&mut self, _haste: Haste) -> Left {
        Left::Nothing
    }
}

/// How soon an operator asks again whether a keeper that was full takes more.
const RETRY: Duration = Duration::from_millis(1);

/// Runs a stage over an input, its epochs one after another.
pub fn drive<K: 'static, V: 'static>(
    mut head: Head<'_>,
    mut input: RecordInput<K, V>,
    mut stage: impl Stage<K, V>,
) {
    let mut epochs = Epochs::<Batch<K, V>>::default();
    let address = head.builder().operator_info().address;
    let again = head.scope().worker().activator_for(address);
    head.build(move |frontiers, ports| {
        input(&mut |epoch, batch| {
            if epochs.arrives(epoch, batch) {
                current::during(epoch);
                apply(&mut stage, batch, ports);
            }
        });
        let reached = frontier(&frontiers[0]);
        loop {
            let closing = epochs.open();
            let Some(waiting) = epochs.next(reached) else {
                break;
            };
            current::during(closing);
            stage.close(closing, ports);
            stage.closed(closing..epochs.open());
            ports.advance_to(epochs.open());
            current::during(epochs.open());
            for mut batch in waiting {
                apply(&mut stage, &mut batch, ports);
            }
        }
        ports.flush();
        let haste = if epochs.open() == NEVER {
            Haste::All
        } else {
            Haste::Slice
        };
        match stage.hand_over(haste) {
            Left::Nothing => {}
            Left::More => again.activate(),
            Left::Blocked => again.activate_after(RETRY),
        }
    });
}

fn apply<K, V>(stage: &mut impl Stage<K, V>, batch: &mut Batch<K, V>, ports: &mut Ports) {
    let (mut records, marks) = batch.parts();
    let mut taken = 0;
    for (behind, mark) in marks {
        stage.records(records.by_ref().take((behind - taken) as usize));
        taken = behind;
        stage.mark(mark, ports);
    }
    stage.records(records);
}

/// Gives an operator its epochs one after another: what comes for a later epoch waits until the frontier has
/// passed the earlier ones.
pub struct Epochs<B> {
    open: Epoch,
    waiting: BTreeMap<Epoch, Vec<B>>,
}

impl<B> Default for Epochs<B> {
    fn default() -> Self {
        Epochs {
            open: 0,
            waiting: BTreeMap::new(),
        }
    }
}

impl<B: Default> Epochs<B> {
    /// The open epoch, [`NEVER`] once all input has ended.
    pub fn open(&self) -> Epoch {
        self.open
    }

    /// Whether something of `epoch` may be processed on arrival; if not it is taken and kept for later.
    pub fn arrives(&mut self, epoch: Epoch, batch: &mut B) -> bool {
        if epoch == self.open {
            return true;
        }
        self.waiting
            .entry(epoch)
            .or_default()
            .push(std::mem::take(batch));
        false
    }

    /// If the frontier has passed the open epoch: opens the next one and returns what waited for it.
    pub fn next(&mut self, frontier: Epoch) -> Option<Vec<B>> {
        if frontier <= self.open {
            return None;
        }
        self.open = self
            .waiting
            .keys()
            .next()
            .map_or(frontier, |first| frontier.min(*first));
        Some(self.waiting.remove(&self.open).unwrap_or_default())
    }
}

/// The smallest epoch of a frontier, [`NEVER`] when it is empty.
pub fn frontier(antichain: &MutableAntichain<Epoch>) -> Epoch {
    antichain.frontier().first().copied().unwrap_or(NEVER)
}
