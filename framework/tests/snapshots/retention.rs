//! The epoch log stays as short as the snapshots allow.

use std::time::Duration;

use tiderace::connect::Log;
use tiderace::{Config, Engine};

use crate::job::{Program, TRIPS_IN_ALL, place, run, send};
use crate::place::Place;

fn first_entry(place: &Place) -> i64 {
    let log = place.log.topic("app-epochs").unwrap().unwrap();
    log.partitions[0].first
}

/// Runs until the epoch log does not begin at its beginning any more.
fn trimmed(config: &Config, place: &Place) {
    let following = Config {
        follow: true,
        ..config.clone()
    };
    let running = Engine::start(Program::default().build(), place.log.clone(), &following).unwrap();
    let mut sent = 0;
    while first_entry(place) == 0 {
        assert!(sent < 100 * TRIPS_IN_ALL, "the log is not shortened");
        send(place, sent..sent + 20);
        sent += 20;
        assert!(
            !running.wait(Duration::from_millis(5)),
            "the run ended by itself"
        );
    }
    running.stop_handle().stop();
    running.join().unwrap();
}

#[test]
fn entries_that_no_snapshot_needs_and_that_are_old_enough_are_deleted() {
    let place = place();
    let config = Config {
        snapshot_interval: Duration::from_millis(20),
        epoch_log_retention: Duration::ZERO,
        epoch_records: 5,
        ..place.config()
    };
    trimmed(&config, &place);
    let first = first_entry(&place);
    let (report, recovery) = run(&place, Program::default(), &config);
    report.unwrap();
    assert!(recovery.unwrap().snapshot.is_some());
    assert!(first_entry(&place) >= first);
    // Without the snapshots the beginning is missing, and nothing else can make up for it.
    std::fs::remove_dir_all(place.path().join("state/app/snapshots")).unwrap();
    let error = run(&place, Program::default(), &config).0.unwrap_err();
    assert_eq!(error.exit_code(), 64, "{error}");
    assert!(error.to_string().contains("no snapshot"), "{error}");
}

#[test]
fn young_entries_stay() {
    let place = place();
    send(&place, 0..200);
    let config = Config {
        snapshot_interval: Duration::from_millis(1),
        epoch_records: 5,
        ..place.config()
    };
    for _ in 0..3 {
        send(&place, 0..50);
        run(&place, Program::default(), &config).0.unwrap();
    }
    assert_eq!(first_entry(&place), 0);
}
