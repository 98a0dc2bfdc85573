//! The Kafka Streams peer computes what its workloads say, against naive loops over the same records; otherwise
//! comparing it with the engine would mean nothing. Each workload runs once, with exactly-once, on a real broker.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use tempfile::TempDir;
use tiderace_benches::peers::{
    BuildError, Guarantee, KafkaStreams, Measured, Membership, Run, Store, Workload,
};
use tiderace_testing::kafka::{Kafka, Record};
use tiderace_testing::oracle::java_partition;

const PARTITIONS: usize = 4;
const RIDES: u64 = 4_000;
/// The window of P2, in seconds.
const WINDOW: u64 = 10;

/// Broker and peer; `None` where a tool is missing, which is an error in CI.
fn tools() -> Option<(&'static Kafka, KafkaStreams)> {
    let kafka = Kafka::shared()?;
    match KafkaStreams::build() {
        Ok(peer) => Some((kafka, peer)),
        Err(missing @ BuildError::Missing(_)) if std::env::var("CI").as_deref() != Ok("true") => {
            // Straight to the stream: the harness holds back what `eprintln!` says in a test that passes.
            let _ = writeln!(std::io::stderr(), "skipped: {missing}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A cheap sequence that only has to be unlike any clock.
fn random(state: &mut u64, below: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// What the loops need of a ride, and its bytes.
struct Ride {
    zone: u32,
    /// Seconds since 2020-07-01.
    pickup: u64,
    tenths_of_miles: u64,
    value: Vec<u8>,
}

impl Ride {
    fn new(zone: u32, pickup: u64, tenths_of_miles: u64) -> Self {
        let time = |second: u64| {
            let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
            format!("2020-07-01 {hour:02}:{minute:02}:{second:02}")
        };
        let value = format!(
            r#"{{"VendorID":"1","tpep_pickup_datetime":"{}","tpep_dropoff_datetime":"{}","passenger_count":1,"trip_distance":{}.{}0,"RatecodeID":"1","store_and_fwd_flag":"N","PULocationID":{zone},"DOLocationID":75,"payment_type":"2","fare_amount":8,"extra":0.5,"mta_tax":0.5,"tip_amount":0,"tolls_amount":0,"improvement_surcharge":0.3,"total_amount":9.3,"congestion_surcharge":0}}"#,
            time(pickup),
            time(pickup + 489),
            tenths_of_miles / 10,
            tenths_of_miles % 10,
        );
        Ride {
            zone,
            pickup,
            tenths_of_miles,
            value: value.into_bytes(),
        }
    }

    fn key(&self) -> Vec<u8> {
        self.zone.to_string().into_bytes()
    }
}

/// Rides by the partition of their zone, up to 25 s behind the latest; a tenth of them did not drive.
fn rides() -> Vec<Vec<Ride>> {
    let mut state = 7;
    let mut partitions: Vec<Vec<Ride>> = Vec::new();
    partitions.resize_with(PARTITIONS, Vec::new);
    for step in 0..RIDES {
        let pickup = 30 + step / 10 - random(&mut state, 26);
        let zone = 1 + random(&mut state, 265) as u32;
        let tenths = random(&mut state, 10) * random(&mut state, 50);
        let ride = Ride::new(zone, pickup, tenths);
        partitions[java_partition(&ride.key(), PARTITIONS)].push(ride);
    }
    partitions
}

/// One run of a workload over a topic of its own.
struct Case<'a> {
    kafka: &'a Kafka,
    run: Run,
    _state: TempDir,
}

impl<'a> Case<'a> {
    fn new(kafka: &'a Kafka, workload: Workload, input: &[Vec<(Vec<u8>, Vec<u8>)>]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let name = kafka.fresh_name("streams-peer");
        let (from, to) = (format!("{name}-in"), format!("{name}-out"));
        kafka.create_topic(&from, PARTITIONS as i32);
        kafka.create_topic(&to, PARTITIONS as i32);
        for (partition, records) in input.iter().enumerate() {
            kafka.write(&from, partition as i32, records.iter().cloned());
        }
        let run = Run {
            workload,
            brokers: kafka.bootstrap().to_owned(),
            input: from,
            output: to,
            application_id: name,
            state_directory: state.path().join("state"),
            threads: 1,
            guarantee: Guarantee::ExactlyOnce,
            store: Store::RocksDb,
            cache_bytes: 10 << 20,
            commit_interval: Duration::from_millis(100),
            linger: Duration::from_millis(100),
            membership: Membership::Dynamic,
            records: input.iter().map(|records| records.len() as u64).sum(),
            core: None,
        };
        Case {
            kafka,
            run,
            _state: state,
        }
    }

    /// Runs it and hands over what is committed.
    fn output(&self, peer: &KafkaStreams) -> Vec<Vec<Record>> {
        let cost = peer
            .run(&self.run)
            .unwrap_or_else(|error| panic!("{error}"));
        println!("{:?}: {cost:?}", self.run.workload);
        assert_plausible(&cost, self.run.records);
        self.kafka.read_committed(&self.run.output)
    }
}

fn assert_plausible(cost: &Measured, records: u64) {
    assert_eq!(cost.records, records);
    assert!(cost.second_half.wall < cost.whole.wall, "{cost:?}");
    assert!(cost.second_half.cpu < cost.whole.cpu, "{cost:?}");
    assert!(
        cost.start + cost.second_half.wall <= cost.whole.wall,
        "{cost:?}"
    );
    // A JVM with Kafka's client takes more, whatever it does.
    assert!(cost.peak_memory > 50 << 20, "{cost:?}");
}

fn pair(record: &Record) -> (Vec<u8>, Vec<u8>) {
    let bytes = |bytes: &Option<Vec<u8>>| bytes.clone().expect("neither key nor value is null");
    (bytes(&record.key), bytes(&record.value))
}

/// Every count that was written for a key, in order.
fn counts_by_key(output: &[Vec<Record>]) -> BTreeMap<Vec<u8>, Vec<u64>> {
    let mut counts: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    for record in output.iter().flatten() {
        let (key, value) = pair(record);
        let count = u64::from_be_bytes(value.try_into().expect("a count of 8 bytes"));
        counts.entry(key).or_default().push(count);
    }
    counts
}

fn keyed(rides: &[Vec<Ride>]) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    let keyed = |ride: &Ride| (ride.key(), ride.value.clone());
    let partition = |rides: &Vec<Ride>| rides.iter().map(keyed).collect();
    rides.iter().map(partition).collect()
}

#[test]
fn the_filter_forwards_the_bytes_of_rides_that_drove() {
    let Some((kafka, peer)) = tools() else { return };
    let rides = rides();
    let mut case = Case::new(kafka, Workload::Filter, &keyed(&rides));
    case.run.core = Some(0);
    let output = case.output(&peer);
    for (records, rides) in output.iter().zip(&rides) {
        let drove = rides.iter().filter(|ride| ride.tenths_of_miles > 0);
        let expected: Vec<_> = drove.map(|ride| (ride.key(), ride.value.clone())).collect();
        assert!(!expected.is_empty() && expected.len() < rides.len());
        assert_eq!(records.iter().map(pair).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn windows_are_counted_once_when_a_closing_record_has_passed_them() {
    const MIDNIGHT: u64 = 1_593_561_600_000;
    let Some((kafka, peer)) = tools() else { return };
    let mut rides = rides();
    let latest = rides.iter().flatten().map(|ride| ride.pickup).max();
    let closing = latest.unwrap() + WINDOW;
    for rides in &mut rides {
        let zone = rides[0].zone;
        rides.push(Ride::new(zone, closing, 0));
    }

    let (mut expected, mut late) = (BTreeMap::new(), 0);
    for rides in &rides {
        let mut stream_time = 0;
        for ride in rides {
            stream_time = ride.pickup.max(stream_time);
            let start = ride.pickup / WINDOW * WINDOW;
            if start + WINDOW <= stream_time {
                late += 1;
            } else if ride.pickup < closing {
                *expected.entry((start, ride.zone)).or_insert(0_u64) += 1;
            }
        }
    }
    assert!(late > 100, "{late} rides are late");
    let bytes = |((start, zone), count): ((u64, u32), u64)| {
        let mut key = zone.to_be_bytes().to_vec();
        key.extend((MIDNIGHT + start * 1_000).to_be_bytes());
        (key, count.to_be_bytes().to_vec())
    };
    let mut expected: Vec<_> = expected.into_iter().map(bytes).collect();
    expected.sort();

    let case = Case::new(kafka, Workload::Windows, &keyed(&rides));
    let output = case.output(&peer);
    let mut written: Vec<_> = output.iter().flatten().map(pair).collect();
    written.sort();
    assert_eq!(written, expected);
}

#[test]
fn counts_by_key_reach_every_step_without_a_cache() {
    let Some((kafka, peer)) = tools() else { return };
    let rides = rides();
    let mut case = Case::new(kafka, Workload::Counts, &keyed(&rides));
    (case.run.store, case.run.cache_bytes) = (Store::InMemory, 0);
    let mut expected: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    for ride in rides.iter().flatten() {
        let counts = expected.entry(ride.key()).or_default();
        counts.push(counts.len() as u64 + 1);
    }
    assert_eq!(counts_by_key(&case.output(&peer)), expected);
}

#[test]
fn words_of_lines_are_counted_across_partitions() {
    let Some((kafka, peer)) = tools() else { return };
    let mut state = 11;
    let mut expected: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let mut input = vec![Vec::new(); PARTITIONS];
    for at in 0..RIDES as usize {
        let words: Vec<String> = (0..1 + at % 3)
            .map(|_| format!("wörd{:03}", random(&mut state, 500)))
            .collect();
        input[at % PARTITIONS].push((Vec::new(), words.join(" ").into_bytes()));
        for word in words {
            *expected.entry(word.into_bytes()).or_default() += 1;
        }
    }
    let mut case = Case::new(kafka, Workload::Words, &input);
    case.run.threads = 2;
    case.run.records = expected.values().sum();
    let counts = counts_by_key(&case.output(&peer));
    let latest = |(key, counts): (Vec<u8>, Vec<u64>)| (key, *counts.last().unwrap());
    assert_eq!(
        counts.into_iter().map(latest).collect::<BTreeMap<_, _>>(),
        expected
    );
}

#[test]
fn a_topic_that_is_missing_is_named() {
    let Some((kafka, peer)) = tools() else { return };
    let mut case = Case::new(kafka, Workload::Filter, &keyed(&rides()));
    case.run.output = kafka.fresh_name("nowhere");
    let error = peer.run(&case.run).unwrap_err().to_string();
    let expected = format!("topic `{}` does not exist", case.run.output);
    assert!(error.contains(&expected), "{error}");
}
