//! A program whose outputs show everything that must not: floating-point sums in any order, counts, and running sums
//! that depend on where epochs end; and what its closed windows must hold, by loops and maps.

use std::collections::BTreeMap;

use tiderace::{StreamsBuilder, TimeWindows, Topic, Topology, Windowed, millis};
use tiderace_testing::kills::Random;

use crate::log::{Held, Partitions, ShuffledLog};

/// A number of a group at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    pub(crate) at: i64,
    pub(crate) group: u32,
    pub(crate) number: f64,
}

const NUMBERS: Topic<u32, f64> = Topic::bytes("numbers");
const COUNTS: Topic<Windowed<u32>, u64> = Topic::bytes("counts");
const COMBINED: Topic<Windowed<u32>, f64> = Topic::bytes("combined");
const FOLDED: Topic<Windowed<u32>, f64> = Topic::bytes("folded");
const RUNNING: Topic<u32, f64> = Topic::bytes("running");
const LATE: Topic<u32, f64> = Topic::bytes("late");

/// Topics of closed windows, the same bytes for any cuts.
pub(crate) const CLOSED: [&str; 3] = ["counts", "combined", "folded"];
/// All that the program writes.
pub(crate) const OUTPUTS: [&str; 5] = ["counts", "combined", "folded", "late", "running"];
/// The topic of its epoch log.
pub(crate) const EPOCHS: &str = "sums-epochs";

/// Length, distance and grace of the windows that are summed, in milliseconds.
pub(crate) const HOPPING: (i64, i64, i64) = (40, 20, 5);

pub(crate) fn topology() -> Topology {
    let builder = StreamsBuilder::new("sums");
    let numbers = builder.stream(NUMBERS);
    let groups = numbers.group_by_key();
    groups
        .windowed_by(TimeWindows::of_size(millis(25)).grace(millis(3)))
        .late_to(LATE)
        .count()
        .emit_on_close()
        .to(COUNTS);
    let (size, advance, grace) = HOPPING;
    let length = |of: i64| millis(u64::try_from(of).unwrap());
    let windows = TimeWindows::of_size(length(size))
        .advance_by(length(advance))
        .grace(length(grace));
    let hopping = groups.windowed_by(windows);
    hopping
        .aggregate_combining(0.0, |sum, number| sum + number, |one, next| one + next)
        .emit_on_close()
        .to(COMBINED);
    hopping
        .aggregate(0.0, |sum, number| sum + number)
        .emit_on_close()
        .to(FOLDED);
    groups
        .aggregate(0.0, |sum, number| sum + number)
        .to_stream()
        .to(RUNNING);
    builder.build().unwrap()
}

/// Numbers in random order of a few groups, in so many partitions of `each`, times roughly ascending; magnitudes
/// differ so much that no two orders of a sum agree.
pub(crate) fn numbers(partitions: usize, each: usize, step: f64, seed: u64) -> Vec<Vec<Number>> {
    let mut random = Random::new(seed);
    let mut number = |index: usize| {
        let group = (random.number() % 3) as u32;
        let at = (index as f64 * step + random.fraction() * 15.0) as i64;
        let magnitude = 10f64.powi((random.number() % 16) as i32);
        Number {
            at,
            group,
            number: (random.fraction() - 0.5) * magnitude,
        }
    };
    let mut partition = || (0..each).map(&mut number).collect();
    (0..partitions).map(|_| partition()).collect()
}

/// A log that holds these numbers, and nothing in the outputs.
pub(crate) fn log_of(numbers: &[Vec<Number>]) -> ShuffledLog {
    let held = |of: &Number| Held {
        epoch: 0,
        timestamp: of.at,
        key: Some(of.group.to_be_bytes().to_vec()),
        value: Some(of.number.to_be_bytes().to_vec()),
        headers: Vec::new(),
    };
    let records: Partitions = numbers
        .iter()
        .map(|of| of.iter().map(held).collect())
        .collect();
    ShuffledLog::new("numbers", records, &OUTPUTS, numbers.len())
}

/// Group and start of a window.
pub(crate) type Window = (u32, i64);

/// The numbers of each window that come in time, by partition, in their order.
pub(crate) fn windows(numbers: &[Vec<Number>]) -> BTreeMap<Window, Vec<Vec<f64>>> {
    let (size, advance, grace) = HOPPING;
    let mut windows: BTreeMap<Window, Vec<Vec<f64>>> = BTreeMap::new();
    for (partition, of) in numbers.iter().enumerate() {
        let mut stream_time = i64::MIN;
        for number in of {
            stream_time = stream_time.max(number.at);
            let last = number.at.div_euclid(advance) * advance;
            for start in [last - advance, last] {
                if start < 0 || start + size <= number.at || start + size + grace <= stream_time {
                    continue;
                }
                let window = windows.entry((number.group, start));
                let window = window.or_insert_with(|| vec![Vec::new(); numbers.len()]);
                window[partition].push(number.number);
            }
        }
    }
    windows
}

/// The sums of a topic by window, as bits.
pub(crate) fn sums(log: &ShuffledLog, topic: &str) -> BTreeMap<Window, u64> {
    let window = |held: &Held| {
        let (group, start) = held.key.as_deref().unwrap().split_at(4);
        let sum = held.value.as_deref().unwrap().try_into().unwrap();
        (
            (
                u32::from_be_bytes(group.try_into().unwrap()),
                i64::from_be_bytes(start.try_into().unwrap()),
            ),
            u64::from_be_bytes(sum),
        )
    };
    let contents = log.contents(topic);
    contents.iter().flatten().map(window).collect()
}

/// The sums that combining the partitions' sums must give, and those that folding them one behind the other must.
pub(crate) fn expected_sums(
    numbers: &[Vec<Number>],
) -> (BTreeMap<Window, u64>, BTreeMap<Window, u64>) {
    let mut combined = BTreeMap::new();
    let mut folded = BTreeMap::new();
    for (window, partitions) in windows(numbers) {
        let of_partition = |of: &Vec<f64>| of.iter().fold(0.0, |sum, number| sum + number);
        let there = partitions.iter().filter(|of| !of.is_empty());
        let sum = there.map(of_partition).reduce(|one, next| one + next);
        combined.insert(window, sum.unwrap().to_bits());
        let sum = partitions
            .iter()
            .flatten()
            .fold(0.0, |sum, number| sum + number);
        folded.insert(window, sum.to_bits());
    }
    (combined, folded)
}
