//! Every benchmark of the suite runs, and its sides put out the same: a short run compares their outputs and judges no time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn benches(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_tiderace-benches");
    Command::new(program).args(arguments).output().unwrap()
}

/// What is listed and no benchmark of the suite.
const NO_BENCHMARKS: [&str; 8] = [
    "list",
    "all",
    "table",
    "plot",
    "torture",
    "recovery",
    "snapshots",
    "transfers",
];

#[test]
fn a_short_run_of_all_finds_equal_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("data");
    let output = benches(&["all", "--quick", "--dir", directory.to_str().unwrap()]);
    let (said, failed) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{failed}");
    let listed = benches(&["list"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let ran: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let names = listed.lines().map_while(|line| line.split(' ').next());
    let names: Vec<&str> = names
        .take_while(|name| !name.is_empty())
        .filter(|name| !NO_BENCHMARKS.contains(name))
        .collect();
    assert_eq!(ran, names);
    println!("{} benchmarks compared", ran.len());
    // What a run adds is removed behind it.
    let left: Vec<_> = std::fs::read_dir(&directory).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
