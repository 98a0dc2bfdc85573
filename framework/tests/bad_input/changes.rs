//! A changed program on what another one left: what may go on, what is refused, and what the refusal says.

use std::time::Duration;

use tiderace::{Config, OnError, StreamsBuilder, TimeWindows, Topic, Topology};

use crate::place::{COUNTS, Place, RIDES, Ride, ZONES, ride, zones};
use crate::starts::refused;

/// Zones of at least `least`, times `factor`, which is a parameter.
fn scaled(least: u32, factor: u32) -> Topology {
    let builder = StreamsBuilder::new("app");
    builder.parameter("factor", factor);
    builder
        .stream(RIDES)
        .filter(move |ride| ride.zone >= least)
        .map_values(move |ride| ride.zone * factor)
        .to(ZONES);
    builder.build().unwrap()
}

/// Rides per key in windows of so many seconds, and how many there are of each key; stateful steps by these names.
fn counted(seconds: u64, windows: &str, total: Option<&str>) -> Topology {
    let builder = StreamsBuilder::new("app");
    let rides = builder.stream(RIDES);
    rides
        .group_by_key()
        .windowed_by(TimeWindows::of_size(Duration::from_secs(seconds)))
        .count()
        .named(windows)
        .emit_on_close()
        .map(|of, count| (of.key, count))
        .to(COUNTS);
    if let Some(total) = total {
        let totals = rides.group_by_key().count().named(total);
        totals
            .to_stream()
            .map_values(|count| count as u32)
            .to(ZONES);
    }
    builder.build().unwrap()
}

