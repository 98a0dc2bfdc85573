//! A record lost inside the engine: nobody may notice it later than the engine itself.

use tiderace::{Config, OnError, RunError};

use crate::place::{Place, ride, zones};
use crate::support::child;

const HERE: &str = "TIDERACE_TEST_LOSES_A_RECORD";

#[test]
fn a_record_that_gets_lost_ends_the_run_in_its_epoch_and_is_not_committed() {
    const TEST: &str =
        "conservation::a_record_that_gets_lost_ends_the_run_in_its_epoch_and_is_not_committed";
    // The fault strikes a whole process: one of its own.
    if std::env::var_os(HERE).is_none() {
        let place = tempfile::tempdir().unwrap();
        let output = child(TEST, HERE, place.path()).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        return;
    }
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    let rides: Vec<String> = (0..10).map(|zone| format!("{{\"zone\":{zone}}}")).collect();
    let sent: Vec<_> = rides.iter().map(|value| ride(0, value)).collect();
    place.send(&sent[..5]);
    place.run(zones(OnError::Fail)).unwrap();
    place.send(&sent[5..]);
    // The run goes on from the snapshot of the first, so it reads the new ones only: the third of them is lost.
    tiderace::failpoint::LOSE_RECORD.arm("2*off->1*return");
    // A restart would read it again, and all would be well.
    let config = Config {
        max_restarts: 0,
        ..place.config()
    };
    let error = place.run_with(zones(OnError::Fail), &config).unwrap_err();
    assert!(matches!(error, RunError::Bug(_)), "{error}");
    assert_eq!(error.exit_code(), 70);
    let text = error.to_string();
    let epoch = text
        .strip_prefix("internal error: epoch ")
        .and_then(|rest| rest.split(' ').next())
        .and_then(|epoch| epoch.parse::<u64>().ok());
    assert!(epoch.is_some_and(|epoch| epoch > 1), "{text}");
    assert!(text.contains("lost records"), "{text}");
    assert!(text.contains("read: 5, processed: 4"), "{text}");
    assert_eq!(place.texts("zones"), ["0", "1", "2", "3", "4"]);
    // The fault is over: nothing was lost after all.
    let report = place.run(zones(OnError::Fail)).unwrap();
    assert_eq!(report.counts.processed, 5);
    let all: Vec<String> = (0..10).map(|zone: u32| zone.to_string()).collect();
    assert_eq!(place.texts("zones"), all);
}
