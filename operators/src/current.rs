//! What this worker thread is busy with: the step and the record that a panic in user code is blamed on.

use std::cell::Cell;

use crate::dataflow::Epoch;
use crate::record::Position;

thread_local! {
    static EPOCH: Cell<Epoch> = const { Cell::new(0) };
    static STEP: Cell<u32> = const { Cell::new(u32::MAX) };
    static POSITION: Cell<Option<Position>> = const { Cell::new(None) };
}

/// Notes the epoch whose records come next: operators are not all at the same one.
pub fn during(epoch: Epoch) {
    EPOCH.set(epoch);
}

/// Notes the step, by its number in the topology, whose closure is about to be called.
#[inline]
pub fn enter(step: u32) {
    STEP.set(step);
}

/// Notes the record that is being processed.
#[inline]
pub fn at(position: Position) {
    POSITION.set(Some(position));
}

/// The step entered last and the record noted last with its epoch, on this thread.
pub fn culprit() -> (Option<u32>, Option<(Epoch, Position)>) {
    (
        Some(STEP.get()).filter(|step| *step != u32::MAX),
        POSITION.get().map(|position| (EPOCH.get(), position)),
    )
}