fn place() -> Place {
    let place = Place::new(&[("rides", 1), ("zones", 1), ("counts", 1)]);
    place.send(&[ride(0, r#"{"zone":1}"#), ride(0, r#"{"zone":5}"#)]);
    place
}

/// Starts a program that must be refused and must leave everything as it is.
fn refuse(place: &Place, program: Topology, parts: &[&str]) {
    refuse_with(place, program, &place.config(), parts);
}

fn refuse_with(place: &Place, program: Topology, config: &Config, parts: &[&str]) {
    let topics = ["app-epochs", "zones", "counts"];
    let before = topics.map(|topic| place.read(topic));
    let error = place.run_with(program, config).unwrap_err();
    refused(&error, parts);
    assert_eq!(topics.map(|topic| place.read(topic)), before);
}

#[test]
fn behind_a_stop_in_order_stateless_steps_and_parameters_may_change() {
    let place = place();
    place.run(scaled(0, 1)).unwrap();
    place.send(&[ride(0, r#"{"zone":2}"#), ride(0, r#"{"zone":7}"#)]);
    let report = place.run(scaled(3, 10)).unwrap();
    assert_eq!((report.counts.read, report.counts.filtered), (2, 1));
    assert_eq!(place.texts("zones"), ["1", "5", "70"]);
    let verdict = tiderace::runtime::check(&*place.log, place.path(), "app").unwrap();
    assert_eq!((verdict.records, &verdict.faults[..]), (3, &[][..]));
}

/// Without its snapshot a stop is like a crash: the epochs must be replayed.
#[test]
fn epochs_to_be_replayed_need_the_program_and_the_parameters_that_wrote_them() {
    let place = place();
    place.run(scaled(0, 1)).unwrap();
    place.forget_snapshots();
    let what_to_do = [
        "must be replayed by the program that wrote them",
        "stop it in order (SIGTERM)",
        "--data-dir",
        "--application-id",
    ];
    let parameters = "`app` was begun with factor = 1 and is started with factor = 2";
    refuse(
        &place,
        scaled(0, 2),
        &[&[parameters], &what_to_do[..]].concat(),
    );
    let builder = StreamsBuilder::new("app");
    builder.parameter("factor", 1);
    builder.stream(RIDES).map_values(|ride| ride.zone).to(ZONES);
    let program = "`app` was begun by another program: its topology was ";
    let other = builder.build().unwrap();
    refuse(&place, other, &[&[program], &what_to_do[..]].concat());
    // What the message says helps.
    place.run(scaled(0, 1)).unwrap();
    place.send(&[ride(0, r#"{"zone":7}"#)]);
    place.run(scaled(0, 2)).unwrap();
    assert_eq!(place.texts("zones"), ["1", "5", "14"]);
}

#[test]
fn another_application_id_begins_anew_with_other_parameters() {
    let place = place();
    place.run(scaled(0, 1)).unwrap();
    place.forget_snapshots();
    let another = Config {
        application_id: Some("another".into()),
        ..place.config()
    };
    place.run_with(scaled(0, 2), &another).unwrap();
    assert_eq!(place.texts("zones"), ["1", "5", "2", "10"]);
    place.run(scaled(0, 1)).unwrap();
    assert_eq!(place.texts("zones").len(), 4);
}

#[test]
fn another_size_of_a_window_is_refused_with_what_the_step_was_and_is() {
    let place = place();
    place.run(counted(60, "per-window", None)).unwrap();
    refuse(
        &place,
        counted(30, "per-window", None),
        &[
            "the snapshot of `app` at epoch ",
            "step `per-window` kept the state of `count, windows of 60000 ms every 60000 ms",
            "and is `count, windows of 30000 ms every 30000 ms",
            "Start the program that wrote it",
        ],
    );
    // Beside it, what has no state may change.
    place.run(counted(60, "per-window", None)).unwrap();
}

#[test]
fn a_state_whose_step_is_gone_must_be_dropped_by_name_and_a_new_one_begins_empty() {
    let place = place();
    place.run(counted(60, "per-window", Some("total"))).unwrap();
    assert_eq!(place.texts("zones").last().unwrap(), "2");
    place.send(&[ride(0, r#"{"zone":1}"#)]);
    let gone = "the state of step `total` has no step any more";
    let help = ["with `named`", "--drop-state"];
    for changed in [None, Some("sum")] {
        let changed = counted(60, "per-window", changed);
        refuse(&place, changed, &[&[gone], &help[..]].concat());
    }
    let dropping = Config {
        dropped_states: vec!["total".into()],
        ..place.config()
    };
    let changed = || counted(60, "per-window", Some("sum"));
    place.run_with(changed(), &dropping).unwrap();
    // It counts from here on: one, not three.
    assert_eq!(place.texts("zones").last().unwrap(), "1");
    // Dropped is dropped: the next start need not say it.
    place.send(&[ride(0, r#"{"zone":1}"#)]);
    place.run(changed()).unwrap();
    assert_eq!(place.texts("zones").last().unwrap(), "2");
}

/// A state by key that is a number, under the name `total`: how many rides, or the sum of their zones.
fn total(sums: bool, on_error: OnError) -> Topology {
    let builder = StreamsBuilder::new("app");
    builder.on_error(on_error);
    let rides = builder.stream(RIDES);
    let total = if sums {
        let zones = rides.map_values(|ride| u64::from(ride.zone)).group_by_key();
        zones.reduce(|sum, zone| sum + zone)
    } else {
        rides.group_by_key().count()
    };
    total.named("total").to(COUNTS);
    builder.build().unwrap()
}

/// A count must not become the beginning of a sum, though it has the form of one.
#[test]
fn a_state_that_was_dropped_is_not_taken_on_by_another_step_of_its_name() {
    let place = place();
    place.run(total(false, OnError::Fail)).unwrap();
    assert_eq!(place.texts("counts").last().unwrap(), "2");
    place.send(&[ride(0, r#"{"zone":100}"#); 40]);
    place.send(&[ride(0, "bad")]);
    let altered = "step `total` kept the state of `count, by key, ";
    refuse(
        &place,
        total(true, OnError::Fail),
        &[altered, "--drop-state"],
    );
    let few = Config {
        epoch_records: 8,
        ..place.config()
    };
    let dropping = Config {
        dropped_states: vec!["total".into()],
        ..few.clone()
    };
    let failing = place.run_with(total(true, OnError::Fail), &dropping);
    assert_eq!(failing.unwrap_err().exit_code(), 65);
    // It left no snapshot: its epochs are replayed behind that of the count, and from nothing as it began.
    place.send(&[ride(0, r#"{"zone":11}"#)]);
    let report = place.run_with(total(true, OnError::Skip), &few).unwrap();
    assert!(report.counts.read < 42, "nothing was replayed");
    assert_eq!(place.texts("counts").last().unwrap(), "4011");
}

const NAMES: Topic<String, String> = Topic::json("names");
const NICKNAMES: Topic<String, String> = Topic::json("nicknames");

/// Rides with their names from a table of this topic and name.
fn named(rows: Topic<String, String>, table: &str) -> Topology {
    let builder = StreamsBuilder::new("app");
    let names = builder.global_table(rows).named(table);
    builder
        .stream(RIDES)
        .join(&names, |key, _| key.clone(), |_, name| name.len() as u32)
        .to(ZONES);
    builder.build().unwrap()
}

/// Rows that were read before are not read again: a table without its state would lack them.
#[test]
fn a_table_without_its_rows_is_refused_though_its_state_was_dropped() {
    let place = Place::new(&[
        ("rides", 1),
        ("zones", 1),
        ("counts", 1),
        ("names", 1),
        ("nicknames", 1),
    ]);
    let row = |topic, name| tiderace::connect::SinkRecord {
        topic,
        ..ride(0, name)
    };
    place.send(&[row("names", r#""Harlem""#), ride(0, r#"{"zone":1}"#)]);
    place.run(named(NAMES, "of-zones")).unwrap();
    place.send(&[row("nicknames", r#""H""#), ride(0, r#"{"zone":1}"#)]);
    let was = "step `of-zones` kept the state of `table, rows of topic `names`, ";
    refuse(&place, named(NICKNAMES, "of-zones"), &[was, "nicknames"]);
    let dropping = Config {
        dropped_states: vec!["of-zones".into()],
        ..place.config()
    };
    let lacks = "step `zone-names` would lack the rows of topic `names` that were read before";
    let renamed = named(NAMES, "zone-names");
    refuse_with(&place, renamed, &dropping, &[lacks, "`named`"]);
    // A topic that was never read is read from its first record.
    place
        .run_with(named(NICKNAMES, "of-zones"), &dropping)
        .unwrap();
    assert_eq!(place.texts("zones"), ["6", "1"]);
}

const OTHERS: Topic<String, Ride> = Topic::json("others");

/// Zones of rides, and of those of another topic.
fn merged(with_others: bool) -> Topology {
    let builder = StreamsBuilder::new("app");
    let mut rides = builder.stream(RIDES);
    if with_others {
        rides = rides.merge(&builder.stream(OTHERS));
    }
    rides.map_values(|ride| ride.zone).to(ZONES);
    builder.build().unwrap()
}

#[test]
fn a_topic_that_was_left_out_for_a_while_is_read_on_where_it_was() {
    let place = Place::new(&[("rides", 1), ("zones", 1), ("others", 1)]);
    let other = |zone| tiderace::connect::SinkRecord {
        topic: "others",
        ..ride(0, zone)
    };
    place.send(&[ride(0, r#"{"zone":1}"#), other(r#"{"zone":2}"#)]);
    place.run(merged(true)).unwrap();
    // Two runs without it: each leaves a snapshot.
    for zone in [r#"{"zone":3}"#, r#"{"zone":4}"#] {
        place.send(&[ride(0, zone)]);
        place.run(merged(false)).unwrap();
    }
    place.send(&[other(r#"{"zone":5}"#)]);
    assert_eq!(place.run(merged(true)).unwrap().counts.read, 1);
    let mut zones = place.texts("zones");
    zones.sort();
    assert_eq!(zones, ["1", "2", "3", "4", "5"]);
    let verdict = tiderace::runtime::check(&*place.log, place.path(), "app").unwrap();
    assert_eq!((verdict.records, &verdict.faults[..]), (5, &[][..]));
}

#[test]
fn another_number_of_shards_is_refused_with_a_snapshot_and_without() {
    let place = place();
    place.run(zones(OnError::Fail)).unwrap();
    let config = Config {
        shards: 512,
        ..place.config()
    };
    let numbers = ["begun with 256 shards", "512 are configured"];
    refuse_with(&place, zones(OnError::Fail), &config, &numbers);
    place.forget_snapshots();
    refuse_with(&place, zones(OnError::Fail), &config, &numbers);
}
