//! Panics in a program's own closures: the run ends at once, names step and record, and commits nothing more.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use tiderace::connect::{SinkRecord, TopicPartition};
use tiderace::error::{Blame, PoisonRecord};
use tiderace::{
    Config, EventTime, KStream, OnError, RunError, StreamsBuilder, TimeWindows, Topic, Topology,
};

use crate::place::{COUNTS, Place, RIDES, Ride, TIME, ZONES};
use crate::support::Owned;

pub(crate) const PARTITIONS: u32 = 4;
pub(crate) const RECORDS: i64 = 20;
/// Where the record lies that the closures cannot bear.
pub(crate) const CULPRIT: (u32, i64) = (2, 13);
pub(crate) const POISON: u32 = 666;
pub(crate) const ON_PURPOSE: &str = "on purpose";

/// Keeps the panics that the tests cause off the screen.
pub(crate) fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic.payload().downcast_ref::<String>();
            if !text.is_some_and(|text| text.starts_with(ON_PURPOSE)) {
                others(panic);
            }
        }));
    });
}

/// A closure's temper: panics at the poison as long as it is armed, and notes when.
#[derive(Clone)]
pub(crate) struct Temper {
    pub(crate) armed: Arc<AtomicBool>,
    panicked: Arc<Mutex<Option<Instant>>>,
}

impl Temper {
    pub(crate) fn new() -> Self {
        hush();
        Temper {
            armed: Arc::new(AtomicBool::new(true)),
            panicked: Arc::default(),
        }
    }

    fn look(&self, zone: u32) {
        if zone == POISON && self.armed.load(Ordering::Relaxed) {
            *self.panicked.lock().unwrap() = Some(Instant::now());
            panic!("{ON_PURPOSE}: {zone}");
        }
    }
}

/// A pipeline from `rides` to `zones` with the step that panics, named `bad`.
pub(crate) type Build = fn(&StreamsBuilder, Temper);

pub(crate) fn filter(builder: &StreamsBuilder, temper: Temper) {
    let keep = move |ride: &Ride| {
        temper.look(ride.zone);
        true
    };
    numbers(&builder.stream(RIDES).filter(keep).named("bad")).to(ZONES);
}

pub(crate) fn map_values(builder: &StreamsBuilder, temper: Temper) {
    let of = move |ride: Ride| {
        temper.look(ride.zone);
        ride.zone
    };
    // The steps around it are not to be blamed.
    let rides = builder.stream(RIDES).filter(|_| true);
    rides.map_values(of).named("bad").peek(|_| ()).to(ZONES);
}

pub(crate) fn peek(builder: &StreamsBuilder, temper: Temper) {
    let look = move |ride: &Ride| temper.look(ride.zone);
    numbers(&builder.stream(RIDES).peek(look).named("bad")).to(ZONES);
}

/// Behind the exchange by key, on a worker that need not be the reader.
pub(crate) fn reduce(builder: &StreamsBuilder, temper: Temper) {
    let add = move |sum: u32, zone: u32| {
        temper.look(zone);
        sum + zone
    };
    let sums = numbers(&builder.stream(RIDES))
        .group_by_key()
        .reduce(add)
        .named("bad");
    sums.to_stream().to(ZONES);
}

/// A fused step behind a table.
pub(crate) fn behind_a_table(builder: &StreamsBuilder, temper: Temper) {
    let last = numbers(&builder.stream(RIDES))
        .group_by_key()
        .reduce(u32::max);
    let of = move |zone: u32| {
        temper.look(zone);
        zone
    };
    last.to_stream().map_values(of).named("bad").to(ZONES);
}

pub(crate) fn behind_a_merge(builder: &StreamsBuilder, temper: Temper) {
    let all = numbers(&builder.stream(RIDES));
    let merged = all.filter(|_| true).merge(&all.filter(|_| false));
    merged
        .peek(move |zone| temper.look(*zone))
        .named("bad")
        .to(ZONES);
}

pub(crate) fn join(builder: &StreamsBuilder, temper: Temper) {
    const NAMES: Topic<String, String> = Topic::json("names");
    let names = builder.global_table(NAMES);
    let zone = move |_: &String, ride: Ride, _: Option<&String>| {
        temper.look(ride.zone);
        ride.zone
    };
    let rides = builder.stream(RIDES);
    rides
        .left_join_with_key(&names, |key, _| key.clone(), zone)
        .named("bad")
        .to(ZONES);
}

pub(crate) fn numbers(rides: &KStream<String, Ride>) -> KStream<String, u32> {
    rides.map_values(|ride| ride.zone)
}

