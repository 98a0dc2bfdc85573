//! The comparison of a workload: the engine, the loop and, where it is asked for, Kafka Streams, in turns.

use serde::{Deserialize, Serialize};
use tiderace_benches::progress::Progress;

use super::figures::report;
use super::outputs::Summary;
use super::plan::{Turn, expected, plan, records};
use super::site::Site;
use super::workload::Workload;
use crate::Failure;
use crate::suite::journal::Journal;
use crate::suite::{Context, Report};

/// How often all sides commit, in milliseconds.
pub(super) const COMMIT_MS: u64 = 100;

/// What runs the sides.
pub(super) trait Sides {
    fn run(&mut self, turn: Turn) -> Result<Sample, Failure>;
}

/// What a run cost, and what it wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// CPU and wall time a unit of the workload, in nanoseconds.
    pub(super) cpu_ns: f64,
    pub(super) wall_ns: f64,
    /// The most memory it had resident, in MiB.
    pub(super) memory: f64,
    /// Of the values of the input.
    pub(super) input_bytes: u64,
    pub(super) written: Summary,
}

/// Runs a workload on all sides and compares what they write and what they cost. A full run goes on where one that was
/// cut has stopped.
pub(crate) fn run(workload: Workload, with: &Context<'_>) -> Result<Report, Failure> {
    let options = with.options;
    let mut journal = Journal::of_one(options, workload.name())?;
    let turns = plan(workload, options);
    let records = records(workload, options);
    let is_open = |turn: &&Turn| journal.found::<Sample>(&turn.to_string()).is_none();
    let open: Vec<Turn> = turns.iter().filter(is_open).copied().collect();
    let minutes = expected(workload, options, &open).as_secs_f64() / 60.0;
    with.progress.say(&format!(
        "{}: {records} records; {} runs, {} of them done before, about {minutes:.0} minutes",
        workload.about(),
        turns.len(),
        turns.len() - open.len(),
    ));
    let mut site = match open.is_empty() {
        true => None,
        false => {
            let site = Site::open(workload, options, journal.place())?;
            // Also where a run that was cut goes on: its broker is another one.
            site.warm_up(with)?;
            Some(site)
        }
    };
    let mut none = Nowhere;
    let sides: &mut dyn Sides = match &mut site {
        Some(site) => site,
        None => &mut none,
    };
    let samples = run_all(&turns, sides, &mut journal, with.progress)?;
    if let Some(site) = site {
        site.close()?;
    }
    Ok(report(workload, with, &samples))
}

/// Where nothing is left to run.
struct Nowhere;

impl Sides for Nowhere {
    fn run(&mut self, turn: Turn) -> Result<Sample, Failure> {
        Err(format!("{turn}: the journal had it a moment ago").into())
    }
}

