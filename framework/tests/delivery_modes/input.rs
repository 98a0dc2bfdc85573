//! The application, its input, and what must come out: results of windows, late records and dead letters.

use serde::{Deserialize, Serialize};
use tiderace::{
    EventTime, OnError, StreamsBuilder, TimeWindows, Topic, Topology, Windowed, millis,
};
use tiderace_testing::oracle::{self, Input, java_partition};

use crate::site::Row;

/// Partitions of the input and of each output.
pub(crate) const PARTITIONS: u32 = 2;

/// Records of a partition.
const RECORDS: u32 = 150;

/// The topics that are written, without the suffix that tells the cases apart.
pub(crate) const OUTPUTS: [&str; 3] = ["counts", "late", "dead"];

const WINDOWS: oracle::TimeWindows = oracle::TimeWindows {
    size: 40,
    advance: 20,
    grace: 5,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Visit {
    page: u32,
    at: i64,
}

/// Visits per page in hopping windows.
pub(crate) fn topology(suffix: &str) -> Topology {
    // Names of topics are constants of a program; those of tests are made up.
    let name = |of: &str| -> &'static str { Box::leak(format!("{of}{suffix}").into_boxed_str()) };
    let visits: Topic<u32, Visit> =
        Topic::json(name("visits")).timestamp(|visit| EventTime::from_millis(visit.at));
    let late: Topic<u32, Visit> = Topic::json(name("late"));
    let counts: Topic<Windowed<u32>, u64> = Topic::bytes(name("counts"));
    let length = |of: i64| millis(u64::try_from(of).unwrap());
    let windows = TimeWindows::of_size(length(WINDOWS.size))
        .advance_by(length(WINDOWS.advance))
        .grace(length(WINDOWS.grace));
    let builder = StreamsBuilder::new("modes");
    builder.on_error(OnError::DeadLetter(name("dead").to_owned()));
    builder
        .stream(visits)
        .group_by(|visit| visit.page)
        .windowed_by(windows)
        .late_to(late)
        .count()
        .emit_on_close()
        .to(counts);
    builder.build().unwrap()
}

/// A partition's visits: times run on with jumps back, some of them far; now and then a record that is none.
fn visits(partition: u32) -> impl Iterator<Item = (Row, Option<Visit>)> {
    let of_here = move |page: &u32| java_partition(&page.to_be_bytes(), 2) == partition as usize;
    let pages: Vec<u32> = (0..u32::MAX).filter(of_here).take(9).collect();
    (0..RECORDS).map(move |number| {
        let page = pages[(number as usize * 5) % pages.len()];
        let at = 1_593_561_600_000 + i64::from(number) * 10 - i64::from(number * 7919 % 97);
        let key = Some(page.to_be_bytes().to_vec());
        if number % 12 == 7 {
            return ((at, key, Some(b"no visit".to_vec())), None);
        }
        let visit = Visit { page, at };
        let value = serde_json::to_vec(&visit).unwrap();
        ((at, key, Some(value)), Some(visit))
    })
}

/// The input of a partition.
pub(crate) fn records(partition: u32) -> impl Iterator<Item = Row> {
    visits(partition).map(|(row, _)| row)
}

/// What comes out, by topic and partition: those of the first topic, then those of the next.
pub(crate) fn expected() -> Vec<Vec<Row>> {
    let good = |partition| {
        let good = visits(partition).filter_map(|(record, visit)| Some((record, visit?)));
        good.map(|(record, visit)| Input {
            timestamp: visit.at,
            key: visit.page,
            passes_filter: true,
            record,
        })
    };
    let inputs: Vec<Vec<_>> = (0..PARTITIONS).map(|of| good(of).collect()).collect();
    let counted = oracle::count_windows(&inputs, WINDOWS);
    let mut counts = vec![Vec::new(); PARTITIONS as usize];
    for result in counted.results {
        let page = result.key.to_be_bytes();
        let key = [&page[..], &result.start.to_be_bytes()].concat();
        let value = result.count.to_be_bytes().to_vec();
        let row = (result.timestamp, Some(key), Some(value));
        counts[java_partition(&page, PARTITIONS as usize)].push(row);
    }
    let bad = |partition| visits(partition).filter(|(_, visit)| visit.is_none());
    let dead = (0..PARTITIONS).map(|of| bad(of).map(|(record, _)| record).collect());
    counts.into_iter().chain(counted.late).chain(dead).collect()
}
