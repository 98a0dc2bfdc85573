//! A fenced run that finds no newer start entry: it looks for one as long as it may, and then takes the fence for a
//! time-out.

use super::*;

/// Several readings of the log, 100 ms apart, and no longer than a test may take.
const PATIENCE: Duration = Duration::from_millis(350);

const PATIENT: Waits = Waits {
    newer_instance: PATIENCE,
    ..WAITS
};

const TIMED_OUT: Fault = Fault {
    step: Step::Commit,
    hit: 2,
    kind: Kind::TimedOut,
};

#[test]
fn a_fence_without_a_newer_start_entry_is_waited_out_and_then_resolved_as_a_doubt() {
    for turns in [1, 2] {
        let fake = with(turns, &[TIMED_OUT], false);
        let began = crate::clock::instant();
        let outcome = run(&fake, PATIENT);
        let took = began.elapsed();
        all_is_well(&fake, outcome, "a time-out");
        assert!(took >= PATIENCE, "it waited for {took:?} only");
        let calls = fake.broker().calls.clone();
        // The last reading is that of the doubt, behind the new producers.
        assert!(calls[&Step::ReadEpochs] >= 3, "{calls:?}");
        assert_eq!(calls[&Step::Renew], 1);
    }
}

/// New producers would fence whoever wrote it.
#[test]
fn a_start_entry_that_comes_late_in_the_waiting_is_found_before_producers_are_made() {
    let fake = with(2, &[TIMED_OUT], false);
    fake.broker().newer_at_read = Some(3);
    let error = run(&fake, PATIENT).err().unwrap();
    assert!(
        matches!(&error, RunError::Fenced(text) if text.contains(NEWER)),
        "{error}"
    );
    let broker = fake.broker();
    assert!(!broker.renewed_over_newer);
    assert!(!broker.calls.contains_key(&Step::Renew));
}

/// As the design says: the newer one writes its entry right behind the fence, but its log may be slow.
#[test]
fn the_wait_is_five_seconds_unless_a_test_says_otherwise() {
    assert_eq!(Waits::default().newer_instance, Duration::from_secs(5));
}
