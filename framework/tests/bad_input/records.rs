//! Records that cannot be read, a test for each kind, under every policy.

use tiderace::connect::{Header, NO_TIMESTAMP, SinkRecord};
use tiderace::{Counts, EventTime, OnError, RunError, StreamsBuilder, Topic, Topology};

use crate::place::{COUNTS, Place, RIDES, Ride, TIME, ride, zones};

const LETTERS: &str = "letters";

fn own_headers() -> Vec<Header> {
    let header = |name: &str, value: Option<&[u8]>| Header {
        name: name.to_owned(),
        value: value.map(<[u8]>::to_vec),
    };
    vec![
        header("trace", Some(b"\x00\xff")),
        header("__streams.errors.topic", Some(b"an earlier one")),
        header("trace", None),
    ]
}

fn place() -> Place {
    Place::new(&[("rides", 2), ("zones", 2), (LETTERS, 2)])
}

/// Sends a good ride, the bad record (partition 1, offset 1) and another good one behind it.
fn send_around(place: &Place, bad: &SinkRecord<'_>) {
    place.send(&[
        ride(0, r#"{"zone":10}"#),
        ride(1, r#"{"zone":11}"#),
        *bad,
        ride(1, r#"{"zone":12}"#),
    ]);
}

/// The error of a record that a program does not read: it names everything, and a rerun stops at the same place.
fn assert_fails(place: &Place, topology: &dyn Fn() -> Topology, reason: &str) {
    for _ in 0..2 {
        let error = place.run_with(topology(), &place.one_epoch()).unwrap_err();
        let RunError::Data {
            node,
            partition,
            offset,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(node, "rides-source");
        assert_eq!(
            (&*partition.topic, partition.partition, *offset),
            ("rides", 1, 1)
        );
        assert_eq!(error.exit_code(), 65);
        let text = error.to_string();
        let place = "step `rides-source`: topic `rides`, partition 1, offset 1: ";
        assert!(text.starts_with(place), "{text}");
        assert!(text.contains(reason), "{text}");
        assert!(
            text.contains("nothing of its epoch was committed"),
            "{text}"
        );
    }
    // Epochs before may have taken the good records in front of it, partition by partition.
    assert!(place.texts("zones").len() <= 2);
    for entry in place.texts("app-epochs") {
        let reads_it = |end| entry.contains(&format!(r#""rides","partition":1,"end":{end}"#));
        assert!(!reads_it(2) && !reads_it(3), "{entry}");
    }
}

/// What a run made of the good records; which partition's come first is a matter of time.
fn good(place: &Place) -> Vec<String> {
    let mut values = place.texts("zones");
    values.sort();
    values
}

fn counts(skipped: u64, dead_lettered: u64) -> Counts {
    Counts {
        read: 4,
        processed: 3,
        skipped,
        dead_lettered,
        ..Counts::default()
    }
}

/// What every policy makes of a bad record; `reason` is part of the message.
fn check(bad: SinkRecord<'_>, reason: &str) {
    let headers = own_headers();
    let bad = SinkRecord {
        partition: 1,
        headers: &headers,
        ..bad
    };
    let failing = place();
    send_around(&failing, &bad);
    assert_fails(&failing, &|| zones(OnError::Fail), reason);

    // The advice of the message, followed on the same state.
    let report = failing.run(zones(OnError::Skip)).unwrap();
    assert_eq!((report.counts.skipped, report.counts.dead_lettered), (1, 0));
    assert!(report.counts.conserved());
    assert_eq!(good(&failing), ["10", "11", "12"]);

    let skipping = place();
    send_around(&skipping, &bad);
    assert_eq!(
        skipping.run(zones(OnError::Skip)).unwrap().counts,
        counts(1, 0)
    );
    assert_eq!(good(&skipping), ["10", "11", "12"]);

    let lettering = place();
    send_around(&lettering, &bad);
    let letters = || zones(OnError::DeadLetter(LETTERS.into()));
    let report = lettering.run(letters()).unwrap();
    assert_eq!(report.counts, counts(0, 1));
    assert!(report.counts.conserved());
    assert_eq!(good(&lettering), ["10", "11", "12"]);
    assert_letter(&lettering, &bad, reason);
}

/// The letter is the record as it was, with Kafka's headers behind its own.
fn assert_letter(place: &Place, bad: &SinkRecord<'_>, reason: &str) {
    let letters: Vec<_> = place.read(LETTERS).into_iter().flatten().collect();
    let [letter] = &letters[..] else {
        panic!("{letters:?}");
    };
    assert_eq!(letter.key.as_deref(), bad.key);
    assert_eq!(letter.value.as_deref(), bad.value);
    assert_eq!(letter.timestamp, bad.timestamp);
    let (own, errors) = letter.headers.split_at(3);
    assert_eq!(own, bad.headers);
    let errors: Vec<(&str, String)> = errors
        .iter()
        .map(|header| {
            let value = header.value.clone().unwrap();
            (&*header.name, String::from_utf8(value).unwrap())
        })
        .collect();
    let names: Vec<&str> = errors.iter().map(|(name, _)| *name).collect();
    let expected = [
        "__streams.errors.exception",
        "__streams.errors.stacktrace",
        "__streams.errors.message",
        "__streams.errors.topic",
        "__streams.errors.partition",
        "__streams.errors.offset",
    ];
    assert_eq!(names, expected);
    assert_eq!(errors[0].1, "tiderace.DataError");
    assert!(errors[2].1.contains(reason), "{}", errors[2].1);
    assert_eq!(
        [&*errors[3].1, &*errors[4].1, &*errors[5].1],
        ["rides", "1", "1"]
    );
}

#[test]
fn a_value_that_is_not_json_is_named_by_its_offset_and_its_fault() {
    check(ride(1, "zone: 3"), "the value is not JSON");
    let bytes = SinkRecord {
        value: Some(b"{\"zone\":\"\xff\"}"),
        ..ride(1, "")
    };
    check(bytes, "it is not UTF-8");
}

#[test]
fn a_missing_field_is_named() {
    check(ride(1, r#"{"zonne":3}"#), "missing field `zone`");
}

#[test]
fn a_field_of_the_wrong_type_is_named_with_both_types() {
    check(
        ride(1, r#"{"zone":"x"}"#),
        "invalid type: string \"x\", expected u32",
    );
    check(ride(1, r#"{"zone":-1}"#), "expected u32");
}

#[test]
fn trailing_garbage_is_not_passed_over() {
    check(ride(1, r#"{"zone":3} {"zone":4}"#), "trailing characters");
}

#[test]
fn an_empty_value_is_not_json() {
    check(ride(1, ""), "the value is empty");
}

#[test]
fn nesting_that_would_break_the_stack_is_an_error() {
    let deep = "[".repeat(200_000);
    check(
        ride(1, &format!("{{\"zone\":{deep}")),
        "the JSON value has another shape",
    );
    check(ride(1, &format!("{{\"depth\":{deep}")), "EOF while parsing");
}

#[test]
fn a_tombstone_is_not_taken_by_a_stream() {
    let bad = SinkRecord {
        value: None,
        ..ride(1, "")
    };
    check(bad, "the value is null (a tombstone)");
}

#[test]
fn a_record_without_a_timestamp_says_how_to_declare_one() {
    let bad = SinkRecord {
        timestamp: NO_TIMESTAMP,
        ..ride(1, r#"{"zone":3}"#)
    };
    check(
        bad,
        "no timestamp; declare where the value holds one with `Topic::timestamp`",
    );
}

/// One day more than `max_skew` ahead of the clock.
fn far_ahead() -> i64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    i64::try_from(now).unwrap() + 8 * 86_400_000
}

#[test]
fn a_timestamp_beyond_max_skew_is_bad_data() {
    for timestamp in [far_ahead(), i64::MAX] {
        let bad = SinkRecord {
            timestamp,
            ..ride(1, r#"{"zone":3}"#)
        };
        check(bad, "lies more than max_skew ahead");
    }
}

#[test]
fn a_timestamp_at_the_end_of_the_range_is_bad_data() {
    let bad = SinkRecord {
        timestamp: i64::MIN,
        ..ride(1, r#"{"zone":3}"#)
    };
    check(bad, "the timestamp is out of range");
}

#[test]
fn a_timestamp_beyond_max_skew_does_not_move_the_watermark() {
    const WINDOWED: Topic<tiderace::Windowed<String>, u64> = Topic::json("windows");
    let place = Place::new(&[("rides", 1), ("windows", 1)]);
    let at = |timestamp| SinkRecord {
        timestamp,
        ..ride(0, r#"{"zone":3}"#)
    };
    // Had the one in the middle counted, the last would be late.
    place.send(&[at(TIME), at(far_ahead()), at(TIME + 1)]);
    let builder = StreamsBuilder::new("app");
    builder.on_error(OnError::Skip);
    builder
        .stream(RIDES)
        .group_by_key()
        .windowed_by(tiderace::TimeWindows::of_size(tiderace::seconds(1)))
        .count()
        .emit_on_close()
        .to(WINDOWED);
    let running =
        tiderace::Engine::start(builder.build().unwrap(), place.log.clone(), &place.config())
            .unwrap();
    let progress = running.progress();
    let report = running.join().unwrap();
    assert_eq!(report.counts.late, 0);
    assert_eq!((report.counts.skipped, report.counts.processed), (1, 2));
    assert_eq!(place.texts("windows"), ["2"]);
    assert!(progress.watermark().is_none_or(|at| at <= TIME + 1));
}

#[test]
fn a_null_key_into_a_group_is_skipped_and_counted_under_every_policy() {
    let policies = [
        OnError::Fail,
        OnError::Skip,
        OnError::DeadLetter(LETTERS.into()),
    ];
    for policy in policies {
        let place = Place::new(&[("rides", 1), ("counts", 1), (LETTERS, 1)]);
        let nobody = SinkRecord {
            key: None,
            ..ride(0, r#"{"zone":3}"#)
        };
        place.send(&[ride(0, r#"{"zone":1}"#), nobody, ride(0, r#"{"zone":2}"#)]);
        let builder = StreamsBuilder::new("app");
        builder.on_error(policy);
        builder
            .stream(RIDES)
            .group_by_key()
            .count()
            .to_stream()
            .to(COUNTS);
        let report = place.run(builder.build().unwrap()).unwrap();
        assert_eq!((report.counts.skipped, report.counts.processed), (1, 2));
        assert!(report.counts.conserved());
        assert_eq!(place.texts("counts").last().unwrap(), "2");
        assert_eq!(place.texts(LETTERS), Vec::<String>::new());
    }
}

#[test]
fn a_key_whose_bytes_do_not_fit_is_bad_data_where_a_step_reads_it() {
    const NUMBERED: Topic<u32, Ride> = Topic::json("rides");
    const OUT: Topic<u32, Ride> = Topic::json("zones");
    let topology = |on_error| {
        let builder = StreamsBuilder::new("app");
        builder.on_error(on_error);
        builder.stream(NUMBERED).to(OUT);
        builder.build().unwrap()
    };
    let place = place();
    let good = SinkRecord {
        key: Some(&[0, 0, 0, 1]),
        ..ride(1, r#"{"zone":1}"#)
    };
    place.send(&[good, ride(1, r#"{"zone":2}"#)]);
    assert_fails(
        &place,
        &|| topology(OnError::Fail),
        "the key's bytes do not fit",
    );
    let report = place.run(topology(OnError::Skip)).unwrap();
    assert_eq!(report.counts.skipped, 1);
    assert_eq!(place.texts("zones"), [r#"{"zone":1}"#]);
}

#[test]
fn bad_rows_of_a_table_are_bad_data_too_and_a_null_key_is_one() {
    const NAMES: Topic<String, String> = Topic::json("names");
    let topology = |on_error| {
        let builder = StreamsBuilder::new("app");
        builder.on_error(on_error);
        let names = builder.global_table(NAMES);
        builder
            .stream(RIDES)
            .left_join_with_key(&names, |key, _| key.clone(), |_, ride, _| ride.zone)
            .to(crate::place::ZONES);
        builder.build().unwrap()
    };
    let place = Place::new(&[("rides", 1), ("zones", 1), ("names", 1), (LETTERS, 1)]);
    let row = |key, value| SinkRecord {
        topic: "names",
        key,
        value: Some(value),
        ..ride(0, "")
    };
    place.send(&[
        row(Some(&b"a"[..]), b"\"Harlem\"".as_slice()),
        row(None, b"\"nowhere\""),
        row(Some(&b"b"[..]), b"Bronx"),
        ride(0, r#"{"zone":1}"#),
    ]);
    let error = place.run(topology(OnError::Fail)).unwrap_err();
    let expected = "step `names-source`: topic `names`, partition 0, offset 1: the key is null";
    assert!(error.to_string().starts_with(expected), "{error}");
    let report = place
        .run(topology(OnError::DeadLetter(LETTERS.into())))
        .unwrap();
    // Rows are no records of a stream: they are not in the line of conservation.
    assert_eq!((report.counts.read, report.counts.processed), (1, 1));
    assert_eq!(place.texts(LETTERS), ["\"nowhere\"", "Bronx"]);
}

#[test]
fn an_event_time_before_1970_is_no_fault_on_the_embedded_log() {
    const DATED: Topic<String, i64> =
        Topic::json("rides").timestamp(|millis| EventTime::from_millis(*millis));
    const OUT: Topic<String, i64> = Topic::json("zones");
    let place = place();
    place.send(&[ride(0, "-5000"), ride(0, "0"), ride(0, "-1")]);
    let builder = StreamsBuilder::new("app");
    builder.stream(DATED).to(OUT);
    let report = place.run(builder.build().unwrap()).unwrap();
    assert_eq!(report.counts.processed, 3);
    let dated: Vec<i64> = place
        .read("zones")
        .into_iter()
        .flatten()
        .map(|record| record.timestamp)
        .collect();
    assert_eq!(dated, [-5000, 0, -1]);
}
