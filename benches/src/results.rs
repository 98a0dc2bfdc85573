//! Recorded runs: JSON lines in `benches/results/`, each with commit, versions and machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

/// What a run was made of and on.
#[derive(Clone, Debug, Serialize)]
pub struct Surroundings {
    /// When the run ended, RFC 3339.
    pub at: String,
    /// The commit of the sources; `+` behind it says that they were changed since.
    pub commit: String,
    /// The compiler.
    pub rustc: String,
    /// Version of this workspace.
    pub tiderace: &'static str,
    /// Processor, number of cores, memory and kernel.
    pub machine: String,
}

impl Surroundings {
    /// The surroundings of this process; what cannot be found out is `unknown`.
    pub fn now() -> Self {
        let mut commit = said("git", &["rev-parse", "--short", "HEAD"]);
        if !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() {
            commit.push('+');
        }
        Surroundings {
            at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            commit,
            rustc: said("rustc", &["--version"]),
            tiderace: env!("CARGO_PKG_VERSION"),
            machine: machine(),
        }
    }
}

/// What a program says in the sources' folder, without the line's end.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    output
        .ok()
        .filter(|output| output.status.success())
        .map_or_else(
            || "unknown".to_owned(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
}

fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(
            || "unknown".to_owned(),
            |(_, value)| value.trim().to_owned(),
        )
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}, {cores} cores, {}, Linux {}",
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        said("uname", &["-r"])
    )
}

#[derive(Serialize)]
struct Line<'a, R> {
    #[serde(flatten)]
    surroundings: Surroundings,
    #[serde(flatten)]
    run: &'a R,
}

/// Adds a run to `benches/results/NAME.jsonl`: the surroundings' fields, then the run's own. Returns the file.
///
/// # Errors
/// The file cannot be written.
pub fn record(name: &str, run: &impl Serialize) -> io::Result<PathBuf> {
    let line = serde_json::to_string(&Line {
        surroundings: Surroundings::now(),
        run,
    })?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.jsonl"));
    let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
    writeln!(file, "{line}")?;
    Ok(path)
}
