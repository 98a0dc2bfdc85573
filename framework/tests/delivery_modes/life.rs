//! One life of the application, in this process or in one of its own, which is killed.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use tiderace::connect::Log;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::kafka::KafkaLog;
use tiderace::failpoint::{
    P10_BEFORE_COMMIT, P25_OUTPUT_WRITTEN, P26_OUTPUTS_ACKNOWLEDGED, P27_OUTPUTS_DUE, Point,
};
use tiderace::{Config, Engine, Guarantee, Report, RunError, Running};

use crate::input::topology;

/// How long a life may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Set in a process that is to be killed, to its life.
const LIFE: &str = "TIDERACE_TEST_LIFE";

/// The points where a life is struck.
static POINTS: [&Point; 4] = [
    &P10_BEFORE_COMMIT,
    &P25_OUTPUT_WRITTEN,
    &P26_OUTPUTS_ACKNOWLEDGED,
    &P27_OUTPUTS_DUE,
];

/// A life, as it is told to a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Life {
    /// The broker; the embedded log of `directory` without one.
    pub(crate) brokers: Option<String>,
    pub(crate) directory: PathBuf,
    /// What the names of topics end with.
    pub(crate) suffix: String,
    pub(crate) application: String,
    pub(crate) guarantee: Guarantee,
    pub(crate) workers: usize,
    /// The point, and its pass, at which the process is killed.
    pub(crate) strike: Option<(String, u64)>,
}

impl Life {
    /// The log that it takes place on.
    pub(crate) fn log(&self) -> Arc<dyn Log> {
        match &self.brokers {
            Some(brokers) => Arc::new(KafkaLog::connect(brokers, &Default::default()).unwrap()),
            None => Arc::new(EmbeddedLog::open(&self.directory).unwrap()),
        }
    }

    /// Begins to live.
    pub(crate) fn start(&self) -> Result<Running, RunError> {
        let config = Config {
            application_id: Some(self.application.clone()),
            brokers: self.brokers.clone(),
            guarantee: self.guarantee,
            workers: self.workers,
            data_dir: self.directory.clone(),
            // Epochs close by the number of their records.
            commit_interval: Duration::from_secs(4),
            epoch_records: 25,
            max_restarts: 0,
            ..Config::default()
        };
        Engine::start(topology(&self.suffix), self.log(), &config)
    }

    /// Lives to the end of the input.
    pub(crate) fn live(&self) -> Report {
        let running = self.start().unwrap();
        assert!(running.wait(PATIENCE), "{self:?}: the run does not end");
        running.join().unwrap()
    }

    /// Lives in a process of its own, which has to be killed where it is struck.
    pub(crate) fn is_killed(&self) {
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["--exact", "life::in_its_own_process", "--nocapture"]);
        process.env(LIFE, serde_json::to_string(self).unwrap());
        let ended = process.output().unwrap();
        let signal = ended.status.signal();
        assert_eq!(signal, Some(9), "{self:?} was not struck: {ended:?}");
    }
}

/// No test but in the processes that tests start.
#[test]
fn in_its_own_process() {
    let Ok(life) = std::env::var(LIFE) else {
        return;
    };
    let life: Life = serde_json::from_str(&life).unwrap();
    let (name, pass) = life.strike.clone().unwrap();
    let point = POINTS.iter().find(|of| of.name() == name).unwrap();
    let passes = AtomicU64::new(0);
    point.arm_with(move || {
        if passes.fetch_add(1, Ordering::SeqCst) + 1 == pass {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    });
    life.live();
}
