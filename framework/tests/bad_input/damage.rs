//! A flipped bit in any file that a run reads, or one that is cut: an error that names the file, never a panic, never a
//! shorter output.

#![expect(clippy::disallowed_methods, reason = "a test says how long it took")]

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tiderace::{Config, LogError, OnError, RunError};

use crate::place::{Place, ride, zones};

/// A place where a run has committed, with more input that none has read.
fn place() -> Place {
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    let rides: Vec<String> = (0..20).map(|zone| format!("{{\"zone\":{zone}}}")).collect();
    let sent: Vec<_> = rides.iter().map(|value| ride(0, value)).collect();
    place.send(&sent[..10]);
    place.run(zones(OnError::Fail)).unwrap();
    place.send(&sent[10..]);
    place
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1 << (at % 8);
    std::fs::write(file, bytes).unwrap();
}

/// Flips a bit here and there in a file, runs each time, and lets `check` judge. There is no snapshot, so that every
/// start reads the whole epoch log and all input it speaks of.
fn each_flip(file: impl Fn(&Place) -> PathBuf, check: impl Fn(&Place, Result<u64, RunError>)) {
    let place = place();
    place.forget_snapshots();
    let file = file(&place);
    let length = std::fs::read(&file).unwrap().len();
    let before = place.read("zones").concat();
    for step in 0..12 {
        // The first bytes, the last one, and some between.
        let at = step * (length - 1) / 11;
        flip(&file, at);
        let outcome = place
            .run(zones(OnError::Fail))
            .map(|report| report.counts.read);
        if let Err(error) = &outcome {
            assert!(
                matches!(error, RunError::Log(LogError::Damaged { file: named, .. }) if *named == file),
                "byte {at}: {error}"
            );
            assert_eq!(error.exit_code(), 65);
            let text = error.to_string();
            assert!(text.contains("damaged at byte"), "{text}");
        }
        check(&place, outcome);
        flip(&file, at);
        assert!(
            place.read("zones").concat().starts_with(&before),
            "byte {at}"
        );
    }
    let report = place.run(zones(OnError::Fail)).unwrap();
    assert!(report.resumed);
    let all: Vec<String> = (0..20).map(|zone: u32| zone.to_string()).collect();
    assert_eq!(place.texts("zones"), all);
}

#[test]
fn a_flipped_bit_in_the_input_stops_the_run_and_names_the_segment() {
    each_flip(
        |place| place.segment("rides", 0),
        |_, outcome| {
            outcome.unwrap_err();
        },
    );
}

#[test]
fn a_flipped_bit_in_the_epoch_log_stops_the_start_and_names_the_segment() {
    each_flip(
        |place| place.segment("app-epochs", 0),
        |_, outcome| {
            outcome.unwrap_err();
        },
    );
}

/// What a snapshot stands for is not read again.
#[test]
fn a_flipped_bit_in_input_that_a_snapshot_stands_for_does_no_harm_and_one_behind_it_stops_the_run()
{
    let place = place();
    let file = place.segment("rides", 0);
    let length = std::fs::read(&file).unwrap().len();
    flip(&file, length - 1);
    let error = place.run(zones(OnError::Fail)).unwrap_err();
    assert!(
        matches!(&error, RunError::Log(LogError::Damaged { file: named, .. }) if *named == file),
        "{error}"
    );
    flip(&file, length - 1);
    flip(&file, length / 4);
    assert_eq!(place.run(zones(OnError::Fail)).unwrap().counts.read, 10);
    let all: Vec<String> = (0..20).map(|zone: u32| zone.to_string()).collect();
    assert_eq!(place.texts("zones"), all);
}

#[test]
fn a_flipped_bit_in_an_entry_that_a_snapshot_stands_for_stops_no_start_and_is_found_by_a_check() {
    let place = place();
    let file = place.segment("app-epochs", 0);
    let length = std::fs::read(&file).unwrap().len();
    flip(&file, length / 4);
    assert_eq!(place.run(zones(OnError::Fail)).unwrap().counts.read, 10);
    let all: Vec<String> = (0..20).map(|zone: u32| zone.to_string()).collect();
    assert_eq!(place.texts("zones"), all);
    let verdict = tiderace::runtime::check(&*place.log, place.path(), "app").unwrap();
    let named = file.display().to_string();
    assert!(
        verdict.faults.iter().any(|fault| fault.contains(&named)),
        "{verdict:?}"
    );
}

#[test]
fn a_flipped_bit_in_the_commits_stops_everything_and_names_the_file() {
    each_flip(
        |place| place.path().join("log/commits"),
        |_, outcome| {
            outcome.unwrap_err();
        },
    );
}

#[test]
fn a_flipped_bit_in_the_output_is_found_by_whoever_reads_or_writes_it() {
    let place = place();
    let file = place.segment("zones", 0);
    let length = std::fs::read(&file).unwrap().len();
    for step in 0..12 {
        let at = step * (length - 1) / 11;
        flip(&file, at);
        // A run that resumes replays its input and appends; it need not look at what it wrote before.
        let read = crate::support::read_all(&*place.log, "zones", 0);
        let Err(error) = read else {
            panic!("byte {at}: not noticed");
        };
        assert!(
            matches!(&error, LogError::Damaged { file: named, .. } if *named == file),
            "byte {at}: {error}"
        );
        flip(&file, at);
    }
    place.run(zones(OnError::Fail)).unwrap();
    assert_eq!(place.texts("zones").len(), 20);
}

/// How many flips of an epoch log are tried.
const FLIPS: u64 = 3_000;

/// Starts read the whole epoch log here, as there is no snapshot.
#[test]
fn every_truncation_and_thousands_of_flips_of_the_epoch_log_stop_the_start() {
    let began = Instant::now();
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    let one_by_one = Config {
        epoch_records: 1,
        ..place.config()
    };
    place.send(&[ride(0, r#"{"zone":1}"#); 5]);
    place.run_with(zones(OnError::Fail), &one_by_one).unwrap();
    place.forget_snapshots();
    let path = place.segment("app-epochs", 0);
    let whole = std::fs::read(&path).unwrap();
    let length = whole.len() as u64;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let is_refused = |at: u64, what: &str| {
        let error = place.run(zones(OnError::Fail)).unwrap_err();
        let RunError::Log(LogError::Damaged {
            file: named,
            offset,
            ..
        }) = &error
        else {
            panic!("{what}: {error}");
        };
        assert!(*named == path && *offset <= at, "{what}: {error}");
        assert_eq!(error.exit_code(), 65);
    };
    let bits = length * 8;
    for bit in (0..500).chain((0..FLIPS).map(|nth| nth * 7_919_993 % bits)) {
        let at = bit / 8;
        let byte = whole[at as usize];
        file.write_all_at(&[byte ^ (1 << (bit % 8))], at).unwrap();
        is_refused(at, &format!("bit {bit}"));
        file.write_all_at(&[byte], at).unwrap();
    }
    for cut in (0..length).rev() {
        file.set_len(cut).unwrap();
        is_refused(cut, &format!("cut at {cut}"));
    }
    assert_eq!(place.texts("zones"), ["1"; 5]);
    file.write_all_at(&whole, 0).unwrap();
    let report = place.run(zones(OnError::Fail)).unwrap();
    assert!(report.resumed && report.counts.read == 0, "{report:?}");
    println!(
        "epoch log of {length} bytes: {length} truncations and {} flips, each start refused, in {:.0} s",
        FLIPS + 500,
        began.elapsed().as_secs_f64()
    );
}
