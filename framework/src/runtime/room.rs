//! How many records may be read before the epochs in flight hold as much memory as they may.
//!
//! A record takes room before it is known what it makes: the operators that make it run later, on other workers even.
//! So room is kept by what records made on average, and as long as few have come through, few are read.

use std::collections::BTreeMap;

use tiderace_operators::dataflow::Epoch;

use super::in_flight::{InFlight, Part};

/// Records that may be under way before any has come through.
const UNKNOWN: u64 = 128;

/// Records that averages are over, at least half of them.
const REMEMBERED: u64 = 1 << 17;

/// The memory of the epochs that are not committed.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) in_flight: InFlight,
    /// Bytes that there may be; `usize::MAX` for no limit.
    limit: usize,
    epochs: BTreeMap<Epoch, Taken>,
    /// Records of these epochs that operators have passed, and of the others.
    passed: u64,
    under_way: u64,
    read: Average,
    made: Average,
    /// Records that operators have passed since the run began.
    through: u64,
}

/// What an epoch has taken in.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    records: u64,
    bytes: usize,
    passed: bool,
}

/// Bytes a record, over the last records.
#[derive(Clone, Copy, Debug, Default)]
struct Average {
    records: u64,
    bytes: u64,
}

impl Average {
    fn records(&mut self, records: u64) {
        self.records += records;
        if self.records > REMEMBERED {
            self.records /= 2;
            self.bytes /= 2;
        }
    }

    fn of(&self, records: u64) -> u64 {
        let each_of = self.records.max(1);
        if let Some(product) = records.checked_mul(self.bytes) {
            return product / each_of;
        }
        let product = u128::from(records) * u128::from(self.bytes) / u128::from(each_of);
        u64::try_from(product).unwrap_or(u64::MAX)
    }
}

impl Room {
    /// Room for `limit` bytes.
    pub(super) fn new(limit: usize, in_flight: InFlight) -> Self {
        Room {
            in_flight,
            limit,
            epochs: BTreeMap::new(),
            passed: 0,
            under_way: 0,
            read: Average::default(),
            made: Average::default(),
            through: 0,
        }
    }

    /// Takes records into an epoch.
    pub(super) fn take(&mut self, epoch: Epoch, records: u64, bytes: usize) {
        let taken = self.epochs.entry(epoch).or_default();
        taken.records += records;
        taken.bytes += bytes;
        match taken.passed {
            true => self.passed += records,
            false => self.under_way += records,
        }
        self.read.bytes += bytes as u64;
        self.read.records(records);
        self.in_flight.add(Part::Read, bytes);
    }

    /// Outputs were made, or are gone.
    pub(super) fn outputs(&mut self, made: usize, gone: usize) {
        self.made.bytes += made as u64;
        self.in_flight.add(Part::Outputs, made);
        self.in_flight.release(Part::Outputs, gone);
    }

    /// Operators have passed all epochs before this one.
    pub(super) fn passed(&mut self, epoch: Epoch) {
        for (_, taken) in self.epochs.range_mut(..epoch) {
            if !std::mem::replace(&mut taken.passed, true) {
                self.under_way -= taken.records;
                self.passed += taken.records;
                self.through += taken.records;
                self.made.records(taken.records);
                self.in_flight.release(Part::Read, taken.bytes);
            }
        }
    }

    /// An epoch is committed, or its outputs are kept no longer though it is not.
    pub(super) fn committed(&mut self, epoch: Epoch) {
        self.passed(epoch + 1);
        let left = self.epochs.split_off(&(epoch + 1));
        let gone = std::mem::replace(&mut self.epochs, left);
        self.passed -= gone.values().map(|taken| taken.records).sum::<u64>();
    }

    /// Whether everything is taken.
    pub(super) fn is_full(&self) -> bool {
        self.used() >= self.limit as u64
    }

    /// How many records fit in, for one of so many `sources`; none, and it has to be waited for what is there.
    pub(super) fn fitting(&self, sources: usize) -> u64 {
        if self.limit == usize::MAX {
            return u64::MAX;
        }
        let fitting = self.free();
        let share = fitting / sources.max(1) as u64;
        // One record always fits where nothing is, however much it makes.
        let none = fitting == 0 && (self.passed > 0 || self.under_way > 0);
        share.max(u64::from(!none))
    }

    /// Whether so many fit in that it is worth rousing who waits for room: a quarter of what there may be. Who goes on for
    /// less makes many small epochs.
    pub(super) fn is_worth_rousing(&self) -> bool {
        let quarter = self.limit as u64 / 4 / self.each();
        let nothing_is = self.passed == 0 && self.under_way == 0;
        nothing_is || self.free() >= quarter.min(self.unknown() / 2).max(1)
    }

