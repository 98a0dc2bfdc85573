//! The journal of a full run: what was finished is written down at once, so that a run that was cut goes on behind it.
//!
//! A file below `--dir` for each benchmark, program and set of options: another build, or a run that was asked for
//! something else, begins anew. A line is one JSON object; a line that was cut short counts as not written.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tiderace_benches::peers::KafkaStreams;

use super::{Effort, Options};
use crate::Failure;

/// What was finished, by name; held by one process at a time.
pub(crate) struct Journal {
    finished: BTreeMap<String, Value>,
    /// Where it is written, if it is.
    file: Option<(PathBuf, File)>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    found: Value,
}

impl Journal {
    /// One that forgets: what is measured is measured anew.
    pub(crate) fn forgetful() -> Self {
        Journal {
            finished: BTreeMap::new(),
            file: None,
        }
    }

    /// What this program has finished so far of `benchmark`, or of `all`, with these options.
    pub(crate) fn open(options: &Options, benchmark: &str) -> Result<Self, Failure> {
        let name = format!("{benchmark}-{:016x}.jsonl", fingerprint(options)?);
        Self::at(options.dir.join("journal").join(name))
    }

    /// That of a benchmark, if a run with these options has one.
    pub(crate) fn of_one(options: &Options, benchmark: &str) -> Result<Self, Failure> {
        match options.effort() {
            Effort::Full => Self::open(options, benchmark),
            Effort::Quick | Effort::Usual => Ok(Self::forgetful()),
        }
    }

    fn at(path: PathBuf) -> Result<Self, Failure> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)?;
        if file.try_lock().is_err() {
            let held =
                "is held by another run of the same benchmark: wait for it, or use another --dir";
            return Err(format!("{} {held}", path.display()).into());
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n');
        let whole = whole.map_or(0, |end| end + 1);
        // What is written next must not continue a line that was cut short.
        file.set_len(whole as u64)?;
        file.seek(io::SeekFrom::End(0))?;
        let mut finished = BTreeMap::new();
        for line in text[..whole].split(|byte| *byte == b'\n') {
            if let Ok(Line { name, found }) = serde_json::from_slice(line) {
                finished.insert(name, found);
            }
        }
        Ok(Journal {
            finished,
            file: Some((path, file)),
        })
    }

    /// A folder, and a name without a `/`, that are its own; none if it forgets.
    pub(crate) fn place(&self) -> Option<PathBuf> {
        let (path, _) = self.file.as_ref()?;
        Some(path.with_extension(""))
    }

    /// What was found under a name, if it was finished.
    pub(crate) fn found<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let found = self.finished.get(name)?;
        serde_json::from_value(found.clone()).ok()
    }

    /// Writes down that something is finished, and what was found.
    pub(crate) fn finish(&mut self, name: &str, found: &impl Serialize) -> Result<(), Failure> {
        let found = serde_json::to_value(found)?;
        if let Some((_, file)) = &mut self.file {
            let line = Line {
                name: name.to_owned(),
                found: found.clone(),
            };
            let mut line = serde_json::to_vec(&line)?;
            line.push(b'\n');
            file.write_all(&line)?;
            file.sync_data()?;
        }
        self.finished.insert(name.to_owned(), found);
        Ok(())
    }

    /// Removes it: what it was for has been recorded.
    pub(crate) fn remove(self) -> io::Result<()> {
        let Some((path, _held)) = self.file else {
            return Ok(());
        };
        fs::remove_file(&path)?;
        // The folder goes with the last of them.
        let _ = path.parent().map(fs::remove_dir);
        Ok(())
    }
}

/// Changes with this program, with the peer's sources and with the options.
fn fingerprint(options: &Options) -> Result<u64, Failure> {
    let program = fs::read("/proc/self/exe")?;
    let peer = KafkaStreams::fingerprint()?;
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    Ok(hasher.hash_one((program, peer, format!("{options:?}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_finished_is_there_again_and_a_line_cut_short_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal").join("p1-0.jsonl");
        let mut journal = Journal::at(path.clone()).unwrap();
        journal.finish("one", &1).unwrap();
        journal.finish("two", &[2]).unwrap();
        drop(journal);
        // As a SIGKILL in the middle of a write leaves it.
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() - 1]).unwrap();

        let mut journal = Journal::at(path.clone()).unwrap();
        assert_eq!(journal.found("one"), Some(1));
        assert_eq!(journal.found::<[u8; 1]>("two"), None);
        journal.finish("two", &[3]).unwrap();
        drop(journal);
        let journal = Journal::at(path.clone()).unwrap();
        assert_eq!(journal.found("one"), Some(1));
        assert_eq!(journal.found("two"), Some([3]));
        journal.remove().unwrap();
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn one_run_at_a_time_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p1-0.jsonl");
        let held = Journal::at(path.clone()).unwrap();
        let refused = Journal::at(path.clone()).err().unwrap().to_string();
        assert!(refused.contains("is held by another run"), "{refused}");
        drop(held);
        Journal::at(path).unwrap();
    }
}
