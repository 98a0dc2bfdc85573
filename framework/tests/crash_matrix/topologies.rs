//! The topologies of the matrix and the input that all of them read.

use serde::{Deserialize, Serialize};
use tiderace::connect::partition_for;
use tiderace::{EventTime, StreamsBuilder, TimeWindows, Topic, Topology, Windowed, millis};

/// The application id of all topologies.
pub(crate) const APPLICATION: &str = "matrix";

/// The topics, with their partitions; `visits` and `names` are read.
pub(crate) const TOPICS: [(&str, u32); 4] = [
    ("visits", PARTITIONS),
    ("names", 1),
    ("out", PARTITIONS),
    ("late", PARTITIONS),
];

/// Partitions of the input and of the outputs. A key's records are all in the partition that is the key's, so that
/// the outputs of stateless steps have one order, too.
pub(crate) const PARTITIONS: u32 = 2;

/// Records of each partition.
pub(crate) const RECORDS: u32 = 60;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) page: u32,
    pub(crate) at: i64,
    pub(crate) counts: bool,
}

const VISITS: Topic<u32, Visit> =
    Topic::json("visits").timestamp(|visit| EventTime::from_millis(visit.at));
const NAMES: Topic<u32, String> = Topic::json("names");
const OUT: Topic<u32, String> = Topic::json("out");
const COUNTS: Topic<Windowed<u32>, u64> = Topic::bytes("out");
const LATE: Topic<u32, Visit> = Topic::json("late");

/// A topology of the matrix.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) build: fn(&StreamsBuilder),
    /// Whether some of the input comes too late.
    pub(crate) has_late: bool,
}

const fn scenario(name: &'static str, build: fn(&StreamsBuilder), has_late: bool) -> Scenario {
    Scenario {
        name,
        build,
        has_late,
    }
}

/// The topologies: a line each.
pub(crate) static TOPOLOGIES: [Scenario; 4] = [
    scenario("stateless", stateless, false),
    scenario("tumbling", tumbling, false),
    scenario("hopping", hopping, true),
    scenario("join", join, false),
];

impl Scenario {
    pub(crate) fn topology(&self) -> Topology {
        let builder = StreamsBuilder::new(APPLICATION);
        (self.build)(&builder);
        builder.build().unwrap()
    }
}

pub(crate) fn topology_named(name: &str) -> &'static Scenario {
    TOPOLOGIES.iter().find(|of| of.name == name).unwrap()
}

fn stateless(builder: &StreamsBuilder) {
    builder
        .stream(VISITS)
        .filter(|visit| visit.counts)
        .map_values(|visit| format!("{} at {}", visit.page, visit.at))
        .to(OUT);
}

fn tumbling(builder: &StreamsBuilder) {
    builder
        .stream(VISITS)
        .filter(|visit| visit.counts)
        .group_by_key()
        .windowed_by(TimeWindows::of_size(millis(100)).grace(millis(100)))
        .count()
        .emit_on_close()
        .to(COUNTS);
}

/// Another key than the input's, so records move between workers.
fn hopping(builder: &StreamsBuilder) {
    builder
        .stream(VISITS)
        .group_by(|visit| visit.page % 7)
        .windowed_by(
            TimeWindows::of_size(millis(40))
                .advance_by(millis(20))
                .grace(millis(5)),
        )
        .late_to(LATE)
        .count()
        .emit_on_close()
        .to(COUNTS);
}

fn join(builder: &StreamsBuilder) {
    let names = builder.global_table(NAMES);
    builder
        .stream(VISITS)
        .join(
            &names,
            |_, visit| visit.page % 10,
            |visit, name| format!("{name} at {}", visit.at),
        )
        .to(OUT);
}

/// A partition's visits: times run on with jumps back, some of them far.
pub(crate) fn visits(partition: u32) -> impl Iterator<Item = Visit> {
    let pages = (0..u32::MAX)
        .filter(move |page| partition_for(&page.to_be_bytes(), PARTITIONS) == partition);
    let pages: Vec<u32> = pages.take(9).collect();
    (0..RECORDS).map(move |number| Visit {
        page: pages[(number as usize * 5) % pages.len()],
        at: 1_593_561_600_000 + i64::from(number) * 10 - i64::from(number * 7919 % 97),
        counts: number % 5 != 3,
    })
}

/// Rows of the table, eight of ten that are asked for.
pub(crate) fn names() -> impl Iterator<Item = (u32, String)> {
    (0..8).map(|page| (page, format!("page {page}")))
}
