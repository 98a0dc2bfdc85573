//! Results that cannot be written: their epoch fails whole.

use std::collections::BTreeMap;

use tiderace::connect::{Log, NewTopic, SinkRecord};
use tiderace::{LogError, OnError, RunError, StreamsBuilder, Topic, Topology};

use crate::place::{Place, RIDES, ride, zones};

const LONG: Topic<String, String> = Topic::json("long");

/// Each ride as so many letters, and as a number.
fn letters() -> Topology {
    let builder = StreamsBuilder::new("app");
    let rides = builder.stream(RIDES);
    rides.map_values(|ride| ride.zone).to(crate::place::ZONES);
    rides
        .map_values(|ride| "x".repeat(ride.zone as usize))
        .to(LONG);
    builder.build().unwrap()
}

fn create(place: &Place, name: &str, limit: &str) {
    let config = BTreeMap::from([("max.message.bytes".to_owned(), limit.to_owned())]);
    place
        .log
        .create_topic(&NewTopic {
            name: name.to_owned(),
            partitions: 1,
            config,
        })
        .unwrap();
}

#[test]
fn a_result_larger_than_its_topic_takes_fails_its_epoch_and_nothing_of_it_is_visible() {
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    create(&place, "long", "1000");
    place.send(&[ride(0, r#"{"zone":10}"#)]);
    place.run(letters()).unwrap();
    let before = ["zones", "long"].map(|topic| place.read(topic));
    let epochs = place.texts("app-epochs").len();
    place.send(&[ride(0, r#"{"zone":11}"#), ride(0, r#"{"zone":2000}"#)]);
    for _ in 0..2 {
        let error = place.run(letters()).unwrap_err();
        let RunError::Log(LogError::TooLarge { topic, limit, .. }) = &error else {
            panic!("{error}");
        };
        assert_eq!((&**topic, *limit), ("long", 1000));
        assert_eq!(error.exit_code(), 65);
        let text = error.to_string();
        assert!(text.contains("topic `long`, partition 0"), "{text}");
        assert_eq!(before, ["zones", "long"].map(|topic| place.read(topic)));
        let entries = place.texts("app-epochs").split_off(epochs);
        let reads_nothing =
            |entry: &String| entry.contains(r#""read":[]"#) || entry.contains(r#""kind":"start""#);
        assert!(entries.iter().all(reads_nothing), "{entries:?}");
    }
}

#[test]
fn a_record_larger_than_its_topic_takes_is_refused_by_the_writer_and_the_others_stay() {
    let place = Place::new(&[]);
    create(&place, "rides", "100");
    let mut writer = place.log.writer("rides").unwrap();
    writer.send(&ride(0, "small")).unwrap();
    let large = "x".repeat(100);
    let error = writer.send(&ride(0, &large)).unwrap_err();
    assert!(
        matches!(&error, LogError::TooLarge { topic, partition: 0, limit: 100, bytes } if topic == "rides" && *bytes > 100),
        "{error}"
    );
    writer.send(&ride(0, "small too")).unwrap();
    writer.flush().unwrap();
    assert_eq!(place.texts("rides"), ["small", "small too"]);
}

#[test]
fn a_dead_letter_that_its_headers_make_too_large_fails_its_epoch() {
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    create(&place, "letters", "100");
    place.send(&[ride(0, r#"{"zone":10}"#), ride(0, "bad")]);
    let error = place
        .run(zones(OnError::DeadLetter("letters".into())))
        .unwrap_err();
    assert!(
        matches!(&error, RunError::Log(LogError::TooLarge { topic, .. }) if topic == "letters"),
        "{error}"
    );
    assert_eq!(place.texts("zones"), Vec::<String>::new());
    assert_eq!(place.texts("letters"), Vec::<String>::new());
}

/// The first result fails, so all rows of the table are committed and no record of the stream is: a restart has
/// only rows to replay.
#[test]
fn a_restart_behind_a_complete_table_goes_on_with_the_stream() {
    const NAMES: Topic<String, String> = Topic::json("names");
    let topology = || {
        let builder = StreamsBuilder::new("app");
        let names = builder.global_table(NAMES);
        builder
            .stream(RIDES)
            .left_join_with_key(&names, |key, _| key.clone(), |_, ride, _| ride.zone)
            .to(crate::place::ZONES);
        builder.build().unwrap()
    };
    let place = Place::new(&[("rides", 1), ("names", 1)]);
    create(&place, "zones", "10");
    let row = SinkRecord {
        topic: "names",
        ..ride(0, "\"Harlem\"")
    };
    place.send(&[row, ride(0, r#"{"zone":1}"#)]);
    for _ in 0..3 {
        let error = place.run(topology()).unwrap_err();
        assert_eq!(error.exit_code(), 65, "{error}");
    }
    place.log.delete_topic("zones").unwrap();
    create(&place, "zones", "1000");
    place.run(topology()).unwrap();
    assert_eq!(place.texts("zones"), ["1"]);
}

#[test]
fn a_result_without_a_form_in_its_topics_format_names_the_sink() {
    const PAIRS: Topic<String, BTreeMap<(u32, u32), u32>> = Topic::json("pairs");
    let place = Place::new(&[("rides", 1), ("pairs", 1)]);
    place.send(&[ride(0, r#"{"zone":10}"#)]);
    let builder = StreamsBuilder::new("app");
    builder
        .stream(RIDES)
        .map_values(|ride| BTreeMap::from([((ride.zone, 1), 2)]))
        .to(PAIRS);
    let error = place.run(builder.build().unwrap()).unwrap_err();
    assert!(
        matches!(&error, RunError::Output { node, .. } if node.starts_with("pairs-sink")),
        "{error}"
    );
    assert_eq!(error.exit_code(), 65);
    assert!(
        error
            .to_string()
            .contains("nothing of its epoch was committed")
    );
    assert_eq!(place.texts("pairs"), Vec::<String>::new());
}

#[test]
fn a_result_dated_1970_or_before_is_refused_where_kafka_would_date_it_anew() {
    let Some(broker) = tiderace_testing::kafka::Kafka::shared() else {
        return;
    };
    let log = tiderace::connect::kafka::KafkaLog::connect(broker.bootstrap(), &BTreeMap::new());
    let log = std::sync::Arc::new(log.unwrap());
    const DATED: Topic<String, i64> =
        Topic::json("dated").timestamp(|at| tiderace::EventTime::from_millis(*at));
    const OUT: Topic<String, i64> = Topic::json("dated-out");
    for name in ["dated", "dated-out"] {
        let config = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: 1,
            config,
        };
        log.create_topic(&topic).unwrap();
    }
    let mut writer = log.writer("dated").unwrap();
    for value in ["1", "0"] {
        let record = SinkRecord {
            topic: "dated",
            ..ride(0, value)
        };
        writer.send(&record).unwrap();
    }
    writer.flush().unwrap();
    let builder = StreamsBuilder::new(broker.fresh_name("dated"));
    builder.stream(DATED).to(OUT);
    let state = tempfile::tempdir().unwrap();
    let config = tiderace::Config {
        data_dir: state.path().to_owned(),
        ..tiderace::Config::default()
    };
    let running = tiderace::Engine::start(builder.build().unwrap(), log, &config).unwrap();
    let error = running.join().unwrap_err();
    assert!(matches!(&error, RunError::Output { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("1970-01-01T00:00:00Z is not after 1970-01-01"),
        "{text}"
    );
    assert!(broker.read_committed("dated-out").concat().is_empty());
}
