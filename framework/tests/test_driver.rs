//! The test driver, and with it the DSL: each step on the real dataflow, without a broker.

#![allow(clippy::unwrap_used)]

use serde::{Deserialize, Serialize};
use tiderace::connect::Header;
use tiderace::testing::{RawRecord, TestRecord, TopologyTestDriver};
use tiderace::{
    EventTime, OnError, StreamsBuilder, TimeWindows, Topic, Window, Windowed, millis, seconds,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Ride {
    zone: u32,
    at: i64,
    miles: f64,
}

const RIDES: Topic<String, Ride> =
    Topic::json("rides").timestamp(|ride| EventTime::from_millis(ride.at));
const COUNTS: Topic<Windowed<u32>, u64> = Topic::json("counts");
const LATE: Topic<String, Ride> = Topic::json("late");
const WORDS: Topic<String, String> = Topic::bytes("words");
const NAMES: Topic<u32, String> = Topic::bytes("names");
const OUT: Topic<String, String> = Topic::bytes("out");
const TOTALS: Topic<String, u64> = Topic::bytes("totals");

fn ride(zone: u32, at: i64) -> TestRecord<String, Ride> {
    TestRecord::new(
        "k".to_string(),
        Ride {
            zone,
            at,
            miles: 1.0,
        },
    )
}

fn window(zone: u32, start: i64, end: i64) -> Windowed<u32> {
    let [start, end] = [start, end].map(EventTime::from_millis);
    Windowed {
        key: zone,
        window: Window { start, end },
    }
}

/// Keys as they come back from a topic: a window's end is not on the wire.
fn counted(driver: &mut TopologyTestDriver) -> Vec<(u32, i64, u64)> {
    let counts = driver.read_key_values(COUNTS);
    let flat = |(of, count): (Windowed<u32>, u64)| (of.key, of.window.start.as_millis(), count);
    counts.into_iter().map(flat).collect()
}

fn rides_per_zone(windows: TimeWindows) -> TopologyTestDriver {
    rides_per_zone_over(windows, 1)
}

fn rides_per_zone_over(windows: TimeWindows, partitions: u32) -> TopologyTestDriver {
    let builder = StreamsBuilder::new("rides-per-zone");
    builder
        .stream(RIDES)
        .filter(|ride| ride.miles > 0.0)
        .group_by(|ride| ride.zone)
        .windowed_by(windows)
        .late_to(LATE)
        .count()
        .named("counts-by-zone")
        .emit_on_close()
        .to(COUNTS);
    TopologyTestDriver::with_partitions(builder.build().unwrap(), partitions).unwrap()
}

#[test]
fn a_window_is_emitted_once_when_end_and_grace_have_passed() {
    let mut driver = rides_per_zone(TimeWindows::of_size(seconds(10)).grace(seconds(5)));
    driver
        .pipe_batch(RIDES, [ride(7, 1_000), ride(7, 9_999), ride(8, 14_999)])
        .unwrap();
    assert_eq!(counted(&mut driver), []);
    driver.pipe_input(RIDES, ride(8, 15_000)).unwrap();
    assert_eq!(counted(&mut driver), [(7, 0, 2)]);
    driver.end_input().unwrap();
    assert_eq!(counted(&mut driver), [(8, 10_000, 2)]);
}

#[test]
fn a_record_at_end_plus_grace_is_late_and_goes_on_as_it_came() {
    let mut driver = rides_per_zone(TimeWindows::of_size(seconds(10)).grace(seconds(5)));
    driver.pipe_input(RIDES, ride(8, 14_999)).unwrap();
    driver.pipe_input(RIDES, ride(7, 9_999)).unwrap();
    driver.pipe_input(RIDES, ride(8, 15_000)).unwrap();
    let late = RawRecord {
        topic: "rides".into(),
        key: Some(b"raw key".to_vec()),
        value: Some(br#"{"zone":9, "at":9999, "miles":1.0, "note":"as it came"}"#.to_vec()),
        timestamp: 5,
        headers: vec![Header {
            name: "h".into(),
            value: None,
        }],
        partition: 0,
    };
    driver.pipe_raw([late.clone()]).unwrap();
    driver.end_input().unwrap();
    assert_eq!(counted(&mut driver), [(7, 0, 1), (8, 10_000, 2)]);
    assert_eq!(
        driver.read_late(),
        [RawRecord {
            topic: "late".into(),
            ..late
        }]
    );
    let counts = driver.counts();
    assert_eq!((counts.read, counts.processed, counts.late), (4, 3, 1));
}

#[test]
fn a_slow_partition_holds_windows_open_and_its_records_are_not_late() {
    let mut driver = rides_per_zone_over(TimeWindows::of_size(seconds(10)), 2);
    driver
        .pipe_input(RIDES, ride(7, 60_000).in_partition(0))
        .unwrap();
    driver
        .pipe_input(RIDES, ride(7, 1_000).in_partition(1))
        .unwrap();
    driver
        .pipe_input(RIDES, ride(7, 2_000).in_partition(1))
        .unwrap();
    assert_eq!(counted(&mut driver), []);
    driver
        .pipe_input(RIDES, ride(9, 20_000).in_partition(1))
        .unwrap();
    assert_eq!(counted(&mut driver), [(7, 0, 2)]);
    assert_eq!(driver.counts().late, 0);
}

#[test]
fn a_silent_partition_is_left_out_and_does_not_lower_the_watermark_when_it_wakes() {
    let mut driver = rides_per_zone_over(TimeWindows::of_size(seconds(10)), 2);
    driver
        .pipe_input(RIDES, ride(7, 1_000).in_partition(1))
        .unwrap();
    driver
        .pipe_input(RIDES, ride(7, 60_000).in_partition(0))
        .unwrap();
    assert_eq!(counted(&mut driver), []);
    driver.advance_wall_clock(seconds(4)).unwrap();
    driver
        .pipe_input(RIDES, ride(7, 61_000).in_partition(0))
        .unwrap();
    driver.advance_wall_clock(seconds(2)).unwrap();
    assert_eq!(counted(&mut driver), [(7, 0, 1)]);
    driver
        .pipe_input(RIDES, ride(7, 2_000).in_partition(1))
        .unwrap();
    assert_eq!((driver.counts().late, driver.read_late().len()), (1, 1));
    driver
        .pipe_input(RIDES, ride(7, 62_000).in_partition(1))
        .unwrap();
    driver.end_input().unwrap();
    assert_eq!(counted(&mut driver), [(7, 60_000, 3)]);
}

#[test]
fn the_watermark_moved_by_hand_closes_windows() {
    let mut driver = rides_per_zone(TimeWindows::of_size(seconds(10)));
    driver.pipe_input(RIDES, ride(7, 1_000)).unwrap();
    driver
        .advance_watermark(EventTime::from_millis(9_999))
        .unwrap();
    assert_eq!(counted(&mut driver), []);
    driver
        .advance_watermark(EventTime::from_millis(10_000))
        .unwrap();
    assert_eq!(counted(&mut driver), [(7, 0, 1)]);
    driver.pipe_input(RIDES, ride(7, 9_999)).unwrap();
    assert_eq!(driver.counts().late, 1);
}

#[test]
fn after_the_end_only_what_begins_behind_it_is_in_time() {
    let mut driver = rides_per_zone(TimeWindows::of_size(seconds(10)).grace(seconds(5)));
    driver.pipe_input(RIDES, ride(7, 1_000)).unwrap();
    driver.end_input().unwrap();
    assert_eq!(counted(&mut driver), [(7, 0, 1)]);
    driver.pipe_input(RIDES, ride(7, 2_000)).unwrap();
    driver.pipe_input(RIDES, ride(7, 10_000)).unwrap();
    driver.end_input().unwrap();
    assert_eq!(counted(&mut driver), [(7, 10_000, 1)]);
    assert_eq!(driver.counts().late, 1);
}

#[test]
fn hopping_windows_count_a_record_in_each_and_negative_times_have_windows() {
    let windows = TimeWindows::of_size(millis(10)).advance_by(millis(5));
    let mut driver = rides_per_zone(windows);
    driver
        .pipe_batch(RIDES, [ride(7, -3), ride(7, 3), ride(7, 12)])
        .unwrap();
    driver.end_input().unwrap();
    let expected = [(7, -10, 1), (7, -5, 1), (7, 0, 1), (7, 5, 1), (7, 10, 1)];
    assert_eq!(counted(&mut driver), expected);
}

#[test]
fn an_open_window_can_be_looked_into() {
    let mut driver = rides_per_zone(TimeWindows::of_size(seconds(10)));
    driver
        .pipe_batch(RIDES, [ride(7, 1_000), ride(7, 2_000), ride(8, 3_000)])
        .unwrap();
    let store = driver.store::<Windowed<u32>, u64>("counts-by-zone");
    assert_eq!(
        store.rows(),
        [(window(7, 0, 10_000), 2), (window(8, 0, 10_000), 1)]
    );
    assert_eq!(store.get(&window(8, 0, 10_000)), Some(&1));
}

#[test]
fn a_running_count_changes_once_per_key_and_epoch() {
    let builder = StreamsBuilder::new("word-count");
    builder
        .stream(WORDS)
        .group_by(|word| word.clone())
        .count()
        .named("totals-by-word")
        .to(TOTALS);
    let mut driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let word = |word: &str| ("k".to_string(), word.to_string());
    driver
        .pipe_batch(WORDS, [word("a"), word("b"), word("a")])
        .unwrap();
    driver.pipe_input(WORDS, word("b")).unwrap();
    let pair = |word: &str, count: u64| (word.to_string(), count);
    assert_eq!(
        driver.read_key_values(TOTALS),
        [pair("b", 1), pair("a", 2), pair("b", 2)]
    );
    assert_eq!(
        driver.store::<String, u64>("totals-by-word").rows(),
        [pair("a", 2), pair("b", 2)]
    );
}

#[test]
fn a_value_that_stays_the_same_is_no_change() {
    let builder = StreamsBuilder::new("longest");
    let longest = |one: String, other: String| if other.len() > one.len() { other } else { one };
    builder.stream(WORDS).group_by_key().reduce(longest).to(OUT);
    let mut driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    for word in ["tide", "race", "tiderace"] {
        driver
            .pipe_input(WORDS, ("k".to_string(), word.to_string()))
            .unwrap();
    }
    let pair = |word: &str| ("k".to_string(), word.to_string());
    assert_eq!(
        driver.read_key_values(OUT),
        [pair("tide"), pair("tiderace")]
    );
}

#[test]
fn a_join_with_a_global_table_sees_the_rows_of_the_epoch() {
    let builder = StreamsBuilder::new("names");
    let names = builder.global_table(NAMES);
    let words = builder.stream(WORDS);
    let key = |_: &String, word: &String| word.len() as u32;
    words
        .left_join(&names, key, |word, name| {
            format!("{word}-{}", name.map_or("?", |n| n))
        })
        .to(OUT);
    let mut driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let word = |word: &str| ("k".to_string(), word.to_string());
    driver.pipe_input(WORDS, word("tide")).unwrap();
    driver.pipe_input(NAMES, (4, "four".to_string())).unwrap();
    driver.pipe_input(WORDS, word("race")).unwrap();
    let gone = RawRecord {
        topic: "names".into(),
        key: Some(4u32.to_be_bytes().to_vec()),
        ..RawRecord::default()
    };
    driver.pipe_raw([gone]).unwrap();
    driver.pipe_input(WORDS, word("ebbs")).unwrap();
    let out: Vec<String> = driver
        .read_key_values(OUT)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(out, ["tide-?", "race-four", "ebbs-?"]);
    assert!(driver.store::<u32, String>("names-table").is_empty());
}

#[test]
fn stateless_steps_do_what_their_names_say() {
    const HIGH: Topic<String, String> = Topic::bytes("high");
    const BAD: Topic<String, String> = Topic::bytes("bad");
    let builder = StreamsBuilder::new("steps");
    let words = builder.stream(WORDS);
    let (numbers, errors) = words
        .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .filter_not(|word| word.is_empty())
        .try_map_values(|word| word.parse::<u32>().map_err(|e| format!("{word}: {e}")));
    errors.to(BAD);
    let branches = numbers.split();
    branches
        .branch("high", |n| *n >= 10)
        .map_values(|n| n.to_string())
        .to(HIGH);
    let low = branches
        .default_branch("low")
        .map(|key, n| (format!("{key}{n}"), n.to_string()));
    low.merge(&words.select_key(|line| line.len().to_string()))
        .to(OUT);
    let mut driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    driver
        .pipe_input(WORDS, ("k".to_string(), "3 x 12".to_string()))
        .unwrap();
    driver
        .pipe_input(WORDS, ("k".to_string(), String::new()))
        .unwrap();
    let pair = |key: &str, value: &str| (key.to_string(), value.to_string());
    assert_eq!(driver.read_key_values(HIGH), [pair("k", "12")]);
    assert_eq!(
        driver.read_key_values(BAD),
        [pair("k", "x: invalid digit found in string")]
    );
    assert_eq!(
        driver.read_key_values(OUT),
        [pair("6", "3 x 12"), pair("k3", "3"), pair("0", "")]
    );
    let counts = driver.counts();
    assert_eq!((counts.read, counts.processed), (2, 2));
}

#[test]
fn a_new_value_is_of_the_old_ones_type_or_of_another() {
    const NUMBERS: Topic<String, u64> = Topic::bytes("numbers");
    let builder = StreamsBuilder::new("values");
    builder
        .stream(NUMBERS)
        .map_values(|n| n + 1)
        .map_values(|n| n as f64 / 2.0)
        .map_values(|half| half.to_string())
        .map_values(|text| format!("{text}!"))
        .to(OUT);
    let mut driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let pipe = (0..600).map(|n| (format!("{n:03}"), n)).collect::<Vec<_>>();
    driver.pipe_batch(NUMBERS, pipe).unwrap();
    let expected: Vec<_> = (0..600_u64)
        .map(|n| (format!("{n:03}"), format!("{}!", (n + 1) as f64 / 2.0)))
        .collect();
    assert_eq!(driver.read_key_values(OUT), expected);
}

#[test]
fn flat_map_makes_any_number_of_keys_and_values_of_a_record() {
    let builder = StreamsBuilder::new("letters");
    builder
        .stream(WORDS)
        .flat_map(|key, line| {
            let words = line.split_whitespace();
            words
                .map(|word| (word.to_owned(), format!("{key}-{}", word.len())))
                .collect::<Vec<_>>()
        })
        .to(OUT);
    let mut driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let pair = |key: &str, value: &str| (key.to_string(), value.to_string());
    driver.pipe_input(WORDS, pair("k", "ebb and ebb")).unwrap();
    driver.pipe_input(WORDS, pair("k", " ")).unwrap();
    let without_key = RawRecord {
        topic: "words".into(),
        value: Some(b"lost".to_vec()),
        ..RawRecord::default()
    };
    driver.pipe_raw([without_key]).unwrap();
    // What comes of one record is written in the order of its keys.
    let expected = [pair("and", "k-3"), pair("ebb", "k-3"), pair("ebb", "k-3")];
    assert_eq!(driver.read_key_values(OUT), expected);
    let counts = driver.counts();
    assert_eq!(
        (
            counts.read,
            counts.processed,
            counts.filtered,
            counts.skipped
        ),
        (3, 1, 1, 1)
    );
}

#[test]
fn bad_data_becomes_a_dead_letter_with_its_bytes_and_what_was_wrong() {
    let builder = StreamsBuilder::new("dead");
    builder.on_error(OnError::DeadLetter("dead".into()));
    builder
        .stream(RIDES)
        .group_by(|ride| ride.zone)
        .count()
        .to(Topic::<u32, u64>::bytes("out"));
    let mut driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let bad = RawRecord {
        topic: "rides".into(),
        key: Some(b"k".to_vec()),
        value: Some(b"{\"zone\":}".to_vec()),
        timestamp: 17,
        ..RawRecord::default()
    };
    driver.pipe_raw([bad]).unwrap();
    driver.pipe_input(RIDES, ride(7, 1)).unwrap();
    let letters = driver.read_dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].value.as_deref(), Some(&b"{\"zone\":}"[..]));
    assert_eq!(letters[0].timestamp, 17);
    let names: Vec<&str> = letters[0]
        .headers
        .iter()
        .map(|header| header.name.as_str())
        .collect();
    let prefix = |name: &str| format!("__streams.errors.{name}");
    let expected = [
        "exception",
        "stacktrace",
        "message",
        "topic",
        "partition",
        "offset",
    ]
    .map(prefix);
    assert_eq!(names, expected);
    let counts = driver.counts();
    assert_eq!(
        (counts.read, counts.processed, counts.dead_lettered),
        (2, 1, 1)
    );
}
