//! Going on behind a clean stop, a crash, and damage.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tiderace::{Config, Engine, RunError};

use crate::job::{Program, TRIPS_IN_ALL, Trap, follow, place, results, run, send};
use crate::place::Place;

/// A snapshot behind nearly every epoch, and epochs of a few records.
fn often(place: &Place, workers: usize) -> Config {
    Config {
        workers,
        snapshot_interval: Duration::from_millis(1),
        epoch_records: 50,
        max_restarts: 0,
        ..place.config()
    }
}

fn undisturbed() -> Place {
    let calm = place();
    send(&calm, 0..TRIPS_IN_ALL);
    run(&calm, Program::default(), &calm.config()).0.unwrap();
    calm
}

/// Files of the snapshots with this extension, the oldest first.
fn files(place: &Place, extension: &str) -> Vec<PathBuf> {
    let directory = place.path().join("state/app/snapshots");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|of| of == extension))
        .collect();
    files.sort();
    files
}

/// The only snapshot of a life is that of its end, and its epoch was committed before anybody asked where its entry lies:
/// the manifest names a place before it, in a first life the beginning of the log.
#[test]
fn a_snapshot_of_the_end_alone_is_gone_on_from_and_is_sound() {
    let place = place();
    let seldom = Config {
        snapshot_interval: Duration::from_secs(3600),
        ..often(&place, 2)
    };
    let mut before = None;
    for life in 0..3 {
        send(
            &place,
            TRIPS_IN_ALL / 4 * life..TRIPS_IN_ALL / 4 * (life + 1),
        );
        let (report, recovery) = follow(&place, &seldom, TRIPS_IN_ALL / 4);
        assert_eq!(recovery.snapshot, before, "life {life}");
        assert_eq!((recovery.epochs, recovery.records), (0, 0), "life {life}");
        before = Some(report.last_epoch);
        let verdict =
            tiderace::runtime::check_with_inputs(&*place.log, place.path(), "app").unwrap();
        assert_eq!(verdict.newest_snapshot, before, "life {life}");
        assert!(verdict.is_sound() && verdict.gaps.is_empty(), "{verdict:?}");
    }
    send(&place, TRIPS_IN_ALL / 4 * 3..TRIPS_IN_ALL);
    let (report, recovery) = run(&place, Program::default(), &seldom);
    assert_eq!(recovery.unwrap().snapshot, before);
    report.unwrap();
    assert_eq!(results(&place), results(&undisturbed()));
}

#[test]
fn behind_a_clean_stop_nothing_is_replayed_whatever_the_number_of_workers() {
    let expected = results(&undisturbed());
    assert!(expected.0.iter().flatten().count() > 100 && expected.1.len() == 7);
    let place = place();
    let mut before = 0;
    for (life, workers) in [1, 4, 2].into_iter().enumerate() {
        let until = TRIPS_IN_ALL / 4 * (life as u64 + 1);
        send(&place, TRIPS_IN_ALL / 4 * life as u64..until);
        let (report, recovery) = follow(&place, &often(&place, workers), TRIPS_IN_ALL / 4);
        assert_eq!(
            recovery.snapshot,
            (before > 0).then_some(before),
            "life {life}"
        );
        assert_eq!((recovery.epochs, recovery.records), (0, 0), "life {life}");
        before = report.last_epoch;
    }
    send(&place, TRIPS_IN_ALL / 4 * 3..TRIPS_IN_ALL);
    let (report, recovery) = run(&place, Program::default(), &often(&place, 3));
    let recovery = recovery.unwrap();
    assert_eq!((recovery.snapshot, recovery.epochs), (Some(before), 0));
    assert_eq!(results(&place), expected);
    // And once more, with nothing new.
    let last = report.unwrap().last_epoch;
    let (report, recovery) = run(&place, Program::default(), &often(&place, 1));
    assert_eq!(recovery.unwrap().snapshot, Some(last));
    assert_eq!(report.unwrap().last_epoch, last);
    assert_eq!(results(&place), expected);
}

