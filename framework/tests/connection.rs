//! Typed records go into a log and come out of it; what does not fit is named by its place.

use serde::{Deserialize, Serialize};
use tiderace::connect::NewTopic;
use tiderace::{Connection, EventTime, LogError, ReadError, StreamsBuilder, Topic, millis};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    at: EventTime,
    celsius: f64,
}

const READINGS: Topic<String, Reading> = Topic::json("readings").timestamp(|reading| reading.at);
const WARM: Topic<String, Reading> = Topic::json("warm");
const NUMBERS: Topic<u32, u32> = Topic::bytes("numbers");
const MAYBE: Topic<Option<u32>, u32> = Topic::bytes("numbers");

fn reading(millis: i64, celsius: f64) -> Reading {
    Reading {
        at: EventTime::from_millis(millis),
        celsius,
    }
}

#[test]
fn what_is_written_is_read_with_the_event_time_of_the_value() {
    let connection = Connection::temporary().unwrap();
    connection.create(READINGS, 3).unwrap();
    let sent: Vec<_> = (0..20)
        .map(|n| (format!("sensor-{}", n % 5), reading(n - 10, n as f64)))
        .collect();
    connection.write(READINGS, sent.clone()).unwrap();

    let found = connection.read(READINGS).unwrap();

    assert!(
        found.is_sorted_by_key(|record| (record.partition, record.offset)),
        "{found:?}"
    );
    let in_use: std::collections::BTreeSet<_> =
        found.iter().map(|record| record.partition).collect();
    assert!(in_use.len() > 1, "every key in one of three partitions");
    let mut found: Vec<_> = found
        .into_iter()
        .map(|record| {
            // -1 on the wire means that there is no timestamp.
            let at = (record.value.at.as_millis() != -1).then_some(record.value.at);
            assert_eq!(record.timestamp, at);
            (record.key, record.value)
        })
        .collect();
    found.sort_by_key(|(_, reading)| reading.at);
    assert_eq!(found, sent);
}

#[test]
fn a_topology_runs_where_its_input_was_written() {
    let connection = Connection::temporary().unwrap();
    let topology = || {
        let builder = StreamsBuilder::new("warm-readings");
        builder
            .stream(READINGS.out_of_orderness(millis(5)))
            .filter(|reading| reading.celsius > 20.0)
            .to(WARM);
        builder.build().unwrap()
    };
    let readings = [("a", reading(1, 19.0)), ("a", reading(2, 21.0))];
    let readings = readings.map(|(sensor, reading)| (sensor.to_owned(), reading));
    connection.write(READINGS, readings.clone()).unwrap();
    assert_eq!(connection.run(topology()).unwrap().counts.filtered, 1);
    connection.write(READINGS, readings).unwrap();
    let again = connection.run(topology()).unwrap();
    assert!(again.resumed);
    assert_eq!(again.counts.read, 2, "only what is new");

    let warm: Vec<_> = connection
        .read(WARM)
        .unwrap()
        .into_iter()
        .map(|record| record.value)
        .collect();
    assert_eq!(warm, [reading(2, 21.0), reading(2, 21.0)]);
}

#[test]
fn null_keys_are_read_as_options_only() {
    let connection = Connection::temporary().unwrap();
    connection
        .write(MAYBE, [(Some(1), 10), (None, 20)])
        .unwrap();
    let keys = connection.read(MAYBE).unwrap().into_iter();
    assert_eq!(
        keys.map(|record| record.key).collect::<Vec<_>>(),
        [Some(1), None]
    );
    let error = connection.read(NUMBERS).unwrap_err();
    assert_eq!(
        error.to_string(),
        "topic `numbers`, partition 0, offset 1: the key is null; read it as a topic of `Option` keys"
    );
}

#[test]
fn a_value_that_does_not_fit_is_named_by_its_offset() {
    let connection = Connection::temporary().unwrap();
    const WORDS: Topic<u32, String> = Topic::bytes("numbers");
    connection
        .write(WORDS, [(1, "four".to_owned()), (2, "eleven".to_owned())])
        .unwrap();
    let error = connection.read(NUMBERS).unwrap_err();
    assert!(
        matches!(error, ReadError::Data { offset: 1, .. }),
        "{error}"
    );
}

#[test]
fn a_temporary_log_goes_with_its_connection_and_another_stays() {
    let kept = tempfile::tempdir().unwrap();
    let numbers = |connection: &Connection| connection.read(NUMBERS).unwrap().len();
    let connection = Connection::to_directory(kept.path()).unwrap();
    connection.write(NUMBERS, [(1, 10)]).unwrap();
    drop(connection);
    assert_eq!(numbers(&Connection::to_directory(kept.path()).unwrap()), 1);

    let temporary = Connection::temporary().unwrap();
    let location = temporary.log().location();
    let directory = location.strip_prefix("embedded log ").unwrap();
    temporary.write(NUMBERS, [(1, 10)]).unwrap();
    assert_eq!(numbers(&temporary), 1);
    assert!(std::path::Path::new(directory).exists());
    drop(temporary);
    assert!(!std::path::Path::new(directory).exists());
}

#[test]
fn a_topic_keeps_the_partitions_that_it_was_created_with() {
    let connection = Connection::temporary().unwrap();
    connection.create(NUMBERS, 2).unwrap();
    connection.create(NUMBERS, 2).unwrap();
    let error = connection.create(NUMBERS, 3).unwrap_err();
    assert_eq!(error.to_string(), "topic `numbers` has 2 partitions, not 3");
    assert!(matches!(error, LogError::Refused(_)));
    let again = NewTopic {
        name: "numbers".into(),
        partitions: 2,
        config: Default::default(),
    };
    assert!(connection.log().create_topic(&again).is_err());
}
