//! The crash matrix on the embedded log: every point of reading, commit and recovery x its first two, a middle and
//! its last two passes x what happens there x topologies x workers. After each the application is started again until it is done.
//!
//! Verdict each time: the outputs are byte for byte those of a run that nobody disturbed, the epoch log holds every
//! epoch once, chained, its offsets growing, its counts adding up, another start goes on from the snapshot of the end and
//! reads nothing, and one without it replays all to the same digests.
//! A case that did not reach its point fails. A point is a line in `points.rs`, a topology one in `topologies.rs`.
//!
//! Points are of the process, so the cases run one after the other, in a process for each topology and number of workers.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/entries.rs"]
mod entries;
mod matrix;
mod place;
mod points;
mod topologies;

use std::time::{Duration, Instant};

use crate::points::POINTS;
use crate::topologies::{TOPOLOGIES, topology_named};

/// What the whole matrix may take.
const LIMIT: Duration = Duration::from_secs(180);

/// Numbers of workers that each topology runs with.
const WORKERS: [usize; 2] = [1, 2];

/// Set in a process that is to run the cases of one topology, to its name and the number of workers.
const PART: &str = "TIDERACE_TEST_MATRIX_OF";

#[test]
fn whatever_strikes_wherever_the_outputs_are_those_of_an_undisturbed_run() {
    const TEST: &str = "whatever_strikes_wherever_the_outputs_are_those_of_an_undisturbed_run";
    if let Ok(part) = std::env::var(PART) {
        let (name, workers) = part.split_once('/').unwrap();
        return matrix::run(topology_named(name), workers.parse().unwrap());
    }
    let begun = Instant::now();
    let parts = TOPOLOGIES
        .iter()
        .flat_map(|topology| WORKERS.map(|workers| format!("{}/{workers}", topology.name)));
    let start = |part: String| {
        let process = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(PART, &part)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn();
        (part, process.unwrap())
    };
    let processes: Vec<_> = parts.map(start).collect();
    let mut failed = Vec::new();
    for (part, process) in processes {
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        for line in said.lines().filter(|line| line.contains(" cases")) {
            println!("{line}");
        }
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            failed.push(format!("{part}:\n{said}{stderr}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let took = begun.elapsed();
    println!("the whole matrix in {:.0} s", took.as_secs_f64());
    assert!(took < LIMIT, "the matrix took {took:?}");
}

#[test]
fn every_point_of_the_engine_is_in_the_matrix() {
    let listed: Vec<&str> = POINTS.iter().map(|line| line.point.name()).collect();
    let known: Vec<&str> = tiderace::failpoint::ALL
        .iter()
        .map(|point| point.name())
        .collect();
    assert_eq!(listed, known);
}
