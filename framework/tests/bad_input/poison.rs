//! Records that panic user code, under a policy that does without them: the run starts again from the last commit,
//! and they are rejected by their positions as bad data are.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use tiderace::error::Blame;
use tiderace::{Config, OnError, Report, RunError};

use crate::panics::{
    Build, CULPRIT, PARTITIONS, POISON, RECORDS, Temper, behind_a_merge, behind_a_table, filter,
    join, map_values, peek, place, reduce, topology_with,
};
use crate::place::{Place, ride};
use crate::support::Owned;

fn policies() -> [OnError; 2] {
    [OnError::Skip, OnError::DeadLetter("letters".to_owned())]
}

/// What a map from ride to zone makes of all rides but the culprit, by partition.
fn zones_without_the_culprit() -> Vec<Vec<String>> {
    let of = |partition| {
        let all = (0..RECORDS).filter(move |offset| (partition, *offset) != CULPRIT);
        all.map(|zone| zone.to_string()).collect()
    };
    (0..PARTITIONS).map(of).collect()
}

/// The values of each key, in their order.
fn by_key(records: Vec<Vec<Owned>>) -> BTreeMap<Vec<u8>, Vec<String>> {
    let mut values: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in records.into_iter().flatten() {
        let value = String::from_utf8(record.value.unwrap()).unwrap();
        values.entry(record.key.unwrap()).or_default().push(value);
    }
    values
}

fn run(place: &Place, build: Build, on_error: &OnError, workers: usize) -> (Report, Temper) {
    let temper = Temper::new();
    let config = Config {
        workers,
        epoch_records: 7,
        // A record costs a restart that does not count.
        max_restarts: 0,
        ..place.config()
    };
    let built = topology_with(build, &temper, on_error.clone());
    let report = place.run_with(built, &config).unwrap();
    (report, temper)
}

/// Checks what came of the culprit, and that a replay by a new process rejects it again.
fn assert_rejected(place: &Place, build: Build, on_error: &OnError, report: &Report) {
    let read = u64::from(PARTITIONS) * RECORDS as u64;
    assert!(report.counts.conserved());
    assert_eq!(report.counts.read, read);
    assert_eq!(report.restarts, 1);
    let letters = place.read("letters").concat();
    if *on_error == OnError::Skip {
        assert_eq!((report.counts.skipped, report.counts.dead_lettered), (1, 0));
        assert_eq!(letters, []);
    } else {
        assert_eq!((report.counts.skipped, report.counts.dead_lettered), (0, 1));
        assert_is_the_culprit(&letters);
    }
    let before = place.read("zones");
    place.forget_snapshots();
    let (replayed, temper) = run(place, build, on_error, 2);
    assert_eq!((replayed.counts.read, replayed.restarts), (0, 0));
    assert!(temper.armed.load(Ordering::Relaxed));
    assert_eq!(place.read("zones"), before);
    assert_eq!(place.read("letters").concat(), letters);
}

fn assert_is_the_culprit(letters: &[Owned]) {
    let [letter] = letters else {
        panic!("{letters:?}");
    };
    assert_eq!(letter.key.as_deref(), Some(&b"key-2"[..]));
    assert_eq!(letter.value.as_deref(), Some(&b"{\"zone\":666}"[..]));
    let headers: BTreeMap<_, _> = letter
        .headers
        .iter()
        .map(|header| {
            let text = String::from_utf8(header.value.clone().unwrap()).unwrap();
            let name = header.name.strip_prefix("__streams.errors.").unwrap();
            (name, text)
        })
        .collect();
    assert_eq!(headers["message"], "step `bad` panicked: on purpose: 666");
    assert_eq!(headers["exception"], "tiderace.Panic");
    let at = ["topic", "partition", "offset"].map(|name| headers[name].as_str());
    assert_eq!(at, ["rides", "2", "13"]);
}

fn check_stateless(build: Build) {
    for on_error in policies() {
        for workers in [1, 3] {
            let place = place();
            let (report, _) = run(&place, build, &on_error, workers);
            let zones = by_key(place.read("zones"));
            let expected = zones_without_the_culprit();
            for (partition, expected) in expected.into_iter().enumerate() {
                assert_eq!(zones[format!("key-{partition}").as_bytes()], expected);
            }
            assert_rejected(&place, build, &on_error, &report);
        }
    }
}

#[test]
fn a_record_that_panics_a_filter_is_rejected() {
    check_stateless(filter);
}

#[test]
fn a_record_that_panics_map_values_is_rejected() {
    check_stateless(map_values);
}

#[test]
fn a_record_that_panics_peek_is_rejected() {
    check_stateless(peek);
}

#[test]
fn a_record_that_panics_a_join_is_rejected() {
    check_stateless(join);
}

#[test]
fn a_record_that_panics_behind_a_merge_is_rejected() {
    check_stateless(behind_a_merge);
}

#[test]
fn a_record_that_panics_a_fold_on_another_worker_never_reaches_it() {
    for on_error in policies() {
        for workers in [1, 2, 4] {
            let place = place();
            let (report, _) = run(&place, reduce, &on_error, workers);
            let sums = by_key(place.read("zones"));
            let all = (0..RECORDS).sum::<i64>();
            for partition in 0..PARTITIONS {
                let missing = if partition == CULPRIT.0 { CULPRIT.1 } else { 0 };
                let sum = sums[format!("key-{partition}").as_bytes()].last();
                assert_eq!(sum, Some(&(all - missing).to_string()), "key-{partition}");
            }
            assert_rejected(&place, reduce, &on_error, &report);
        }
    }
}

#[test]
fn each_of_many_records_costs_a_restart_that_does_not_count() {
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    let poison = format!("{{\"zone\":{POISON}}}");
    let values = [r#"{"zone":1}"#, &poison, r#"{"zone":2}"#, &poison, &poison];
    place.send(&values.map(|value| ride(0, value)));
    let (report, _) = run(&place, map_values, &OnError::Skip, 1);
    assert_eq!((report.counts.skipped, report.restarts), (3, 3));
    assert_eq!(place.texts("zones"), ["1", "2"]);
}

#[test]
fn a_result_of_several_records_that_panics_rejects_none_of_them() {
    let place = place();
    let temper = Temper::new();
    let built = topology_with(behind_a_table, &temper, OnError::Skip);
    let error = place.run_with(built, &place.one_epoch()).unwrap_err();
    let RunError::Panicked { record, .. } = &error else {
        panic!("{error}");
    };
    // All of the partition's records are of one epoch.
    let record = record.as_ref().unwrap();
    assert_eq!(record.blame, Blame::LastOfSeveral);
    assert!(error.to_string().contains("no record can be rejected"));
    assert_eq!(place.texts("zones"), Vec::<String>::new());
}

#[test]
fn a_record_that_went_well_when_it_was_committed_is_not_rejected_by_the_replay() {
    let place = place();
    let temper = Temper::new();
    temper.armed.store(false, Ordering::Relaxed);
    let built = || topology_with(map_values, &temper, OnError::Skip);
    place.run(built()).unwrap();
    let before = place.read("zones");
    place.forget_snapshots();
    temper.armed.store(true, Ordering::Relaxed);
    let error = place.run(built()).unwrap_err();
    let RunError::Panicked { record, .. } = &error else {
        panic!("{error}");
    };
    let record = record.as_ref().unwrap();
    assert_eq!((record.offset, record.blame), (CULPRIT.1, Blame::Replayed));
    assert!(error.to_string().contains("not deterministic"), "{error}");
    assert_eq!(place.read("zones"), before);
}
