//! The README's table is what the recorded lines say: a new line, or a table that was typed, fails here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_readme_has_the_table_of_the_recorded_lines() {
    let program = env!("CARGO_BIN_EXE_tiderace-benches");
    let output = Command::new(program).arg("table").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.lines().count() > 5, "{table}");

    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let (_, rest) = readme.split_once("<!-- table -->\n").unwrap();
    let (written, _) = rest.split_once("<!-- /table -->\n").unwrap();
    assert_eq!(
        written, table,
        "`cargo run --release -p tiderace-benches -- table --write` writes it anew"
    );
}
