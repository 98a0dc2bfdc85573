//! The order in which rides depart: as the file has them, or copies of them merged by pickup time, shuffled
//! within a bound. Streaming: memory grows with the rides that overlap in time, never with the copies.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::iter::Peekable;

/// Each copy of the rides starts this many milliseconds after the one before: 266 rides in 100 seconds are New
/// York's real density, about 230,000 a day.
pub const COPY_STEP: i64 = 100_000;

/// One ride of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Departure {
    /// Pickup time in milliseconds, the copy's shift included.
    pub at: i64,
    /// Which copy, from 0.
    pub copy: u64,
    /// Index of the ride in its file.
    pub ride: usize,
}

impl Departure {
    fn of(pickup: i64, copy: u64, ride: usize) -> Self {
        Departure {
            at: pickup + copy as i64 * COPY_STEP,
            copy,
            ride,
        }
    }
}

/// Copies of the rides as their file has them, one copy after the other.
pub(super) fn by_file(pickups: &[i64], copies: u64) -> impl Iterator<Item = Departure> {
    (0..copies).flat_map(move |copy| {
        pickups
            .iter()
            .enumerate()
            .map(move |(ride, pickup)| Departure::of(*pickup, copy, ride))
    })
}

/// Copies of the rides merged by pickup time; of equal times the earlier copy and the file's order decide.
pub(super) fn by_time(pickups: &[i64], copies: u64) -> impl Iterator<Item = Departure> {
    let mut waiting: Vec<_> = pickups
        .iter()
        .enumerate()
        .map(|(ride, at)| Departure::of(*at, 0, ride))
        .collect();
    waiting.sort_unstable_by_key(|departure| Reverse(*departure));
    Merged {
        waiting,
        under_way: BinaryHeap::new(),
        copies,
    }
}

/// Every ride is a series of copies; `under_way` holds the next copy of each series that has begun.
struct Merged {
    waiting: Vec<Departure>,
    under_way: BinaryHeap<Reverse<Departure>>,
    copies: u64,
}

impl Iterator for Merged {
    type Item = Departure;

    fn next(&mut self) -> Option<Departure> {
        while let Some(first) = self.waiting.last()
            && self
                .under_way
                .peek()
                .is_none_or(|Reverse(next)| first.at <= next.at)
        {
            self.under_way.push(Reverse(*first));
            self.waiting.pop();
        }
        let mut earliest = self.under_way.peek_mut()?;
        let Reverse(departure) = *earliest;
        if departure.copy + 1 < self.copies {
            let at = departure.at + COPY_STEP;
            *earliest = Reverse(Departure {
                at,
                copy: departure.copy + 1,
                ..departure
            });
        } else {
            PeekMut::pop(earliest);
        }
        Some(departure)
    }
}

/// Shuffles departures that come in order of time, so that each is overtaken only by ones less than `bound`
/// milliseconds later. The same seed gives the same order.
pub(super) fn shuffled(
    departures: impl Iterator<Item = Departure>,
    bound: u64,
    seed: u64,
) -> impl Iterator<Item = Departure> {
    Shuffled {
        departures: departures.peekable(),
        held: BinaryHeap::new(),
        bound,
        seed,
        taken: 0,
    }
}

struct Shuffled<I: Iterator<Item = Departure>> {
    departures: Peekable<I>,
    /// Held back until their delayed time has come; the number taken before decides between equal times.
    held: BinaryHeap<Reverse<(i64, u64, Departure)>>,
    bound: u64,
    seed: u64,
    taken: u64,
}

impl<I: Iterator<Item = Departure>> Iterator for Shuffled<I> {
    type Item = Departure;

    fn next(&mut self) -> Option<Departure> {
        while let Some(next) = self.departures.peek()
            && self
                .held
                .peek()
                .is_none_or(|Reverse((due, ..))| next.at < *due)
        {
            let delay = mix(self.seed ^ mix(self.taken)) % self.bound.max(1);
            self.held
                .push(Reverse((next.at + delay as i64, self.taken, *next)));
            self.taken += 1;
            self.departures.next();
        }
        self.held.pop().map(|Reverse((_, _, departure))| departure)
    }
}

/// SplitMix64's finalizer: a fixed hash, so that a seed means the same in every version.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICKUPS: [i64; 6] = [250_000, 10_000, 999_000, 10_000, 40_000, 110_000];

    fn sorted(copies: u64) -> Vec<Departure> {
        let mut all: Vec<_> = by_file(&PICKUPS, copies).collect();
        all.sort();
        all
    }

    #[test]
    fn the_files_order_is_kept_a_copy_after_the_other() {
        let rides: Vec<_> = by_file(&[7, 3], 2)
            .map(|departure| (departure.at, departure.ride))
            .collect();
        assert_eq!(
            rides,
            [(7, 0), (3, 1), (COPY_STEP + 7, 0), (COPY_STEP + 3, 1)]
        );
    }

    #[test]
    fn merging_equals_sorting() {
        for copies in [0, 1, 2, 3, 17] {
            let merged: Vec<_> = by_time(&PICKUPS, copies.max(1)).collect();
            assert_eq!(merged, sorted(copies.max(1)));
        }
    }

    #[test]
    fn merging_holds_only_rides_that_overlap() {
        let pickups: Vec<i64> = (0..10_000).map(|ride| ride * COPY_STEP).collect();
        let mut merged = Merged {
            waiting: (0..10_000)
                .rev()
                .map(|ride| Departure::of(pickups[ride], 0, ride))
                .collect(),
            under_way: BinaryHeap::new(),
            copies: 3,
        };
        while merged.next().is_some() {
            assert!(merged.under_way.len() <= 3);
        }
    }

    #[test]
    fn nothing_is_overtaken_by_more_than_the_bound() {
        let bound = 120_000;
        let shuffled: Vec<_> = shuffled(by_time(&PICKUPS, 200), bound, 7).collect();
        let mut latest = i64::MIN;
        for departure in &shuffled {
            latest = latest.max(departure.at);
            assert!(latest - departure.at < bound as i64);
        }
        assert_ne!(shuffled, sorted(200));
        let mut again = shuffled;
        again.sort();
        assert_eq!(again, sorted(200));
    }

    #[test]
    fn a_seed_fixes_the_order() {
        let order = |seed| shuffled(by_time(&PICKUPS, 50), 90_000, seed).collect::<Vec<_>>();
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn a_bound_of_nothing_shuffles_nothing() {
        assert_eq!(
            shuffled(by_time(&PICKUPS, 9), 0, 5).collect::<Vec<_>>(),
            sorted(9)
        );
    }
}
