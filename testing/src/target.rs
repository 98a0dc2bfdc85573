//! The folder that builds go to, and with them what tests and benchmarks fetch and build beside cargo.

use std::path::{Path, PathBuf};

/// The target folder that the running program lies in; that of the workspace where it lies in none.
pub fn folder() -> PathBuf {
    let executable = std::env::current_exe().expect("a program knows its own file");
    let target = executable
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let target = target
        .map(Path::to_path_buf)
        .or_else(|| std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from));
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
}
