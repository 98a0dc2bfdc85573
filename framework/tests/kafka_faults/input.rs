//! The input that all cases share, the topology that counts it, and what must come out.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use tiderace::{
    EventTime, Guarantee, StreamsBuilder, TimeWindows, Topic, Topology, Windowed, millis,
};
use tiderace_testing::kafka::{Kafka, Record};
use tiderace_testing::oracle::{self, Input};

use crate::case::Case;

/// Partitions of the input, and of the output.
pub(crate) const PARTITIONS: u32 = 2;

/// Records of a partition.
pub(crate) const RECORDS: u32 = 150;

const WINDOWS: oracle::TimeWindows = oracle::TimeWindows {
    size: 40,
    advance: 20,
    grace: 10,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Visit {
    page: u32,
    at: i64,
}

/// The input, loaded once, and the output of a run without faults.
pub(crate) struct Shared {
    pub(crate) broker: &'static Kafka,
    pub(crate) visits: &'static str,
    pub(crate) expected: Vec<Vec<Row>>,
}

/// A record of the output without its offset.
pub(crate) type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// `None` where there is no broker to test against.
pub(crate) fn shared() -> Option<&'static Shared> {
    static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let broker = Kafka::shared()?;
        let visits = leaked(broker.fresh_name("visits"));
        broker.create_topic(visits, PARTITIONS as i32);
        load(broker, visits);
        let expected = undisturbed(broker, visits);
        Some(Shared {
            broker,
            visits,
            expected,
        })
    });
    shared.as_ref()
}

/// Names of topics are constants of a program; those of tests are made up.
pub(crate) fn leaked(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}

/// Visits per page in hopping windows, from one topic to another.
pub(crate) fn topology(visits: &'static str, counts: &'static str) -> Topology {
    let visits: Topic<u32, Visit> =
        Topic::json(visits).timestamp(|visit| EventTime::from_millis(visit.at));
    let counts: Topic<Windowed<u32>, u64> = Topic::bytes(counts);
    let length = |of: i64| millis(u64::try_from(of).unwrap());
    let windows = TimeWindows::of_size(length(WINDOWS.size))
        .advance_by(length(WINDOWS.advance))
        .grace(length(WINDOWS.grace));
    let builder = StreamsBuilder::new("visits-per-page");
    builder
        .stream(visits)
        .group_by(|visit| visit.page)
        .windowed_by(windows)
        .count()
        .emit_on_close()
        .to(counts);
    builder.build().unwrap()
}

/// Pages by turns, times that run on with jumps back, some of them behind the grace.
fn visit(partition: u32, number: u32) -> Visit {
    let jump = i64::from(number * 7919 % 97);
    Visit {
        page: (number * 31 + partition) % 11,
        at: 1_593_561_600_000 + i64::from(number) * 9 - jump,
    }
}

fn load(broker: &Kafka, topic: &str) {
    let values = |partition| {
        (0..RECORDS).map(move |number| {
            let visit = visit(partition, number);
            (
                visit.page.to_be_bytes().to_vec(),
                serde_json::to_vec(&visit).unwrap(),
            )
        })
    };
    for partition in 0..PARTITIONS {
        broker.write(topic, partition as i32, values(partition));
    }
}

fn undisturbed(broker: &'static Kafka, visits: &'static str) -> Vec<Vec<Row>> {
    let case = Case::run(
        broker,
        visits,
        "undisturbed",
        Vec::new(),
        Guarantee::ExactlyOnce,
    );
    let rows = case.output();
    let mut found: Vec<_> = rows.iter().flatten().map(result).collect();
    found.sort_unstable();
    let partitions: Vec<Vec<_>> = (0..PARTITIONS)
        .map(|partition| {
            (0..RECORDS)
                .map(|number| input(partition, number))
                .collect()
        })
        .collect();
    let counted = oracle::count_windows(&partitions, WINDOWS);
    let mut expected: Vec<_> = counted
        .results
        .iter()
        .map(|of| (of.start, of.key, of.count, of.timestamp))
        .collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(expected.len() > 100, "{} results", expected.len());
    assert!(
        counted.late.iter().any(|late| !late.is_empty()),
        "no visit is late"
    );
    case.verify_log();
    rows
}

fn input(partition: u32, number: u32) -> Input<Visit> {
    let visit = visit(partition, number);
    Input {
        timestamp: visit.at,
        key: visit.page,
        passes_filter: true,
        record: visit,
    }
}

/// Start, page, count and timestamp.
fn result((timestamp, key, value): &Row) -> (i64, u32, u64, i64) {
    let (page, start) = key.as_ref().unwrap().split_at(4);
    (
        i64::from_be_bytes(start.try_into().unwrap()),
        u32::from_be_bytes(page.try_into().unwrap()),
        u64::from_be_bytes(value.as_ref().unwrap()[..].try_into().unwrap()),
        *timestamp,
    )
}

pub(crate) fn row(record: Record) -> Row {
    (record.timestamp, record.key, record.value)
}
