use std::collections::BTreeMap;
use std::time::Duration;

use tiderace::connect::{NewTopic, Writer};

use super::memory_log::{MemoryLog, Sent};
use super::*;
use crate::taxi::{LocalTime, Ride};

const TOPIC: &str = "rides";

fn log(partitions: u32) -> MemoryLog {
    let log = MemoryLog::default();
    create(&log, TOPIC, partitions, BTreeMap::new());
    log
}

fn create(log: &MemoryLog, name: &str, partitions: u32, config: BTreeMap<String, String>) {
    log.create_topic(&NewTopic {
        name: name.into(),
        partitions,
        config,
    })
    .unwrap();
}

fn plan(rides: &Rides, scale: u64) -> Plan {
    Plan::new(rides, scale, Order::Time, Duration::from_secs(90), 7)
}

fn load(log: &MemoryLog, rides: &Rides, plan: &Plan) -> Result<Loaded, LoadError> {
    load_rides(log, TOPIC, rides, plan, &mut |_, _| {
        ControlFlow::Continue(())
    })
}

fn pickup(record: &Sent) -> i64 {
    let ride: Ride = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
    assert_eq!(
        record.key.as_deref().unwrap(),
        ride.pu_location_id.to_string().as_bytes()
    );
    ride.tpep_pickup_datetime.millis()
}

#[test]
fn every_ride_is_dated_keyed_and_placed_by_its_pickup() {
    let (log, rides) = (log(4), Rides::built_in());
    let loaded = load(&log, &rides, &plan(&rides, 2)).unwrap();
    assert_eq!(
        loaded,
        Loaded {
            held: 0,
            sent: 2 * 266
        }
    );
    for (number, records) in log.contents(TOPIC).partitions.iter().enumerate() {
        assert!(!records.is_empty());
        for record in records {
            assert_eq!(record.timestamp, pickup(record));
            assert_eq!(
                partition_for(record.key.as_deref().unwrap(), 4),
                number as u32
            );
        }
    }
}

#[test]
fn by_time_each_partition_ascends_and_by_file_it_does_not() {
    let rides = Rides::built_in();
    let ascends = |order| {
        let log = log(1);
        load(
            &log,
            &rides,
            &Plan::new(&rides, 3, order, Duration::ZERO, 0),
        )
        .unwrap();
        let records = &log.contents(TOPIC).partitions[0];
        assert_eq!(records.len(), 3 * 266);
        records.is_sorted_by_key(|record| record.timestamp)
    };
    assert!(ascends(Order::Time));
    assert!(!ascends(Order::File));
}

#[test]
fn the_second_copy_is_the_first_a_step_later() {
    let rides = Rides::built_in();
    let log = log(1);
    load(
        &log,
        &rides,
        &Plan::new(&rides, 2, Order::File, Duration::ZERO, 0),
    )
    .unwrap();
    let records = &log.contents(TOPIC).partitions[0];
    for (first, second) in records[..266].iter().zip(&records[266..]) {
        assert_eq!(second.timestamp, first.timestamp + COPY_STEP);
        let value = |record: &Sent| {
            serde_json::from_slice::<serde_json::Value>(record.value.as_ref().unwrap()).unwrap()
        };
        let mut expected = value(first);
        for name in ["tpep_pickup_datetime", "tpep_dropoff_datetime"] {
            let time = LocalTime::parse(expected[name].as_str().unwrap())
                .unwrap()
                .millis()
                + COPY_STEP;
            expected[name] = LocalTime::from_millis(time).to_string().into();
        }
        assert_eq!(value(second), expected);
    }
}

#[test]
fn a_load_taken_up_again_equals_an_undisturbed_one() {
    let rides = Rides::built_in();
    let plan = plan(&rides, 5);
    let undisturbed = log(4);
    load(&undisturbed, &rides, &plan).unwrap();
    for killed_after in [1, 2, 100, 265, 266, 267, 700, 1329] {
        let log = log(4);
        // The record of the load is sent first.
        log.refuse_after(killed_after);
        assert!(load(&log, &rides, &plan).is_err());
        log.take_all();
        let loaded = load(&log, &rides, &plan).unwrap();
        assert_eq!(
            loaded,
            Loaded {
                held: killed_after - 1,
                sent: 5 * 266 - (killed_after - 1)
            }
        );
        assert_eq!(
            log.contents(TOPIC),
            undisturbed.contents(TOPIC),
            "killed after {killed_after}"
        );
    }
}

#[test]
fn loading_again_sends_nothing() {
    let (log, rides) = (log(4), Rides::built_in());
    load(&log, &rides, &plan(&rides, 1)).unwrap();
    log.refuse_after(0);
    assert_eq!(
        load(&log, &rides, &plan(&rides, 1)).unwrap(),
        Loaded { held: 266, sent: 0 }
    );
}

#[test]
fn records_behind_the_load_do_not_disturb_it() {
    let (mut log, rides) = (log(4), Rides::built_in());
    load(&log, &rides, &plan(&rides, 1)).unwrap();
    let followed = SinkRecord {
        topic: TOPIC,
        partition: 2,
        timestamp: 5,
        key: None,
        value: None,
        headers: &[],
    };
    log.send(&followed).unwrap();
    assert_eq!(
        load(&log, &rides, &plan(&rides, 1)).unwrap(),
        Loaded { held: 266, sent: 0 }
    );
}