    /// Records that fit in, to go by what those before have made.
    fn free(&self) -> u64 {
        let left = (self.limit as u64).saturating_sub(self.used());
        (left / self.each()).min(self.unknown().saturating_sub(self.under_way))
    }

    /// Bytes that a record takes and makes.
    fn each(&self) -> u64 {
        (self.read.of(1) + self.made.of(1)).max(1)
    }

    /// Records that may be under way as long as few have come through.
    fn unknown(&self) -> u64 {
        self.through.max(UNKNOWN).saturating_mul(2)
    }

    /// Bytes that are there, and those that records under way are likely to make.
    fn used(&self) -> u64 {
        let records = self.passed + self.under_way;
        let outputs = self.in_flight.of(Part::Outputs) as u64;
        self.in_flight.of(Part::Read) as u64 + outputs.max(self.made.of(records))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(limit: usize) -> Room {
        Room::new(limit, InFlight::default())
    }

    #[test]
    fn few_records_are_read_until_some_have_come_through() {
        let mut room = room(1 << 30);
        assert_eq!(room.fitting(1), 2 * UNKNOWN);
        room.take(1, 200, 200);
        assert_eq!(room.fitting(1), 56);
        assert_eq!(room.fitting(4), 14);
        room.take(1, 56, 56);
        assert_eq!(room.fitting(4), 0);
        room.passed(2);
        assert_eq!(room.fitting(1), 512);
    }

    #[test]
    fn records_under_way_count_for_what_they_are_likely_to_make() {
        let mut room = room(2_100_000);
        room.take(1, 200, 20_000);
        room.outputs(200 * 9_900, 0);
        room.committed(1);
        room.outputs(0, 200 * 9_900);
        // 10,000 bytes each: 210 of them fit, made or not.
        assert_eq!(room.fitting(1), 210);
        room.take(2, 110, 11_000);
        assert_eq!(room.fitting(1), 100);
        room.outputs(50 * 9_900, 0);
        // Outputs of epochs that are not passed count as if those before had made more.
        assert!((50..100).contains(&room.fitting(1)));
    }

    #[test]
    fn who_waits_for_room_is_roused_when_a_quarter_is_free() {
        let mut room = room(1_000_000);
        // As long as little is known, when half of what may be under way has come through.
        room.take(1, 256, 256 * 100);
        assert!(!room.is_worth_rousing());
        room.passed(2);
        assert!(room.is_worth_rousing());
        room.committed(1);
        for epoch in 2..8 {
            room.take(epoch, 1_600, 160_000);
            room.committed(epoch);
        }
        for epoch in [8, 9] {
            room.take(epoch, 4_000, 400_000);
        }
        assert!(room.fitting(1) > 0 && !room.is_worth_rousing());
        room.committed(8);
        assert!(room.is_worth_rousing());
    }

    #[test]
    fn what_is_full_empties_when_its_epochs_are_passed_and_committed() {
        let mut room = room(1_000);
        room.take(1, 10, 600);
        room.outputs(500, 0);
        assert!(room.is_full());
        assert_eq!(room.fitting(1), 0);
        room.passed(2);
        assert!(!room.is_full());
        room.outputs(0, 500);
        room.committed(1);
        assert_eq!(room.in_flight.total(), 0);
        assert!(room.fitting(1) > 0);
    }

    #[test]
    fn a_record_that_makes_more_than_there_is_room_for_still_gets_its_turn() {
        let mut room = room(1_000);
        room.take(1, 1, 100);
        room.outputs(1 << 20, 0);
        assert_eq!(room.fitting(1), 0);
        room.outputs(0, 1 << 20);
        assert!(!room.is_worth_rousing());
        room.committed(1);
        assert_eq!(room.fitting(8), 1);
        assert!(room.is_worth_rousing());
    }

    #[test]
    fn what_records_made_long_ago_is_forgotten() {
        let mut room = room(1_000_000);
        room.take(1, REMEMBERED, 0);
        room.committed(1);
        for epoch in 2..100 {
            room.take(epoch, REMEMBERED / 8, 0);
            room.outputs(REMEMBERED as usize / 8 * 1_000, 0);
            room.outputs(0, REMEMBERED as usize / 8 * 1_000);
            room.committed(epoch);
        }
        assert!(
            (900..=1_100).contains(&room.fitting(1)),
            "{}",
            room.fitting(1)
        );
    }
}
