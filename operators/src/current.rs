//! What this worker thread is busy with: the step and the record that a panic in user code is blamed on, and where
//! a thread that does not go on is found by whoever watches it.
//!
//! Nothing is noted between operators, so that a fault of the engine is not blamed on the record that came last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::dataflow::Epoch;
use crate::record::Position;

const NO_STEP: u32 = u32::MAX;
/// Also the bits of a result at the end of time, which names no record either.
const NO_POSITION: u64 = u64::MAX;

thread_local! {
    static PLACE: Arc<Place> = Arc::new(Place::default());
}

/// Where a worker thread is. Written by the thread alone, read by those who watch it.
#[derive(Debug)]
pub struct Place {
    epoch: AtomicU64,
    step: AtomicU32,
    position: AtomicU64,
    /// Whether the record at `position` is the only one that is being processed.
    alone: AtomicBool,
    turns: AtomicU64,
}

impl Default for Place {
    fn default() -> Self {
        Place {
            epoch: AtomicU64::new(0),
            step: AtomicU32::new(NO_STEP),
            position: AtomicU64::new(NO_POSITION),
            alone: AtomicBool::new(true),
            turns: AtomicU64::new(0),
        }
    }
}

impl Place {
    /// Who is to blame if the thread fails, or does not go on, where it is now.
    pub fn culprit(&self) -> Culprit {
        let step = self.step.load(Ordering::Relaxed);
        let bits = self.position.load(Ordering::Relaxed);
        let epoch = self.epoch.load(Ordering::Relaxed);
        Culprit {
            step: (step != NO_STEP).then_some(step),
            record: (bits != NO_POSITION).then(|| (epoch, Position::from_bits(bits))),
            alone: self.alone.load(Ordering::Relaxed),
        }
    }

    /// Notes the record that is being processed.
    #[inline]
    pub fn at(&self, position: Position) {
        self.position.store(position.bits(), Ordering::Relaxed);
    }

    /// What changes whenever the thread goes on: how often it has come round, and the record it is at.
    pub fn trace(&self) -> (u64, u64) {
        (
            self.turns.load(Ordering::Relaxed),
            self.position.load(Ordering::Relaxed),
        )
    }
}

/// Who is to blame for a panic or a standstill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// The step, by its number in the topology; `None` if no step was being run.
    pub step: Option<u32>,
    /// The record that was being processed, with its epoch.
    pub record: Option<(Epoch, Position)>,
    /// Whether nothing but that record was being processed, rather than what several came to.
    pub alone: bool,
}

/// The place of this thread, for those who watch it.
pub fn place() -> Arc<Place> {
    PLACE.with(Arc::clone)
}

/// Notes that this thread has come round once more.
pub fn turn() {
    PLACE.with(|place| place.turns.fetch_add(1, Ordering::Relaxed));
}

/// Notes the epoch whose records come next, operators being not all at the same one; none of them is at hand yet.
pub fn during(epoch: Epoch) {
    PLACE.with(|place| place.epoch.store(epoch, Ordering::Relaxed));
    leave();
}

/// Notes the step, by its number in the topology, whose closure is about to be called.
#[inline]
pub fn enter(step: u32) {
    PLACE.with(|place| place.step.store(step, Ordering::Relaxed));
}

/// Notes the record that is being processed.
#[inline]
pub fn at(position: Position) {
    PLACE.with(|place| place.at(position));
}

/// Has step `number` of the topology go through records: what it does notes each by [`Place::at`], which is cheaper
/// than [`at`].
#[inline]
pub fn in_step<R>(number: u32, work: impl FnOnce(&Place) -> R) -> R {
    PLACE.with(|place| {
        place.step.store(number, Ordering::Relaxed);
        work(place)
    })
}

/// Notes whether the records that come are each processed alone, rather than what several came to, of which the last
/// is noted.
pub fn are_alone(alone: bool) {
    PLACE.with(|place| place.alone.store(alone, Ordering::Relaxed));
}

/// Notes that no user code is being run and no record processed.
pub fn leave() {
    PLACE.with(|place| {
        place.step.store(NO_STEP, Ordering::Relaxed);
        place.position.store(NO_POSITION, Ordering::Relaxed);
        place.alone.store(true, Ordering::Relaxed);
    });
}

/// Who is to blame if this thread panics now.
pub fn culprit() -> Culprit {
    PLACE.with(|place| place.culprit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_forgotten_between_operators() {
        let position = Position::read(1, 2, 3).unwrap();
        during(7);
        enter(4);
        at(position);
        let culprit_of = |step, record, alone| Culprit {
            step,
            record,
            alone,
        };
        assert_eq!(culprit(), culprit_of(Some(4), Some((7, position)), true));
        are_alone(false);
        at(position);
        assert!(!culprit().alone);
        leave();
        in_step(4, |here| here.at(position));
        assert_eq!(culprit(), culprit_of(Some(4), Some((7, position)), true));
        leave();
        assert_eq!(culprit(), culprit_of(None, None, true));
    }

    #[test]
    fn a_watcher_sees_the_step_and_whether_the_thread_goes_on() {
        let here = place();
        let (before, position) = (here.trace(), Position::read(0, 0, 5).unwrap());
        enter(3);
        assert_eq!((here.culprit().step, here.trace()), (Some(3), before));
        at(position);
        assert_ne!(here.trace(), before);
        leave();
        turn();
        assert_ne!(here.trace(), before);
        assert_eq!(here.culprit().step, None);
    }
}
