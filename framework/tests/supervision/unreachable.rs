//! A log that cannot be reached for a while: waited for, however often that takes, with nothing lost or doubled.

use tiderace::connect::TransactionError;
use tiderace::{Config, RunError};

use crate::faulty::{Faults, Point, over, unreachable};
use crate::job::{Mishaps, assert_calm, config, place, run};

#[test]
fn a_commit_in_doubt_waits_for_the_log_and_goes_on_in_the_same_life() {
    let place = place();
    let doubt = |call| (call == 8).then(|| TransactionError::Doubt("a test says so".into()));
    let faults = Faults {
        confirming: Point::new(doubt),
        renewing: Point::new(|call| (call < 4).then(|| unreachable().into())),
        ..Faults::default()
    };
    let (log, faults) = over(&place.log, faults);
    let report = run(&Mishaps::none(), log, &config(&place)).unwrap();
    assert_eq!((report.restarts, faults.renewing.calls()), (0, 4));
    assert_calm(&place, &report);
}

#[test]
fn a_commit_that_stays_in_doubt_restarts_and_the_log_decides() {
    let place = place();
    let doubt = |call| {
        (8..14)
            .contains(&call)
            .then(|| TransactionError::Doubt("again".into()))
    };
    let faults = Faults {
        confirming: Point::new(doubt),
        renewing: Point::new(|call| (call < 6).then(|| TransactionError::Doubt("again".into()))),
        ..Faults::default()
    };
    let (log, _) = over(&place.log, faults);
    let config = Config {
        max_restarts: 2,
        ..config(&place)
    };
    let report = run(&Mishaps::none(), log, &config).unwrap();
    assert!((1..=2).contains(&report.restarts), "{report:?}");
    assert_calm(&place, &report);
}

#[test]
fn waiting_for_a_log_does_not_count_as_restarting() {
    let place = place();
    // Two lives fail while they read, and between them four cannot even begin.
    let faults = Faults {
        polling: Point::new(|call| [4, 5].contains(&call).then(unreachable)),
        opening: Point::new(|call| (2..6).contains(&call).then(unreachable)),
        ..Faults::default()
    };
    let (log, faults) = over(&place.log, faults);
    let config = Config {
        max_restarts: 0,
        ..config(&place)
    };
    let report = run(&Mishaps::none(), log, &config).unwrap();
    assert_eq!((report.restarts, faults.opening.calls()), (6, 7));
    assert_calm(&place, &report);
}

#[test]
fn a_log_that_cannot_be_reached_at_the_start_is_said_at_once() {
    let place = place();
    let faults = Faults {
        opening: Point::new(|_| Some(unreachable())),
        ..Faults::default()
    };
    let (log, faults) = over(&place.log, faults);
    let error = run(&Mishaps::none(), log, &config(&place)).unwrap_err();
    assert!(matches!(error, RunError::Log(_)), "{error}");
    assert_eq!((error.exit_code(), faults.opening.calls()), (69, 1));
}
