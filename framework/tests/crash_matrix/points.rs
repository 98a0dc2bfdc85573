//! The points of the matrix and what may happen at each: a line a point.

use tiderace::failpoint::{self as points, Point};

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The process is gone: what is on the disk at this moment is all that the next start finds.
    Kill,
    /// Its thread panics.
    Panic,
    /// Its step fails, and had no effect.
    Error,
    /// Its step is in doubt; at `P11` it was applied, elsewhere it was not.
    Doubt,
    /// It takes its time.
    Delay,
}

use Action::{Delay, Doubt, Error, Kill, Panic};

/// A point with the actions that are possible there.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub(crate) point: &'static Point,
    pub(crate) actions: &'static [Action],
    /// Whether the first life is killed half-way in any case, so that there is a second to strike.
    pub(crate) in_second_life: bool,
}

const fn line(point: &'static Point, actions: &'static [Action]) -> Line {
    Line {
        point,
        actions,
        in_second_life: false,
    }
}

const fn second_life(point: &'static Point, actions: &'static [Action]) -> Line {
    Line {
        in_second_life: true,
        ..line(point, actions)
    }
}

/// Outside transactions nothing is in doubt; an operator cannot fail but by a panic.
pub(crate) static POINTS: [Line; 11] = [
    line(&points::P01_POLLED, &[Kill, Panic, Error, Delay]),
    line(&points::P02_MID_OPERATOR, &[Kill, Panic, Delay]),
    line(&points::P03_EPOCH_CLOSED, &[Kill, Panic, Error, Delay]),
    line(&points::P04_BEGUN, &[Kill, Panic, Error, Doubt, Delay]),
    line(
        &points::P05_RECORD_SENT,
        &[Kill, Panic, Error, Doubt, Delay],
    ),
    line(
        &points::P07_OUTPUTS_SENT,
        &[Kill, Panic, Error, Doubt, Delay],
    ),
    line(&points::P09_FLUSHED, &[Kill, Panic, Error, Doubt, Delay]),
    line(
        &points::P10_BEFORE_COMMIT,
        &[Kill, Panic, Error, Doubt, Delay],
    ),
    line(
        &points::P11_BEHIND_COMMIT,
        &[Kill, Panic, Error, Doubt, Delay],
    ),
    second_life(&points::P18_REPLAYED, &[Kill, Panic, Error, Delay]),
    second_life(&points::P19_FENCED, &[Kill, Panic, Error, Delay]),
];
