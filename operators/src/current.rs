//! What this worker thread is busy with: the step and the record that a panic in user code is blamed on.

use std::cell::Cell;

use crate::record::Position;

thread_local! {
    static STEP: Cell<u32> = const { Cell::new(u32::MAX) };
    static POSITION: Cell<Option<Position>> = const { Cell::new(None) };
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

/// The step entered last and the record noted last, on this thread.
pub fn culprit() -> (Option<u32>, Option<Position>) {
    (
        Some(STEP.get()).filter(|step| *step != u32::MAX),
        POSITION.get(),
    )
}