pub(crate) fn topology(build: Build, temper: &Temper) -> Topology {
    topology_with(build, temper, OnError::Fail)
}

pub(crate) fn topology_with(build: Build, temper: &Temper, on_error: OnError) -> Topology {
    let builder = StreamsBuilder::new("app");
    builder.on_error(on_error);
    build(&builder, temper.clone());
    builder.build().unwrap()
}

/// Rides in all partitions, a key each; one of them is poison.
pub(crate) fn place() -> Place {
    let place = Place::new(&[
        ("rides", PARTITIONS),
        ("zones", PARTITIONS),
        ("names", 1),
        ("counts", 1),
        ("letters", 1),
    ]);
    use tiderace::connect::Log;
    let mut writer = place.log.writer("rides").unwrap();
    for partition in 0..PARTITIONS {
        for offset in 0..RECORDS {
            let zone = if (partition, offset) == CULPRIT {
                POISON
            } else {
                offset as u32
            };
            writer
                .send(&SinkRecord {
                    topic: "rides",
                    partition,
                    timestamp: TIME + offset,
                    key: Some(format!("key-{partition}").as_bytes()),
                    value: Some(format!("{{\"zone\":{zone}}}").as_bytes()),
                    headers: &[],
                })
                .unwrap();
        }
    }
    writer.flush().unwrap();
    place
}

/// The record that is to be blamed.
pub(crate) fn culprit() -> PoisonRecord {
    let (partition, offset) = CULPRIT;
    PoisonRecord {
        partition: TopicPartition::new("rides", partition),
        offset,
        key: Some(b"key-2".to_vec()),
        blame: Blame::Alone,
    }
}

