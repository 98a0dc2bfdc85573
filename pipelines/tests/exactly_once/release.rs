//! The same for the release build, which is compiled without what only tests switch on.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::kills::survive_kills;
use crate::site::Site;

#[test]
fn ten_kills_of_the_release_build_change_no_byte() {
    survive_kills(
        &Site::of_program(release_build()),
        "the release build",
        1000,
        3,
    );
}

/// Has cargo build the command as `cargo run --release` does, at once if that is done, and finds it.
fn release_build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--offline",
            "--quiet",
            "--bin",
            "tiderace",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the release build fails");
    let messages = String::from_utf8(output.stdout).unwrap();
    let executable = messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    executable.expect("cargo names the program it built")
}
