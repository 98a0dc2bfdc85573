//! The disk fills up under a run.

use std::path::Path;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tiderace::connect::Log;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::{Config, Engine, LogError, OnError, Report, RunError};

use crate::place::{Place, ride, zones};
use crate::support::child;

const DIRECTORY: &str = "TIDERACE_TEST_FULL_DISK";

fn limit_file_size(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let limit = Rlimit {
        current: bytes,
        maximum,
    };
    setrlimit(Resource::Fsize, limit).unwrap();
}

fn run(directory: &Path) -> Result<Report, RunError> {
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(directory).unwrap());
    let config = Config {
        data_dir: directory.to_owned(),
        epoch_records: 500,
        ..Config::default()
    };
    Engine::start(zones(OnError::Fail), log, &config)?.join()
}

fn run_into_the_limit(directory: &Path) {
    limit_file_size(Some(40_000));
    for _ in 0..2 {
        let error = run(directory).unwrap_err();
        assert!(
            matches!(&error, RunError::Log(LogError::CannotWrite { file, .. }) if file.starts_with(directory)),
            "{error}"
        );
        assert_eq!(error.exit_code(), 73);
        let text = error.to_string();
        assert!(text.contains("what was committed before is safe"), "{text}");
    }
    limit_file_size(None);
}

#[test]
fn a_full_disk_fails_the_epoch_and_a_later_run_with_space_completes_the_same_output() {
    const TEST: &str =
        "disk::a_full_disk_fails_the_epoch_and_a_later_run_with_space_completes_the_same_output";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return run_into_the_limit(Path::new(&directory));
    }
    let send = |place: &Place| {
        let rides: Vec<String> = (0..6000)
            .map(|zone| format!("{{\"zone\":{zone}}}"))
            .collect();
        let mut writer = place.log.writer("rides").unwrap();
        for (at, value) in rides.iter().enumerate() {
            writer.send(&ride(0, value)).unwrap();
            if at % 500 == 499 {
                writer.flush().unwrap();
            }
        }
        writer.flush().unwrap();
    };
    let undisturbed = Place::new(&[("rides", 1), ("zones", 1)]);
    send(&undisturbed);
    run(undisturbed.path()).unwrap();
    let expected = undisturbed.read("zones");

    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    send(&place);
    let output = child(TEST, DIRECTORY, place.path()).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let committed = place.read("zones");
    assert!(expected[0].starts_with(&committed[0]));
    assert!(committed[0].len() < expected[0].len());
    let report = run(place.path()).unwrap();
    assert!(report.resumed);
    assert_eq!(place.read("zones"), expected);
}