fn assert_blamed(error: &RunError, temper: &Temper, node: &str) {
    let since = temper.panicked.lock().unwrap().unwrap().elapsed();
    assert!(
        since < Duration::from_secs(2),
        "the run went on for {since:?}"
    );
    assert_eq!(error.exit_code(), 70);
    let RunError::Panicked {
        node: blamed,
        record,
        message,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(blamed, node);
    assert_eq!(record.as_deref(), Some(&culprit()), "{error}");
    assert_eq!(message, "on purpose: 666");
    let text = format!(
        "step `{node}` panicked at topic `rides`, partition 2, offset 13, key `key-2`: {message}; nothing of its \
         epoch was committed. To go on without such records, use `on_error` with `Skip` or `DeadLetter`"
    );
    assert_eq!(error.to_string(), text);
}

/// Panics, is named, commits nothing of the epoch; with the fault mended the run goes on to the same output.
fn check(build: Build) {
    for (workers, epoch_records) in [(1, 1), (1, 100_000), (2, 1), (2, 100_000), (4, 1), (4, 7)] {
        let place = place();
        let temper = Temper::new();
        let config = Config {
            workers,
            epoch_records,
            ..place.config()
        };
        let failing = Config {
            workers,
            epoch_records,
            ..place.one_epoch()
        };
        let error = place
            .run_with(topology(build, &temper), &failing)
            .unwrap_err();
        assert_blamed(&error, &temper, "bad");
        let before = place.read("zones");
        assert!(!place.texts("zones").contains(&POISON.to_string()));
        if epoch_records == 100_000 {
            // A partition is one fetch, so an epoch has all of it or nothing.
            let culprits = |record: &Owned| record.key.as_deref() == Some(b"key-2");
            assert!(!before.concat().iter().any(culprits));
        }
        temper.armed.store(false, Ordering::Relaxed);
        let report = place.run_with(topology(build, &temper), &config).unwrap();
        assert!(report.counts.conserved());
        let went_on = |(before, after): (Vec<Owned>, Vec<Owned>)| after.starts_with(&before);
        let after = place.read("zones");
        assert!(after.concat().len() > before.concat().len());
        assert!(before.into_iter().zip(after).all(went_on));
    }
}

#[test]
fn a_panic_in_a_filter_ends_the_run_and_names_step_and_record() {
    check(filter);
}

#[test]
fn a_panic_in_map_values_ends_the_run_and_names_step_and_record() {
    check(map_values);
}

#[test]
fn a_panic_in_peek_ends_the_run_and_names_step_and_record() {
    check(peek);
}

#[test]
fn a_panic_in_reduce_ends_the_run_and_names_step_and_record() {
    check(reduce);
}

#[test]
fn a_panic_in_a_join_ends_the_run_and_names_step_and_record() {
    check(join);
}

#[test]
fn a_panic_behind_a_merge_ends_the_run_and_names_step_and_record() {
    check(behind_a_merge);
}

#[test]
fn a_panic_behind_a_table_names_the_record_that_changed_it() {
    for workers in [1, 2, 4] {
        let place = place();
        let temper = Temper::new();
        let config = Config {
            workers,
            epoch_records: 1,
            ..place.config()
        };
        let built = topology(behind_a_table, &temper);
        let error = place.run_with(built, &config).unwrap_err();
        // An epoch may hold more of the row's records; the last is named.
        let RunError::Panicked { node, record, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(node, "bad");
        let record = record.unwrap();
        assert_eq!(record.partition, culprit().partition);
        assert_eq!(record.key, culprit().key);
        assert!(record.offset >= CULPRIT.1);
        if record.offset > CULPRIT.1 {
            assert_eq!(record.blame, Blame::LastOfSeveral);
        }
    }
}

#[test]
fn a_panic_while_a_record_is_read_is_blamed_on_the_source() {
    const DATED: Topic<String, Ride> = Topic::json("rides").timestamp(|ride| {
        if ride.zone == POISON {
            panic!("{ON_PURPOSE}: {}", ride.zone);
        }
        EventTime::from_millis(TIME)
    });
    let place = place();
    let temper = Temper::new();
    let builder = StreamsBuilder::new("app");
    numbers(&builder.stream(DATED)).to(ZONES);
    *temper.panicked.lock().unwrap() = Some(Instant::now());
    let error = place.run(builder.build().unwrap()).unwrap_err();
    assert_blamed(&error, &temper, "rides-source");
}

#[test]
fn a_panic_behind_a_closed_window_names_its_step_and_no_wrong_record() {
    let place = place();
    hush();
    let builder = StreamsBuilder::new("app");
    builder
        .stream(RIDES)
        .group_by_key()
        .windowed_by(TimeWindows::of_size(Duration::from_secs(60)))
        .count()
        .emit_on_close()
        .map_values(|count: u64| -> u64 { panic!("{ON_PURPOSE}: {count}") })
        .named("bad")
        .select_key(|_| "all".to_owned())
        .to(COUNTS);
    let error = place.run(builder.build().unwrap()).unwrap_err();
    assert!(
        matches!(&error, RunError::Panicked { node, record: None, .. } if node == "bad"),
        "{error}"
    );
    assert_eq!(place.texts("counts"), Vec::<String>::new());
}

#[test]
fn a_panic_while_a_windows_parts_are_put_together_is_blamed_on_its_step() {
    let place = place();
    hush();
    let builder = StreamsBuilder::new("app");
    builder
        .stream(RIDES)
        .map_values(|ride| u64::from(ride.zone))
        .group_by(|_| "all".to_owned())
        .windowed_by(TimeWindows::of_size(Duration::from_secs(60)))
        .aggregate_combining(
            0,
            |sum, zone| sum + zone,
            |_, _| panic!("{ON_PURPOSE}: {}", 0),
        )
        .named("bad")
        .emit_on_close()
        .select_key(|_| "all".to_owned())
        .to(COUNTS);
    let error = place.run(builder.build().unwrap()).unwrap_err();
    assert!(
        matches!(&error, RunError::Panicked { node, record: None, .. } if node == "bad"),
        "{error}"
    );
}

/// A key that cannot be written, when it is poison.
#[derive(Clone, PartialEq, Eq, Hash, serde::Deserialize)]
struct Touchy(u32);

impl serde::Serialize for Touchy {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        assert!(self.0 != POISON, "{ON_PURPOSE}: {}", self.0);
        to.serialize_u32(self.0)
    }
}

#[test]
fn a_panic_between_operators_is_blamed_on_no_record() {
    const PER_ZONE: Topic<Touchy, u64> = Topic::json("counts");
    let place = place();
    hush();
    let builder = StreamsBuilder::new("app");
    // Rejecting the record that came last would reject an innocent one, and another at each restart.
    builder.on_error(OnError::Skip);
    let rides = builder.stream(RIDES);
    // The key is first written where records move to the worker that owns it.
    rides
        .group_by(|ride| Touchy(ride.zone))
        .count()
        .to(PER_ZONE);
    let config = Config {
        workers: 2,
        max_restarts: 1,
        ..place.config()
    };
    let error = place
        .run_with(builder.build().unwrap(), &config)
        .unwrap_err();
    assert!(
        matches!(&error, RunError::Panicked { node, record: None, .. } if node == "(engine)"),
        "{error}"
    );
}