/// Runs what the journal does not have yet, and compares what every run wrote with what the first one did.
fn run_all(
    turns: &[Turn],
    sides: &mut dyn Sides,
    journal: &mut Journal,
    progress: &Progress,
) -> Result<Vec<(Turn, Sample)>, Failure> {
    let mut samples: Vec<(Turn, Sample)> = Vec::new();
    for (nth, turn) in turns.iter().enumerate() {
        let name = turn.to_string();
        let before: Option<Sample> = journal.found(&name);
        let sample = match before.clone() {
            Some(sample) => sample,
            None => {
                progress.say(&format!("run {} of {}: {name}", nth + 1, turns.len()));
                sides.run(*turn)?
            }
        };
        let (first, expected) = match samples.first() {
            Some((turn, sample)) => (*turn, sample.written),
            None => (*turn, sample.written),
        };
        if sample.written != expected {
            let written = sample.written;
            return Err(format!(
                "{name}: wrote other results: {written:?}, where {first} wrote {expected:?}"
            )
            .into());
        }
        if before.is_none() {
            journal.finish(&name, &sample)?;
            progress.say(&format!(
                "{:.0} ns CPU, {:.0} ns wall, {:.0} MiB",
                sample.cpu_ns, sample.wall_ns, sample.memory
            ));
        }
        samples.push((*turn, sample));
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;
    use tiderace_benches::machine::Calibration;

    use super::*;
    use crate::suite::Options;
    use crate::suite::topics::plan::Who;

    #[derive(Parser)]
    struct With {
        #[command(flatten)]
        options: Options,
    }

    /// Costs that depend on the run alone; fails behind so many of them, as if it were cut.
    struct Stub {
        left: usize,
        runs: usize,
    }

    impl Sides for Stub {
        fn run(&mut self, turn: Turn) -> Result<Sample, Failure> {
            if self.left == 0 {
                return Err("cut".into());
            }
            self.left -= 1;
            self.runs += 1;
            let side = match turn.who {
                Who::Engine => 1.0,
                Who::Loop => 2.0,
                Who::Streams(_) => 3.0,
            };
            let cpu_ns = side * 100.0 + turn.pair as f64;
            Ok(Sample {
                cpu_ns,
                wall_ns: cpu_ns + if turn.pinned { 10.0 } else { 20.0 },
                memory: side,
                input_bytes: 15_000_000,
                written: Summary::default(),
            })
        }
    }

    fn options(directory: &Path) -> Options {
        let directory = directory.to_str().unwrap();
        With::parse_from(["compare", "--full", "--dir", directory]).options
    }

    fn reported(options: &Options, samples: &[(Turn, Sample)]) -> String {
        let with = Context {
            options,
            progress: &Progress::default(),
            calibration: Calibration::known(76.0),
        };
        serde_json::to_string(&report(Workload::WideCounts, &with, samples)).unwrap()
    }

    #[test]
    fn a_run_that_is_cut_again_and_again_reports_what_an_undisturbed_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let progress = Progress::default();
        let turns = plan(Workload::WideCounts, &options);
        let endless = || Stub {
            left: usize::MAX,
            runs: 0,
        };
        let mut sides = endless();
        let mut journal = Journal::forgetful();
        let undisturbed = run_all(&turns, &mut sides, &mut journal, &progress).unwrap();
        assert_eq!(sides.runs, turns.len());

        let open = || Journal::open(&options, "p3-wide").unwrap();
        let mut runs = 0;
        for left in [3, 0, 7] {
            let mut sides = Stub { left, runs: 0 };
            assert!(run_all(&turns, &mut sides, &mut open(), &progress).is_err());
            runs += sides.runs;
        }
        let mut sides = endless();
        let resumed = run_all(&turns, &mut sides, &mut open(), &progress).unwrap();
        assert_eq!(runs + sides.runs, turns.len(), "nothing runs twice");
        assert_eq!(
            reported(&options, &resumed),
            reported(&options, &undisturbed)
        );
        assert!(run_all(&turns, &mut Nowhere, &mut open(), &progress).is_ok());
    }

    #[test]
    fn a_side_that_writes_something_else_fails_the_comparison_and_is_not_written_down() {
        struct Other(Stub);
        impl Sides for Other {
            fn run(&mut self, turn: Turn) -> Result<Sample, Failure> {
                let mut sample = self.0.run(turn)?;
                if turn.who == Who::Loop {
                    sample.written.records += 1;
                }
                Ok(sample)
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let turns = plan(Workload::Counts, &options);
        let mut journal = Journal::open(&options, "p3").unwrap();
        let mut sides = Other(Stub { left: 9, runs: 0 });
        let failed = run_all(&turns, &mut sides, &mut journal, &Progress::default());
        let failure = failed.unwrap_err().to_string();
        assert!(
            failure.starts_with("loop, one core, pair 1: wrote other"),
            "{failure}"
        );
        assert!(journal.found::<Sample>(&turns[0].to_string()).is_some());
        assert!(journal.found::<Sample>(&turns[1].to_string()).is_none());
    }
}
