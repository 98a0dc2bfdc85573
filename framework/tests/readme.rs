//! The README says what is there: its first program is the example, and the files that it names exist.

#![allow(clippy::unwrap_used)]

use std::path::Path;

fn read(file: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(workspace.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

#[test]
fn the_first_program_is_the_example_and_fits_a_screen() {
    let readme = read("README.md");
    let program = readme.split("```rust\n").nth(1).unwrap();
    let program = program.split("```").next().unwrap();
    let example = read("examples/rides_per_zone.rs");
    let (header, rest) = example.split_once('\n').unwrap();
    assert!(
        header.contains("cargo run --example rides_per_zone"),
        "{header}"
    );
    assert_eq!(program, rest);
    assert!(example.lines().count() <= 25);
    assert!(read("examples/hello.rs").lines().count() <= 15);
}

#[test]
fn every_file_that_the_readme_or_a_page_names_exists() {
    for page in ["README.md", "docs/design.md", "docs/kafka-streams.md"] {
        let text = read(page);
        let quoted = text.split('`').skip(1).step_by(2);
        let crates = [
            "operators/",
            "framework/",
            "pipelines/",
            "examples/",
            "testing/",
            "docs/",
        ];
        let is_file = |name: &&str| {
            crates.iter().any(|of| name.starts_with(of))
                && (name.ends_with(".rs") || name.ends_with(".md"))
        };
        let files: Vec<_> = quoted.filter(is_file).collect();
        for file in &files {
            read(file);
        }
        assert!(page != "README.md" || files.len() > 5, "{files:?}");
    }
}

#[test]
fn its_two_commands_are_there() {
    let readme = read("README.md");
    for command in [
        "cargo run --release -- rides-per-zone",
        "cargo test --workspace",
    ] {
        assert!(readme.lines().any(|line| line == command), "{command}");
    }
}
