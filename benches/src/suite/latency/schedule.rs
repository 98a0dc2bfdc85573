//! What is sent, and when each record is due: fixed before the first is sent, whatever becomes of those before it.

use std::time::Duration;

use tiderace::connect::partition_for;

use crate::suite::topics::PARTITIONS;

/// Zones of the rides.
const ZONES: u64 = 265;

/// A load at a steady rate, behind records that are there before it and warm a side up.
#[derive(Clone, Copy, Debug)]
pub(in crate::suite) struct Load {
    /// Records that are sent before, as fast as it goes; their latency is nobody's.
    pub(in crate::suite) warm_up: u64,
    /// Records a second.
    pub(in crate::suite) rate: u64,
    /// How long they are sent.
    pub(in crate::suite) seconds: u64,
    /// The first seconds, which are left out of every figure.
    pub(in crate::suite) dropped: u64,
}

impl Load {
    pub(in crate::suite) fn records(&self) -> u64 {
        self.warm_up + self.rate * self.seconds
    }

    /// When a record is due, behind the start of the load; those of the warm-up are due before.
    pub(in crate::suite) fn due(&self, nth: u64) -> Option<Duration> {
        let nth = nth.checked_sub(self.warm_up)?;
        Some(Duration::from_nanos(nth * 1_000_000_000 / self.rate))
    }

    /// The records that are due by now, `since` the start of the load.
    pub(in crate::suite) fn due_by(&self, since: Duration) -> u64 {
        let due = since.as_nanos() * u128::from(self.rate) / 1_000_000_000 + 1;
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        self.warm_up + due.min(self.rate * self.seconds)
    }
}

/// The zone of a record: drawn evenly, the same in every run.
pub(in crate::suite) fn zone(nth: u64) -> u64 {
    let mut mixed = nth.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    1 + (mixed ^ (mixed >> 31)) % ZONES
}

/// The partition of a zone's records.
pub(in crate::suite) fn partition(zone: u64) -> usize {
    partition_for(zone.to_string().as_bytes(), PARTITIONS) as usize
}

/// Which records lie where, in order: a count of `n` of a zone answers its first `n` records, and so tells when each of
/// them was due.
pub(in crate::suite) struct Places {
    by_zone: Vec<Vec<u32>>,
    by_partition: Vec<Vec<u32>>,
}

impl Places {
    pub(in crate::suite) fn of(load: &Load) -> Self {
        let mut by_zone = vec![Vec::new(); ZONES as usize + 1];
        let mut by_partition = vec![Vec::new(); PARTITIONS as usize];
        let partitions: Vec<usize> = (0..=ZONES).map(partition).collect();
        for nth in 0..load.records() {
            let zone = zone(nth) as usize;
            let nth = u32::try_from(nth).expect("a run has fewer records than 2^32");
            by_zone[zone].push(nth);
            by_partition[partitions[zone]].push(nth);
        }
        Places {
            by_zone,
            by_partition,
        }
    }

    /// The records of a zone; none if there is no such zone.
    pub(in crate::suite) fn of_zone(&self, zone: usize) -> &[u32] {
        self.by_zone.get(zone).map_or(&[], Vec::as_slice)
    }

    pub(in crate::suite) fn of_partition(&self, partition: usize) -> &[u32] {
        self.by_partition.get(partition).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        warm_up: 10,
        rate: 1_000,
        seconds: 2,
        dropped: 1,
    };

    #[test]
    fn records_are_due_at_fixed_times_and_no_later_than_they_are_sent() {
        assert_eq!(LOAD.records(), 2_010);
        assert_eq!((LOAD.due(9), LOAD.due(10)), (None, Some(Duration::ZERO)));
        assert_eq!(LOAD.due(1_010), Some(Duration::from_secs(1)));
        for micros in [0, 1, 999, 1_000, 1_001, 1_999_999, 2_500_000] {
            let since = Duration::from_micros(micros);
            let by = LOAD.due_by(since);
            assert!(LOAD.due(by - 1) <= Some(since), "{micros}");
            assert!(
                by == LOAD.records() || LOAD.due(by) > Some(since),
                "{micros}"
            );
        }
    }

    #[test]
    fn every_record_lies_in_one_zone_and_one_partition_in_order() {
        let places = Places::of(&LOAD);
        let zones = (0..=ZONES as usize).map(|zone| places.of_zone(zone));
        let partitions = (0..PARTITIONS as usize).map(|number| places.of_partition(number));
        for all in [zones.collect::<Vec<_>>(), partitions.collect()] {
            assert!(all.iter().all(|of| of.is_sorted()));
            let mut records = all.concat();
            records.sort_unstable();
            assert!(records.iter().copied().eq(0..2_010));
        }
    }
}
