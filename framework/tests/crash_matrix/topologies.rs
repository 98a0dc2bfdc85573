//! The topologies of the matrix and the input that all of them read.

use serde::{Deserialize, Serialize};
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::partition_for;
use tiderace::{
    EventTime, Running, StreamsBuilder, TimeWindows, Topic, Topology, Windowed, millis,
};

use crate::moments;
use crate::place::Place;
use crate::points::{Line, POINTS, WITH_PARTITIONS_ADDED, WITH_SILENCE};

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
    pub(crate) keeps: Keeps,
    /// Whether some of the input comes too late.
    pub(crate) has_late: bool,
    /// Brings a place to where the first life of a case begins.
    pub(crate) prepare: fn(&Place),
    /// What is done while a life lasts, until it is stopped or fails; without it the input has an end.
    pub(crate) accompany: Option<fn(&EmbeddedLog, &Running)>,
    pub(crate) lines: &'static [Line],
    /// Epochs that a run has at least.
    pub(crate) epochs: u64,
}

/// What is in the state of a topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// There is none.
    Nothing,
    /// The rows of a table, of which none comes later.
    Rows,
    /// Windows, which come and go.
    Windows,
}

const fn scenario(name: &'static str, build: fn(&StreamsBuilder), keeps: Keeps) -> Scenario {
    Scenario {
        name,
        build,
        keeps,
        has_late: false,
        prepare: send_input,
        accompany: None,
        lines: &POINTS,
        epochs: 12,
    }
}

/// The topologies, and the tumbling one at moments of its own: a line each.
pub(crate) static TOPOLOGIES: [Scenario; 6] = [
    scenario("stateless", stateless, Keeps::Nothing),
    scenario("tumbling", tumbling, Keeps::Windows),
    Scenario {
        has_late: true,
        ..scenario("hopping", hopping, Keeps::Windows)
    },
    scenario("join", join, Keeps::Rows),
    Scenario {
        prepare: moments::add_a_partition,
        lines: &WITH_PARTITIONS_ADDED,
        ..scenario("partition-added", tumbling, Keeps::Windows)
    },
    Scenario {
        prepare: moments::send_before_silence,
        accompany: Some(moments::wake_and_stop),
        lines: &WITH_SILENCE,
        epochs: 2,
        ..scenario("silence", tumbling, Keeps::Windows)
    },
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

/// All input, of which a bounded run reads all.
fn send_input(place: &Place) {
    for partition in 0..PARTITIONS {
        place.send_visits(partition, visits(partition));
    }
    place.send_names(names());
}

/// When the first visit is, in milliseconds.
pub(crate) const BEGIN: i64 = 1_593_561_600_000;

/// Keys that belong to a partition.
pub(crate) fn pages(partition: u32) -> impl Iterator<Item = u32> {
    (0..u32::MAX).filter(move |page| partition_for(&page.to_be_bytes(), PARTITIONS) == partition)
}

/// A partition's visits: times run on with jumps back, some of them far.
pub(crate) fn visits(partition: u32) -> impl Iterator<Item = Visit> {
    let pages: Vec<u32> = pages(partition).take(9).collect();
    (0..RECORDS).map(move |number| Visit {
        page: pages[(number as usize * 5) % pages.len()],
        at: BEGIN + i64::from(number) * 10 - i64::from(number * 7919 % 97),
        counts: number % 5 != 3,
    })
}

/// Rows of the table, eight of ten that are asked for, each in three versions: more than an epoch takes.
fn names() -> impl Iterator<Item = (u32, String)> {
    (0..24).map(|row| (row % 8, format!("page {} of {}", row % 8, row / 8)))
}
