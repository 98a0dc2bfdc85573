//! Every example runs and prints what its reader expects.

use std::path::PathBuf;
use std::process::Command;

/// Runs an example, which cargo builds together with this test and puts beside its directory.
fn output_of(example: &str) -> String {
    let test = std::env::current_exe().expect("a running test has a path");
    let target = test.ancestors().nth(2).expect("tests lie two levels deep");
    let program: PathBuf = target.join("examples").join(example);
    let output = Command::new(&program)
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    assert!(output.status.success(), "{example}: {output:?}");
    String::from_utf8(output.stdout).expect("examples print UTF-8")
}

#[test]
fn hello_greets() {
    assert_eq!(output_of("hello"), "Hello, tide race!\n");
}

#[test]
fn rides_are_counted_per_zone_and_window() {
    let expected = "zone 3, 1970-01-01T00:00:00Z: 1\n\
                    zone 7, 1970-01-01T00:00:00Z: 2\n\
                    zone 7, 1970-01-01T00:10:00Z: 1\n";
    assert_eq!(output_of("rides_per_zone"), expected);
}

#[test]
fn words_are_counted_across_runs() {
    let expected = "\"the tide turns\", resumed: false\n\
                    \"the race begins with the tide\", resumed: true\n\
                    {\"begins\": 1, \"race\": 1, \"the\": 3, \"tide\": 2, \"turns\": 1, \"with\": 1}\n";
    assert_eq!(output_of("word_count"), expected);
}

#[test]
fn no_record_is_lost_without_a_trace() {
    let output = output_of("errors");
    let expected = [
        "peak 21 from 1970-01-01T00:00:00Z",
        "peak 19 from 1970-01-01T00:00:10Z",
        "failed: \"warm\": invalid digit found in string",
        "late: (EventTime(4000), \"22\")",
        "dead: \"{ no JSON\"",
        "Counts { read: 6, processed: 4, filtered: 0, late: 1, skipped: 0, dead_lettered: 1 }",
    ];
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}
