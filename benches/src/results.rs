//! Recorded runs: JSON lines in `benches/results/`, each with commit, versions and machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde::Serialize;

use crate::versions::Versions;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// The commit when the program began.
static COMMIT: OnceLock<String> = OnceLock::new();

/// What a run was made of and on.
#[derive(Clone, Debug, Serialize)]
pub struct Surroundings {
    /// When the run ended, RFC 3339.
    pub at: String,
    /// The commit of the sources when the program began; `+` behind it says that they had been changed since.
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
        Surroundings {
            at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            commit: note_commit().to_owned(),
            rustc: said(FOLDER, "rustc", &["--version"]),
            tiderace: env!("CARGO_PKG_VERSION"),
            machine: machine(),
        }
    }
}

/// Notes the commit of the sources: to be called at the beginning, since they may be changed while a benchmark runs.
pub fn note_commit() -> &'static str {
    COMMIT.get_or_init(|| commit(FOLDER))
}

/// The commit of a folder's repository. A recorded run is no change of the sources.
fn commit(folder: impl AsRef<Path>) -> String {
    const CHANGES: [&str; 6] = [
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ":(top)",
        ":(top,exclude)benches/results",
    ];
    let mut commit = said(&folder, "git", &["rev-parse", "--short", "HEAD"]);
    if !said(&folder, "git", &CHANGES).is_empty() {
        commit.push('+');
    }
    commit
}

/// What a program says in a folder, without the line's end.
fn said(folder: impl AsRef<Path>, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
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
        said(FOLDER, "uname", &["-r"])
    )
}

#[derive(Serialize)]
struct Line<'a, R> {
    #[serde(flatten)]
    surroundings: Surroundings,
    #[serde(flatten)]
    versions: &'a Versions,
    #[serde(flatten)]
    run: &'a R,
}

/// Adds a run to `benches/results/NAME.jsonl`: the surroundings' fields, the versions, then the run's own. Returns the file.
///
/// # Errors
/// The file cannot be written.
pub fn record(name: &str, versions: &Versions, run: &impl Serialize) -> io::Result<PathBuf> {
    let line = serde_json::to_string(&Line {
        surroundings: Surroundings::now(),
        versions,
        run,
    })?;
    let folder = Path::new(FOLDER).join("results");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.jsonl"));
    let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
    writeln!(file, "{line}")?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_marked_when_anything_but_a_recorded_run_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let benches = folder.path().join("benches");
        let files = ["results/p1.jsonl", "README.md"].map(|name| benches.join(name));
        fs::create_dir_all(benches.join("results")).unwrap();
        let change = |file: &PathBuf, text: &str| fs::write(file, text).unwrap();
        files.iter().for_each(|file| change(file, "before"));
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.args(["-c", "user.name=a", "-c", "user.email=a@b"]);
            // A hook of the repository that this is built from has set them.
            for name in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"] {
                git.env_remove(name);
            }
            let done = git.args(arguments).current_dir(&benches).status().unwrap();
            assert!(done.success(), "{arguments:?}");
        };
        git(&["init", "--quiet", ".."]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--no-verify", "-m", "one"]);

        let unchanged = commit(&benches);
        assert!(!unchanged.contains(['+', 'k']), "{unchanged}");
        change(&files[0], "behind");
        assert_eq!(commit(&benches), unchanged);
        change(&files[1], "behind");
        assert_eq!(commit(&benches), format!("{unchanged}+"));
    }
}
