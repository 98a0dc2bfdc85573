//! The points of the matrix and what may happen at each: a line a point.

use tiderace::failpoint::{self as points, Point};

use crate::topologies::Keeps;

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

/// When the lives of a case keep snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// When they end in order: the next life behind a crash replays everything.
    AtTheEnd,
    /// With every epoch that finds the one before done.
    Often,
}

use Kept::{AtTheEnd, Often};

/// A point with the actions that are possible there.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub(crate) point: &'static Point,
    pub(crate) actions: &'static [Action],
    /// Whether the first life is killed half-way in any case, so that there is a second to strike.
    pub(crate) in_second_life: bool,
    /// When snapshots are kept: of several, the cases take turns.
    pub(crate) kept: &'static [Kept],
    /// Which topologies pass it.
    pub(crate) passed_by: fn(Keeps) -> bool,
    /// How many of its passes are struck at most.
    pub(crate) strikes: usize,
}

/// Struck at its first two passes, a middle one and its last two.
const fn line(point: &'static Point, actions: &'static [Action]) -> Line {
    Line {
        point,
        actions,
        in_second_life: false,
        kept: &[AtTheEnd, Often],
        passed_by: |_| true,
        strikes: 5,
    }
}

/// Struck at its first two passes and its last one, with snapshots in the middle of the run.
const fn snapshot(
    point: &'static Point,
    actions: &'static [Action],
    passed_by: fn(Keeps) -> bool,
) -> Line {
    Line {
        kept: &[Often],
        passed_by,
        strikes: 3,
        ..line(point, actions)
    }
}

const fn second_life(line: Line, kept: &'static [Kept]) -> Line {
    Line {
        in_second_life: true,
        kept,
        ..line
    }
}

const fn thrice(line: Line) -> Line {
    Line { strikes: 3, ..line }
}

const ALL: fn(Keeps) -> bool = |_| true;
const STATEFUL: fn(Keeps) -> bool = |keeps| !matches!(keeps, Keeps::Nothing);
const GROWING: fn(Keeps) -> bool = |keeps| matches!(keeps, Keeps::Windows);
const TABLE: fn(Keeps) -> bool = |keeps| matches!(keeps, Keeps::Rows);

/// Outside transactions nothing is in doubt; what cannot fail can panic.
pub(crate) static POINTS: [Line; 32] = [
    line(&points::P01_POLLED, &[Kill, Panic, Error, Delay]),
    line(&points::P02_MID_OPERATOR, &[Kill, Panic, Delay]),
    line(&points::P03_EPOCH_CLOSED, &[Kill, Panic, Error, Delay]),
    line(&points::P04_BEGUN, &[Kill, Panic, Error, Doubt, Delay]),
    line(
        &points::P05_RECORD_SENT,
        &[Kill, Panic, Error, Doubt, Delay],
    ),
    thrice(line(
        &points::P06_PARTLY_WRITTEN,
        &[Kill, Panic, Error, Delay],
    )),
    line(
        &points::P07_OUTPUTS_SENT,
        &[Kill, Panic, Error, Doubt, Delay],
    ),
    thrice(line(
        &points::P08_ENTRY_SENT,
        &[Kill, Panic, Error, Doubt, Delay],
    )),
    line(&points::P09_FLUSHED, &[Kill, Panic, Error, Doubt, Delay]),
    line(
        &points::P10_BEFORE_COMMIT,
        &[Kill, Panic, Error, Doubt, Delay],
    ),
    line(
        &points::P11_BEHIND_COMMIT,
        &[Kill, Panic, Error, Doubt, Delay],
    ),
    snapshot(&points::P14_WANTED, &[Kill, Panic, Delay], ALL),
    snapshot(&points::P14_HANDING_OVER, &[Kill, Panic, Delay], STATEFUL),
    snapshot(&points::P14_HANDED_OVER, &[Kill, Panic, Delay], STATEFUL),
    snapshot(&points::P14_COMPLETE, &[Kill, Panic, Delay], ALL),
    snapshot(&points::P15_CREATED, &[Kill, Panic, Error, Delay], ALL),
    snapshot(&points::P15_APPENDED, &[Kill, Panic, Delay], ALL),
    snapshot(&points::P16_SYNCED, &[Kill, Panic, Error, Delay], ALL),
    snapshot(&points::P16_RENAMED, &[Kill, Panic, Error, Delay], ALL),
    snapshot(&points::P17_DELETING, &[Kill, Panic, Error, Delay], ALL),
    snapshot(&points::P17_MERGING, &[Kill, Panic, Error, Delay], GROWING),
    snapshot(&points::P17_MERGED, &[Kill, Panic, Delay], GROWING),
    second_life(
        snapshot(&points::P18_LISTED, &[Kill, Panic, Error, Delay], ALL),
        &[Often],
    ),
    second_life(
        snapshot(
            &points::P18_VERIFIED,
            &[Kill, Panic, Error, Delay],
            STATEFUL,
        ),
        &[Often],
    ),
    second_life(
        snapshot(
            &points::P18_RESTORING,
            &[Kill, Panic, Error, Delay],
            STATEFUL,
        ),
        &[Often],
    ),
    second_life(
        thrice(line(&points::P18_SOUGHT, &[Kill, Panic, Error, Delay])),
        &[AtTheEnd, Often],
    ),
    second_life(
        line(&points::P18_REPLAYED, &[Kill, Panic, Error, Delay]),
        &[AtTheEnd],
    ),
    second_life(
        thrice(line(&points::P18_LIVE, &[Kill, Panic, Error, Delay])),
        &[AtTheEnd, Often],
    ),
    second_life(
        line(&points::P19_FENCED, &[Kill, Panic, Error, Delay]),
        &[AtTheEnd, Often],
    ),
    Line {
        passed_by: TABLE,
        ..line(&points::P20_TABLE_READ, &[Kill, Panic, Delay])
    },
    line(&points::P20_ENDED, &[Kill, Panic, Delay]),
    line(&points::P20_END, &[Kill, Panic, Delay]),
];

/// The start that finds partitions which an earlier one did not know: before the entry that says so, and behind it.
pub(crate) static WITH_PARTITIONS_ADDED: [Line; 11] = [
    line(&points::P01_POLLED, &[Kill, Panic, Error]),
    line(&points::P03_EPOCH_CLOSED, &[Kill, Panic]),
    line(&points::P10_BEFORE_COMMIT, &[Kill, Error, Doubt]),
    line(&points::P11_BEHIND_COMMIT, &[Kill, Error, Doubt]),
    snapshot(&points::P14_COMPLETE, &[Kill], ALL),
    snapshot(&points::P16_RENAMED, &[Kill], ALL),
    line(&points::P18_LISTED, &[Kill, Error]),
    line(&points::P18_SOUGHT, &[Kill, Panic, Error, Delay]),
    line(&points::P19_FENCED, &[Kill]),
    line(&points::P20_ENDED, &[Kill, Panic, Delay]),
    line(&points::P20_END, &[Kill, Panic, Delay]),
];

/// A run without an end whose partitions go idle, of which one wakes.
pub(crate) static WITH_SILENCE: [Line; 6] = [
    line(&points::P03_EPOCH_CLOSED, &[Kill]),
    line(&points::P10_BEFORE_COMMIT, &[Kill]),
    line(&points::P11_BEHIND_COMMIT, &[Kill]),
    snapshot(&points::P16_RENAMED, &[Kill], ALL),
    line(&points::P20_IDLE, &[Kill, Panic, Delay]),
    line(&points::P20_ACTIVE, &[Kill, Panic, Delay]),
];
