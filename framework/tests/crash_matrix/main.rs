//! The crash matrix on the embedded log: every point of reading, commit, snapshot and recovery x its first two, a middle
//! and its last two passes x what happens there x topologies x workers, with snapshots in the middle of the run and
//! without; and the moments at which a partition is added, goes idle, wakes. After each the application is started again
//! until it is done.
//!
//! Verdict each time: the outputs are byte for byte those of a run that nobody disturbed, the epoch log holds every
//! epoch once, chained, its offsets growing, its counts adding up, all snapshots are whole, another start goes on from the
//! snapshot of the end and reads nothing, and one without it replays all to the same digests.
//! A case that did not reach its point fails. A point is a line in `points.rs`, a topology one in `topologies.rs`.
//!
//! Points are of the process, so the cases run one after the other, in some processes for each topology and number of
//! workers: most of their time they wait.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/entries.rs"]
mod entries;
mod matrix;
mod moments;
mod place;
mod points;
mod topologies;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::matrix::Part;
use crate::topologies::{TOPOLOGIES, topology_named};

/// What the whole matrix may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Numbers of workers that each topology runs with.
const WORKERS: [usize; 2] = [1, 2];

/// Processes for each topology and number of workers.
const SHARES: usize = 3;

/// Set in a process that is to run a part of the cases, to its topology's name, the number of workers, and its share.
const PART: &str = "TIDERACE_TEST_MATRIX_OF";

/// What `PART` says.
fn part_named(text: &str) -> Part {
    let [name, workers, share] = text.split('/').collect::<Vec<_>>()[..] else {
        panic!("`{text}` is no part");
    };
    Part {
        scenario: topology_named(name),
        workers: workers.parse().unwrap(),
        share: (share.parse().unwrap(), SHARES),
    }
}

#[test]
fn whatever_strikes_wherever_the_outputs_are_those_of_an_undisturbed_run() {
    const TEST: &str = "whatever_strikes_wherever_the_outputs_are_those_of_an_undisturbed_run";
    if let Ok(part) = std::env::var(PART) {
        return matrix::run(part_named(&part));
    }
    let begun = Instant::now();
    let parts = TOPOLOGIES.iter().flat_map(|topology| {
        let of = |workers| (0..SHARES).map(move |share| (workers, share));
        let parts = WORKERS.into_iter().flat_map(of);
        parts.map(|(workers, share)| format!("{}/{workers}/{share}", topology.name))
    });
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
    let mut hit: BTreeMap<String, u64> = BTreeMap::new();
    for (part, process) in processes {
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        for line in said.lines() {
            if line.contains(" cases") {
                println!("{line}");
            } else if let Some(of) = line.strip_prefix("point ") {
                let (point, cases) = of.split_once(' ').unwrap();
                *hit.entry(point.to_owned()).or_default() += cases.parse::<u64>().unwrap();
            }
        }
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            failed.push(format!("{part}:\n{said}{stderr}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    for point in tiderace::failpoint::ALL {
        let cases = hit.get(point.name()).copied().unwrap_or(0);
        println!("{}: hit in {cases} cases", point.name());
        assert!(cases > 0, "{} was never hit", point.name());
    }
    let (took, cases) = (begun.elapsed(), hit.values().sum::<u64>());
    println!(
        "{cases} cases, the whole matrix in {:.0} s",
        took.as_secs_f64()
    );
    assert!(took < LIMIT, "the matrix took {took:?}");
}

#[test]
fn every_point_of_the_engine_is_in_the_matrix() {
    let lines = TOPOLOGIES.iter().flat_map(|topology| topology.lines);
    let listed: BTreeSet<&str> = lines.map(|line| line.point.name()).collect();
    let known = tiderace::failpoint::ALL.iter().map(|point| point.name());
    assert_eq!(listed, known.collect());
}
