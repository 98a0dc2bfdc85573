//! Restarts: from the last commit, with pauses, so often and no more, and what the figures say over all lives.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tiderace::connect::TransactionError;
use tiderace::{Config, Engine, LogError, RunError};

use crate::faulty::{Faults, Point, over};
use crate::job::{Mishaps, PATIENCE, assert_calm, calm, config, job, place, run};

#[test]
fn a_run_that_fails_now_and_then_comes_to_the_same_as_a_calm_one() {
    for workers in [1, 2] {
        let place = place();
        let mishaps = Mishaps::at(|call| [10, 60, 95].contains(&call));
        let config = Config {
            workers,
            ..config(&place)
        };
        let running = Engine::start(job(&mishaps), place.log.clone(), &config).unwrap();
        let progress = running.progress();
        assert!(running.wait(PATIENCE), "the run does not end");
        let report = running.join().unwrap();
        assert_eq!(report.restarts, 3);
        assert!(!report.resumed && !report.stopped_early);
        assert_eq!(progress.restarts.load(Ordering::Relaxed), 3);
        assert_eq!(progress.committed(), report.counts);
        assert_eq!(progress.read.load(Ordering::Relaxed), report.counts.read);
        assert_eq!(progress.trouble(), None);
        assert_calm(&place, &report);
    }
}

#[test]
fn a_run_that_goes_on_failing_ends_with_its_failure_after_so_many_restarts() {
    for max_restarts in [0, 1, 3] {
        let place = place();
        let mishaps = Mishaps::at(|_| true);
        let config = Config {
            max_restarts,
            ..config(&place)
        };
        let error = run(&mishaps, place.log.clone(), &config).unwrap_err();
        assert!(
            matches!(&error, RunError::Panicked { node, record: None, .. } if node == "bad"),
            "{error}"
        );
        assert_eq!(error.exit_code(), 70);
        assert_eq!(mishaps.calls(), max_restarts + 1);
        assert_eq!(place.texts("counts"), Vec::<String>::new());
        // The failure mended, a new process goes on.
        let report = run(&Mishaps::none(), place.log.clone(), &config).unwrap();
        assert_eq!(
            place.texts("counts").len() as u64,
            calm().report.windows_closed
        );
        assert_eq!(report.restarts, 0);
    }
}

#[test]
fn restarts_are_forgotten_after_a_stretch_without_failure() {
    let place = place();
    let mishaps = Mishaps::at(|call| call <= 6);
    let config = Config {
        max_restarts: 1,
        restart_reset: Duration::ZERO,
        ..config(&place)
    };
    let report = run(&mishaps, place.log.clone(), &config).unwrap();
    assert_eq!(report.restarts, 6);
    assert_calm(&place, &report);
}

#[test]
fn restarts_wait_twice_as_long_each_time() {
    let place = place();
    let mishaps = Mishaps::at(|_| true);
    let config = Config {
        restart_backoff: Duration::from_millis(40),
        ..config(&place)
    };
    let started = Instant::now();
    run(&mishaps, place.log.clone(), &config).unwrap_err();
    assert!(started.elapsed() >= Duration::from_millis(40 + 80 + 160));
}

#[test]
fn a_run_that_waits_to_restart_keeps_its_lock_says_why_and_stops_at_once() {
    let place = place();
    let mishaps = Mishaps::at(|call| call == 10);
    let hours = Duration::from_secs(7200);
    let config = Config {
        restart_backoff: hours,
        restart_backoff_max: hours,
        ..config(&place)
    };
    let running = Engine::start(job(&mishaps), place.log.clone(), &config).unwrap();
    let progress = running.progress();
    let started = Instant::now();
    while progress.trouble().is_none() {
        assert!(!running.wait(Duration::from_millis(5)), "it has ended");
        assert!(started.elapsed() < PATIENCE, "it does not fail");
    }
    let trouble = progress.trouble().unwrap();
    assert!(trouble.contains("restarting") && trouble.contains("on purpose"));
    let second = run(&Mishaps::none(), place.log.clone(), &config).unwrap_err();
    assert!(
        matches!(second, RunError::Log(LogError::InUse { .. })),
        "{second}"
    );
    running.stop_handle().stop();
    assert!(running.wait(Duration::from_secs(5)), "it goes on waiting");
    let report = running.join().unwrap();
    assert!(report.stopped_early);
    assert_eq!((report.restarts, progress.trouble()), (1, None));
    let rest = run(&Mishaps::none(), place.log.clone(), &config).unwrap();
    assert!(rest.resumed);
    assert_eq!(
        report.counts.read + rest.counts.read,
        calm().report.counts.read
    );
}

#[test]
fn a_commit_that_took_effect_unconfirmed_is_found_and_counted_by_the_next_life() {
    let place = place();
    let lost = |call| {
        let file = "disk".into();
        let source = std::io::Error::other("a test says so");
        (call == 8).then_some(TransactionError::Failed(LogError::CannotWrite {
            file,
            source,
        }))
    };
    let faults = Faults {
        confirming: Point::new(lost),
        ..Faults::default()
    };
    let (log, _) = over(&place.log, faults);
    let report = run(&Mishaps::none(), log, &config(&place)).unwrap();
    assert_eq!(report.restarts, 1);
    assert_calm(&place, &report);
}

#[test]
fn what_cannot_pass_ends_at_once() {
    let place = place();
    let refused =
        |call| (call == 4).then(|| TransactionError::Failed(LogError::Refused("no".into())));
    let faults = Faults {
        confirming: Point::new(refused),
        ..Faults::default()
    };
    let (log, faults) = over(&place.log, faults);
    let error = run(&Mishaps::none(), log, &config(&place)).unwrap_err();
    assert_eq!(error.exit_code(), 64);
    assert_eq!(faults.opening.calls(), 1);
}

#[test]
fn a_restart_that_finds_a_newer_instance_ends_and_writes_nothing() {
    let place = place();
    let elsewhere = tempfile::tempdir().unwrap();
    let newer = Arc::new(Mutex::new(None));
    let (log, config_of_newer) = (
        place.log.clone(),
        Config {
            data_dir: elsewhere.path().to_owned(),
            ..config(&place)
        },
    );
    let ran = Arc::clone(&newer);
    // Between the lives of the one, another instance runs, from its start to its end.
    let between = move |call| {
        if call == 2 {
            let report = run(&Mishaps::none(), log.clone(), &config_of_newer).unwrap();
            *ran.lock().unwrap() = Some(report);
        }
        None
    };
    let faults = Faults {
        opening: Point::new(between),
        ..Faults::default()
    };
    let (log, _) = over(&place.log, faults);
    let mishaps = Mishaps::at(|call| call == 30);
    let error = run(&mishaps, log, &config(&place)).unwrap_err();
    assert!(matches!(error, RunError::Fenced(_)), "{error}");
    assert_eq!(error.exit_code(), 69);
    let newer = newer.lock().unwrap().take().unwrap();
    assert!(newer.resumed && newer.counts.read > 0);
    assert_eq!(
        place.texts("counts").len() as u64,
        calm().report.windows_closed
    );
    let again = run(&Mishaps::none(), place.log.clone(), &config(&place)).unwrap();
    assert_eq!((again.counts.read, again.last_epoch), (0, newer.last_epoch));
}
