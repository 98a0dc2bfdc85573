//! What a process of its own does to an application, and where it is struck.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use tiderace::connect::TopicPartition;
use tiderace::failpoint::{ALL, P28_RESET_COMMITTED, P28_TRIMMED, P28_TRIMMING, Point};
use tiderace::runtime::StartPoint;

use crate::site::Names;

/// Set in a process that is to be struck, to what it is to do.
const DEED: &str = "TIDERACE_TEST_DEED";

/// What a line begins with that says how a process ended.
const SAID: &str = "said: ";

/// Where a reset goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum To {
    Beginning,
    /// Partitions of the input, and their offsets.
    Offsets(Vec<(u32, i64)>),
}

impl To {
    pub(crate) fn start_point(&self, input: &str) -> StartPoint {
        match self {
            To::Beginning => StartPoint::Beginning,
            To::Offsets(offsets) => {
                let of = |(partition, offset): &(u32, i64)| {
                    (TopicPartition::new(input, *partition), *offset)
                };
                StartPoint::Offsets(offsets.iter().map(of).collect())
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deed {
    Reset(To),
    /// Runs the application to the end of its input.
    Start,
}

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    /// The process is gone.
    Kill,
    /// The step fails, and had no effect.
    Fail,
    /// The step is in doubt; at `P11` it was applied, elsewhere it was not.
    Doubt,
}

/// An action at one pass of a point.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Strike {
    point: String,
    pass: u64,
    pub(crate) action: Action,
}

impl Strike {
    pub(crate) fn new(point: &Point, pass: u64, action: Action) -> Self {
        let point = point.name().to_owned();
        Strike {
            point,
            pass,
            action,
        }
    }

    fn arm(&self) {
        let point = points().find(|of| of.name() == self.point).unwrap();
        let before = self.pass - 1;
        match self.action {
            Action::Kill => {
                let passes = AtomicU64::new(0);
                point.arm_with(move || {
                    if passes.fetch_add(1, Ordering::SeqCst) == before {
                        kill_process(getpid(), Signal::KILL).unwrap();
                    }
                });
            }
            Action::Fail => point.arm(&format!("{before}*off->1*return(failed)")),
            Action::Doubt => point.arm(&format!("{before}*off->1*return(doubt)")),
        }
    }
}

fn points() -> impl Iterator<Item = &'static Point> {
    let resets = [&P28_RESET_COMMITTED, &P28_TRIMMING, &P28_TRIMMED];
    ALL.into_iter().chain(resets)
}

/// How a process ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// `killed`, `failed` or `done`.
    pub(crate) said: String,
    pub(crate) error: Option<String>,
    /// How often each point was passed; not known of one that was killed.
    pub(crate) passes: BTreeMap<String, u64>,
}

/// What a process is told.
#[derive(Serialize, Deserialize)]
struct Told {
    names: Names,
    deed: Deed,
    strike: Option<Strike>,
}

/// Has a process of its own do something to an application, and says how it ended.
pub(crate) fn strike(names: &Names, deed: Deed, strike: Option<&Strike>) -> Ended {
    let told = Told {
        names: names.clone(),
        deed,
        strike: strike.cloned(),
    };
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", "deed::in_its_own_process", "--nocapture"]);
    process.env(DEED, serde_json::to_string(&told).unwrap());
    let output = process.output().unwrap();
    if output.status.signal() == Some(9) {
        return Ended {
            said: "killed".to_owned(),
            ..Ended::default()
        };
    }
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let said = text.lines().find_map(|line| line.split_once(SAID));
    let said = said.unwrap_or_else(|| panic!("it ended without a word: {output:?}"));
    serde_json::from_str(said.1).unwrap()
}

/// No test but in the processes that tests start.
#[test]
fn in_its_own_process() {
    let Ok(told) = std::env::var(DEED) else {
        return;
    };
    let told: Told = serde_json::from_str(&told).unwrap();
    if let Some(strike) = &told.strike {
        strike.arm();
    }
    let outcome = match &told.deed {
        Deed::Reset(to) => told.names.reset(to).map(drop),
        Deed::Start => told.names.run().map(drop),
    };
    let said = if outcome.is_ok() { "done" } else { "failed" };
    let ended = Ended {
        said: said.to_owned(),
        error: outcome.err().map(|error| error.to_string()),
        passes: points()
            .map(|point| (point.name().to_owned(), point.take_passes()))
            .collect(),
    };
    println!("{SAID}{}", serde_json::to_string(&ended).unwrap());
}