/// Runs into a trap in the middle of a paced run that takes many snapshots.
fn crashed() -> Place {
    let place = place();
    send(&place, 0..TRIPS_IN_ALL);
    let program = Program {
        trap: Trap::after(TRIPS_IN_ALL as i64 * 3 / 4),
        ..Program::default()
    };
    let paced = Config {
        rate: std::num::NonZeroU64::new(4_000),
        ..often(&place, 2)
    };
    let (outcome, _) = run(&place, program, &paced);
    assert!(
        matches!(outcome, Err(RunError::Panicked { .. })),
        "{outcome:?}"
    );
    place
}

#[test]
fn behind_a_crash_only_what_the_snapshot_lacks_is_replayed() {
    let expected = results(&undisturbed());
    let place = crashed();
    let (report, recovery) = run(&place, Program::default(), &often(&place, 1));
    let (report, recovery) = (report.unwrap(), recovery.unwrap());
    let snapshot = recovery.snapshot.expect("snapshots were taken on the way");
    assert!(snapshot > 5, "{recovery:?}");
    assert!(
        snapshot + recovery.epochs < report.first_epoch + 1,
        "{recovery:?}"
    );
    assert_eq!(snapshot + recovery.epochs + 1, report.first_epoch);
    assert_eq!(results(&place), expected);
}

/// A life that goes on behind a replay keeps its state at once, not when the interval is over: it may not live so long.
#[test]
fn behind_a_replay_state_is_kept_at_once() {
    let place = place();
    send(&place, 0..TRIPS_IN_ALL);
    let config = Config {
        snapshot_interval: Duration::from_secs(3600),
        follow: true,
        ..often(&place, 1)
    };
    let doomed = Program {
        trap: Trap::after(1_000),
        ..Program::default()
    };
    run(&place, doomed, &config).0.unwrap_err();
    assert!(files(&place, "manifest").is_empty());

    let running = Engine::start(Program::default().build(), place.log.clone(), &config).unwrap();
    while files(&place, "manifest").is_empty() {
        assert!(!running.wait(Duration::from_millis(1)), "the run ended");
    }
    assert!(running.progress().recovery().unwrap().epochs > 5);
    running.stop_handle().stop();
    running.join().unwrap();
}

/// The data file that a manifest names last.
fn last_file(manifest: &Path) -> String {
    let manifest = std::fs::read(manifest).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let files = manifest["files"].as_array().unwrap();
    files.last().unwrap()["name"].as_str().unwrap().to_owned()
}

#[test]
fn a_damaged_snapshot_is_passed_over_for_the_one_before() {
    let expected = results(&undisturbed());
    for extension in ["manifest", "data"] {
        let place = crashed();
        let manifests = files(&place, "manifest");
        let newest = manifests.last().unwrap().file_name().unwrap().to_owned();
        let newest: u64 = newest.to_str().unwrap()[..20].parse().unwrap();
        let manifest = manifests.last().unwrap();
        let damaged = match extension {
            "manifest" => manifest.clone(),
            _ => manifest.with_file_name(last_file(manifest)),
        };
        let mut bytes = std::fs::read(&damaged).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(&damaged, bytes).unwrap();
        let (report, recovery) = run(&place, Program::default(), &often(&place, 2));
        report.unwrap();
        let recovery = recovery.unwrap();
        assert!(
            recovery.snapshot.is_none_or(|epoch| epoch < newest),
            "{extension}: {recovery:?}"
        );
        assert!(recovery.epochs > 0, "{extension}: {recovery:?}");
        assert_eq!(results(&place), expected, "{extension}");
    }
}

#[test]
fn without_its_snapshots_an_application_replays_its_whole_log() {
    let expected = results(&undisturbed());
    let place = crashed();
    std::fs::remove_dir_all(place.path().join("state/app/snapshots")).unwrap();
    let (report, recovery) = run(&place, Program::default(), &often(&place, 2));
    let (report, recovery) = (report.unwrap(), recovery.unwrap());
    assert_eq!(recovery.snapshot, None);
    assert_eq!(recovery.epochs + 1, report.first_epoch);
    assert_eq!(results(&place), expected);
}
