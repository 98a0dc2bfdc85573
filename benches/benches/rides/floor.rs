//! Whether the loop by hand is as good as a loop has been shown to be: decoding and counting rides that lie
//! in memory, against a floor that was measured on another machine and is scaled by the calibration loop.

use std::hint::black_box;

use tiderace_benches::machine::REFERENCE_CALIBRATION;
use tiderace_benches::measure::{Spread, cost, nanoseconds_each};
use tiderace_benches::zone_counts::ZoneCounts;

/// CPU nanoseconds to decode three fields of a ride and count it in a window, on the reference machine.
const FLOOR: f64 = 427.0;
/// How much dearer the loop may be.
const TOLERANCE: f64 = 1.15;

/// What the loop takes in memory, and what it may take here.
pub(crate) struct Floor {
    /// CPU nanoseconds per ride.
    pub(crate) measured: Spread,
    /// The floor of this machine.
    pub(crate) expected: f64,
}

impl Floor {
    /// Counts the values, each in the partition of its slot, several times over.
    pub(crate) fn measure(
        values: &[(usize, Vec<u8>)],
        window: i64,
        grace: i64,
        calibration: f64,
    ) -> Self {
        let partitions = values.iter().map(|(slot, _)| slot + 1).max().unwrap_or(1);
        let run = || {
            let (mut counts, mut closed) = (ZoneCounts::new(window, grace, partitions), Vec::new());
            for batch in values.chunks(1_000) {
                for (slot, value) in batch {
                    counts.take(*slot, value).expect("the topic holds rides");
                }
                counts.close_passed(&mut closed);
                black_box(&closed);
                closed.clear();
            }
        };
        run();
        let measured =
            Spread::of((0..5).map(|_| nanoseconds_each(cost(run).1.cpu, values.len() as u64)));
        Floor {
            measured,
            expected: FLOOR * calibration / REFERENCE_CALIBRATION,
        }
    }

    /// Whether the loop comes near enough for a ratio to it to mean something. Being faster is no fault.
    pub(crate) fn holds(&self) -> bool {
        self.measured.min <= self.expected * TOLERANCE
    }
}
