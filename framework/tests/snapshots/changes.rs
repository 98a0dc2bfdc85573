//! Another program on the same state.

use std::time::Duration;

use tiderace::{Config, RunError};

use crate::job::{Program, Trap, place, run, send};
use crate::place::Place;

/// A place where the program has run to the end of its input.
fn begun() -> Place {
    let place = place();
    send(&place, 0..400);
    run(&place, Program::default(), &place.config()).0.unwrap();
    place
}

fn refusal(place: &Place, program: Program, config: &Config) -> String {
    let error = run(place, program, config).0.unwrap_err();
    assert_eq!(error.exit_code(), 64, "{error}");
    error.to_string()
}

#[test]
fn behind_a_clean_end_stateless_steps_may_change() {
    let place = begun();
    send(&place, 400..800);
    let program = Program {
        least: 70.0,
        ..Program::default()
    };
    let (report, recovery) = run(&place, program.clone(), &place.config());
    let report = report.unwrap();
    assert!(recovery.unwrap().snapshot.is_some());
    assert!(report.counts.filtered > 0, "{report:?}");
    // It is the program of the application from now on.
    run(&place, program, &place.config()).0.unwrap();
}

#[test]
fn a_step_with_another_state_is_refused_and_named() {
    let place = begun();
    let program = Program {
        window: Duration::from_secs(20),
        ..Program::default()
    };
    let text = refusal(&place, program, &place.config());
    assert!(text.contains("step `miles`"), "{text}");
    assert!(
        text.contains("10000 ms") && text.contains("20000 ms"),
        "{text}"
    );
    assert!(text.contains("--drop-state"), "{text}");
    run(&place, Program::default(), &place.config()).0.unwrap();
}

#[test]
fn a_state_without_a_step_is_given_up_by_name_only() {
    let place = begun();
    let gone = Program {
        totals: None,
        ..Program::default()
    };
    let text = refusal(&place, gone.clone(), &place.config());
    assert!(text.contains("`totals`"), "{text}");
    let dropping = Config {
        dropped_states: vec!["totals".to_owned()],
        ..place.config()
    };
    send(&place, 400..401);
    run(&place, gone, &dropping).0.unwrap();
    // A step that comes back under the name begins with nothing.
    let before = place.texts("totals");
    send(&place, 401..402);
    run(&place, Program::default(), &place.config()).0.unwrap();
    let mut new = place.texts("totals");
    for total in before {
        let at = new.iter().position(|of| *of == total).unwrap();
        new.remove(at);
    }
    assert_eq!(new, ["1"]);
}

#[test]
fn behind_a_crash_only_the_same_program_may_go_on() {
    let place = place();
    send(&place, 0..400);
    let config = Config {
        epoch_records: 50,
        max_restarts: 0,
        rate: std::num::NonZeroU64::new(2_000),
        ..place.config()
    };
    let crashing = Program {
        trap: Trap::after(300),
        ..Program::default()
    };
    let outcome = run(&place, crashing, &config).0;
    assert!(
        matches!(outcome, Err(RunError::Panicked { .. })),
        "{outcome:?}"
    );
    let program = Program {
        totals: None,
        ..Program::default()
    };
    let text = refusal(&place, program, &config);
    assert!(
        text.contains("must be replayed by the program that wrote them"),
        "{text}"
    );
    run(&place, Program::default(), &config).0.unwrap();
}