#[test]
fn another_load_is_refused_and_both_are_named() {
    let (log, rides) = (log(4), Rides::built_in());
    load(&log, &rides, &plan(&rides, 1)).unwrap();
    let other = Plan::new(&rides, 2, Order::File, Duration::ZERO, 0);
    let error = load(&log, &rides, &other).unwrap_err();
    assert_eq!(error.exit_code(), 64);
    let message = error.to_string();
    for part in [
        "scale 1, order time, disorder 90000ms, seed 7",
        "scale 2, order file",
        "--data-dir",
        "--application-id",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn rides_of_another_file_are_another_load_even_under_the_same_name() {
    let (log, rides) = (log(4), Rides::built_in());
    load(&log, &rides, &plan(&rides, 1)).unwrap();
    let text = include_str!("../../../data/rides.csv")
        .lines()
        .take(20)
        .collect::<Vec<_>>()
        .join("\n");
    let fewer = Rides::parse(text.as_bytes(), "the built-in rides").unwrap();
    assert!(matches!(
        load(&log, &fewer, &plan(&fewer, 1)),
        Err(LoadError::Another { .. })
    ));
}

#[test]
fn a_seed_without_a_shuffle_makes_no_other_load() {
    let (log, rides) = (log(4), Rides::built_in());
    load(
        &log,
        &rides,
        &Plan::new(&rides, 1, Order::Time, Duration::ZERO, 1),
    )
    .unwrap();
    let again = load(
        &log,
        &rides,
        &Plan::new(&rides, 1, Order::Time, Duration::ZERO, 2),
    )
    .unwrap();
    assert_eq!(again.sent, 0);
}

#[test]
fn a_load_recorded_with_the_topic_needs_no_topic_of_loads() {
    let (log, rides) = (MemoryLog::default(), Rides::built_in());
    let plan = plan(&rides, 1);
    create(&log, TOPIC, 4, BTreeMap::from([plan.config_entry()]));
    load(&log, &rides, &plan).unwrap();
    assert_eq!(log.topics().unwrap(), [TOPIC]);
    let other = Plan::new(&rides, 2, Order::Time, Duration::ZERO, 0);
    assert!(matches!(
        load(&log, &rides, &other),
        Err(LoadError::Another { .. })
    ));
}

#[test]
fn a_topic_deleted_and_created_again_takes_another_load() {
    let (log, rides) = (log(4), Rides::built_in());
    load(&log, &rides, &plan(&rides, 1)).unwrap();
    create(&log, TOPIC, 4, BTreeMap::new());
    let other = Plan::new(&rides, 2, Order::File, Duration::ZERO, 0);
    assert_eq!(load(&log, &rides, &other).unwrap().sent, 2 * 266);
    assert!(matches!(
        load(&log, &rides, &plan(&rides, 1)),
        Err(LoadError::Another { .. })
    ));
}

#[test]
fn records_that_no_load_sent_are_not_mixed_with_one() {
    let (mut log, rides) = (log(4), Rides::built_in());
    let foreign = SinkRecord {
        topic: TOPIC,
        partition: 0,
        timestamp: 5,
        key: None,
        value: None,
        headers: &[],
    };
    log.send(&foreign).unwrap();
    assert!(matches!(
        load(&log, &rides, &plan(&rides, 1)),
        Err(LoadError::Foreign { records: 1, .. })
    ));
}

#[test]
fn records_between_those_of_a_load_are_found() {
    let (mut log, rides) = (log(4), Rides::built_in());
    log.refuse_after(50);
    assert!(load(&log, &rides, &plan(&rides, 1)).is_err());
    log.take_all();
    let foreign = SinkRecord {
        topic: TOPIC,
        partition: 3,
        timestamp: 5,
        key: None,
        value: None,
        headers: &[],
    };
    log.send(&foreign).unwrap();
    let error = load(&log, &rides, &plan(&rides, 1)).unwrap_err();
    assert!(matches!(error, LoadError::Mixed { .. }), "{error}");
}

#[test]
fn an_interrupted_load_says_how_far_it_came() {
    let (log, rides) = (log(4), Rides::built_in());
    let plan = plan(&rides, 400);
    let error = load_rides(&log, TOPIC, &rides, &plan, &mut |_, _| {
        ControlFlow::Break(())
    })
    .unwrap_err();
    assert_eq!(error.exit_code(), 130);
    assert!(error.to_string().contains("50000 of 106400"), "{error}");
}

#[test]
fn a_missing_topic_and_impossible_plans_are_refused() {
    let rides = Rides::built_in();
    assert!(matches!(
        load(&MemoryLog::default(), &rides, &plan(&rides, 1)),
        Err(LoadError::Log(_))
    ));
    let plans = [
        Plan::new(&rides, 0, Order::Time, Duration::ZERO, 0),
        Plan::new(&rides, u64::MAX, Order::Time, Duration::ZERO, 0),
        Plan::new(&rides, 1, Order::File, Duration::from_secs(1), 0),
    ];
    for plan in plans {
        assert_eq!(load(&log(1), &rides, &plan).unwrap_err().exit_code(), 64);
    }
}

#[test]
fn zones_are_loaded_once() {
    let log = MemoryLog::default();
    create(&log, "zones", 1, BTreeMap::new());
    log.refuse_after(100);
    assert!(load_zones(&log, "zones").is_err());
    log.take_all();
    assert_eq!(
        load_zones(&log, "zones").unwrap(),
        Loaded {
            held: 100,
            sent: 165
        }
    );
    assert_eq!(
        load_zones(&log, "zones").unwrap(),
        Loaded { held: 265, sent: 0 }
    );
    let zones = &log.contents("zones").partitions[0];
    assert_eq!(zones[264].key.as_deref(), Some(&[0, 0, 1, 9][..]));
    assert!(zones.iter().all(|zone| zone.timestamp == ZONES_DATED));
}
