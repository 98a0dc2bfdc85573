//! The workloads: what each reads, how much of it, and what the engine has to reach.

use serde::{Deserialize, Serialize};
use tiderace_benches::peers;

use crate::suite::Effort;

/// What is computed; `peers/README.md` has topics, keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Workload {
    /// P1: pass-through with a filter.
    Filter,
    /// P2: rides per zone in tumbling windows, final results.
    Windows,
    /// P3: a running count over 265 keys.
    Counts,
    /// P3 over a million keys.
    WideCounts,
    /// P3 over so many keys, each of which comes once before one comes again.
    Keyed(u32),
    /// P4: a running count by word, exchanged between workers.
    Words,
}

/// Length of a window of [`Workload::Windows`], in milliseconds.
pub(super) const WINDOW: i64 = 10_000;

/// Keys of [`Workload::WideCounts`].
pub(super) const WIDE_KEYS: u64 = 1_000_000;

/// Words of a line of [`Workload::Words`].
pub(super) const WORDS_A_LINE: u64 = 10;

/// What a workload is measured by.
pub(super) struct Goals {
    /// CPU of the loop, in microseconds a record or word, where it was measured first: on a machine with the reference's calibration.
    pub(super) floor_us: f64,
    /// Most CPU of the engine, in times of the loop's.
    pub(super) to_loop: f64,
    /// Least CPU of Kafka Streams, warm, in times of the engine's.
    pub(super) of_streams: f64,
    /// Most memory, in times of the loop's and of Kafka Streams'.
    pub(super) memory: Option<(f64, f64)>,
}

impl Workload {
    pub(crate) const ALL: [Workload; 5] = [
        Workload::Filter,
        Workload::Windows,
        Workload::Counts,
        Workload::WideCounts,
        Workload::Words,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::Filter => "p1",
            Workload::Windows => "p2",
            Workload::Counts => "p3",
            Workload::WideCounts => "p3-wide",
            Workload::Keyed(_) => "keys",
            Workload::Words => "p4",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Workload::Filter => "rides that were driven, passed on as they are",
            Workload::Windows => "rides per zone in windows of 10 s, 265 zones, final results",
            Workload::Counts => "a running count of rides, 265 keys",
            Workload::WideCounts => "a running count of rides, a million keys, snapshots on",
            Workload::Keyed(_) => "a running count of rides, snapshots on",
            Workload::Words => "words of lines counted by word, 5,000 words",
        }
    }

    /// Records of the input: enough that Kafka Streams is warm in the second half.
    pub(super) fn records(self, effort: Effort) -> u64 {
        match (effort, self) {
            (Effort::Quick, Workload::Words) => 50_000 / WORDS_A_LINE,
            (Effort::Quick, _) => 50_000,
            // As many again as a tenth of the keys.
            (_, Workload::Keyed(keys)) => (u64::from(keys) * 11 / 10).max(1_000_000),
            // Of more, Kafka Streams would take most of the time that a full run has.
            (Effort::Full, Workload::Filter) => 3_000_000,
            (Effort::Full, Workload::WideCounts) => 2_000_000,
            (Effort::Full, Workload::Windows | Workload::Counts) => 4_000_000,
            (Effort::Full, Workload::Words) => 6_000_000 / WORDS_A_LINE,
            (Effort::Usual, Workload::Words) => 20_000_000 / WORDS_A_LINE,
            _ => 5_000_000,
        }
    }

    /// What a figure is of.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Workload::Words => "word",
            _ => "record",
        }
    }

    /// Units of a record.
    pub(super) fn units_a_record(self) -> u64 {
        match self {
            Workload::Words => WORDS_A_LINE,
            _ => 1,
        }
    }

    /// Time a unit that the engine and the loop take, and Kafka Streams, in nanoseconds: what plans count with, of this
    /// suite's first runs and of the reference's section 1.4.
    pub(super) fn expected_ns(self) -> (f64, f64) {
        match self {
            Workload::Filter => (2_000.0, 4_500.0),
            Workload::Windows => (900.0, 4_300.0),
            Workload::Counts => (1_000.0, 2_900.0),
            Workload::WideCounts | Workload::Keyed(_) => (2_600.0, 19_000.0),
            Workload::Words => (150.0, 2_500.0),
        }
    }

    /// Goals of the issue of speed; floors of the reference's section 1.4.
    pub(super) fn goals(self) -> Goals {
        let goals = |floor_us, to_loop, of_streams, memory| Goals {
            floor_us,
            to_loop,
            of_streams,
            memory,
        };
        match self {
            Workload::Filter => goals(2.58, 1.10, 1.9, None),
            Workload::Windows => goals(1.04, 1.15, 3.3, None),
            Workload::Counts => goals(1.07, 1.15, 2.5, Some((1.3, 0.6))),
            Workload::WideCounts | Workload::Keyed(_) => goals(2.42, 1.20, 7.5, Some((1.3, 0.35))),
            Workload::Words => goals(0.12, 1.8, 15.0, None),
        }
    }

    /// CPU of the loop where it was measured first; see [`Goals`].
    pub(crate) fn floor_us(self) -> f64 {
        self.goals().floor_us
    }

    pub(super) fn of_streams(self) -> peers::Workload {
        match self {
            Workload::Filter => peers::Workload::Filter,
            Workload::Windows => peers::Workload::Windows,
            Workload::Counts | Workload::WideCounts | Workload::Keyed(_) => peers::Workload::Counts,
            Workload::Words => peers::Workload::Words,
        }
    }

    /// Whether there is state that Kafka Streams can keep in one way or another.
    pub(super) fn has_state(self) -> bool {
        self != Workload::Filter
    }

    /// Whether only the last value of each key is the same on all sides: how many of the others go out depends on when
    /// commits happen.
    pub(super) fn updates(self) -> bool {
        matches!(
            self,
            Workload::Counts | Workload::WideCounts | Workload::Keyed(_) | Workload::Words
        )
    }
}
