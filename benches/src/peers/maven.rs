//! Builds the Kafka Streams peer with Maven into the target folder: once for its `pom.xml`, which decides the jars, and
//! once for each change of its sources. Processes that come at the same time wait for the first, by a lock file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tiderace_testing::target;

/// The peer's `pom.xml` and `src/`, in the repository that this was built from.
const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/kafka-streams");
/// The oldest Java that Kafka Streams 4 and the peer run on.
const LEAST_JAVA: u32 = 17;

/// Why a peer cannot be run here.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool is missing; the peer is optional, nothing else needs it.
    #[error(
        "the Kafka Streams peer needs {0} (apt-get install openjdk-17-jdk-headless maven); leave the peer out, or \
         install it"
    )]
    Missing(String),
    /// Maven could not fetch the jars, or the sources do not compile.
    #[error("Maven cannot build the Kafka Streams peer in {PROJECT}: {0}")]
    Maven(String),
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// Builds what is missing and says the class path.
pub(super) fn class_path() -> Result<OsString, BuildError> {
    require_java()?;
    let project = Path::new(PROJECT);
    let folder = target::folder().join("kafka-streams-peer");
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source| BuildError::File { path, source }
    };
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let lock = folder.join("lock");
    let locked = File::create(&lock).and_then(|file| file.lock().map(|()| file));
    let _locked = locked.map_err(at(&lock))?;
    let pom = project.join("pom.xml");
    let jars = folder.join(format!("jars-{:016x}", fingerprint(&[&pom])?));
    let build = folder.join(format!("build-{:016x}", fingerprint_of_sources()?));
    if !jars.is_dir() {
        let partial = folder.join("jars.partial");
        emptied(&partial).map_err(at(&partial))?;
        let output = joined("-DoutputDirectory=", &partial);
        maven(&[
            "dependency:copy-dependencies".into(),
            "-DincludeScope=runtime".into(),
            output,
        ])?;
        fs::rename(&partial, &jars).map_err(at(&jars))?;
    }
    if !build.is_dir() {
        let partial = folder.join("build.partial");
        emptied(&partial).map_err(at(&partial))?;
        maven(&[
            "compiler:compile".into(),
            joined("-Dpeer.directory=", &partial),
        ])?;
        fs::rename(&partial, &build).map_err(at(&build))?;
    }
    let mut class_path = build.join("classes").into_os_string();
    class_path.push(":");
    class_path.push(jars.join("*"));
    Ok(class_path)
}

/// What a build that was broken off left behind must not pass for one that is done.
fn emptied(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn joined(option: &str, path: &Path) -> OsString {
    let mut option = OsString::from(option);
    option.push(path);
    option
}

/// The version is in the list of modules, as is the compiler, which a runtime without one lacks.
fn require_java() -> Result<(), BuildError> {
    let listed = Command::new("java").arg("--list-modules").output();
    let listed = listed.map_err(|_| BuildError::Missing("`java`, which does not run".into()))?;
    let modules = String::from_utf8_lossy(&listed.stdout);
    let version = modules
        .lines()
        .find_map(|line| line.strip_prefix("java.base@"))
        .and_then(|version| version.split(['.', '+', '-']).next()?.parse::<u32>().ok());
    if version.is_none_or(|version| version < LEAST_JAVA) {
        let missing = format!("a `java` of version {LEAST_JAVA} or later");
        return Err(BuildError::Missing(missing));
    }
    if !modules
        .lines()
        .any(|line| line.starts_with("jdk.compiler@"))
    {
        let missing = "a JDK: this `java` is a runtime without a compiler".into();
        return Err(BuildError::Missing(missing));
    }
    Ok(())
}

fn maven(goal: &[OsString]) -> Result<(), BuildError> {
    let output = Command::new("mvn")
        .args(["-q", "-B", "-f", PROJECT])
        .args(goal)
        .output();
    let output = output.map_err(|_| BuildError::Missing("`mvn`, which does not run".into()))?;
    if output.status.success() {
        return Ok(());
    }
    // Maven reports errors on its standard output.
    let said = [output.stdout, output.stderr].concat();
    Err(BuildError::Maven(
        String::from_utf8_lossy(&said).trim().to_owned(),
    ))
}

/// Changes with the peer's programs and with the jars that they use.
pub(super) fn fingerprint_of_sources() -> Result<u64, BuildError> {
    let project = Path::new(PROJECT);
    fingerprint(&[&project.join("pom.xml"), &project.join("src")])
}

/// Changes with the name and the content of every file at or below these paths.
fn fingerprint(paths: &[&Path]) -> Result<u64, BuildError> {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        add(path, &mut hasher).map_err(|source| BuildError::File {
            path: path.to_path_buf(),
            source,
        })?;
    }
    Ok(hasher.finish())
}

fn add(path: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    path.file_name().hash(hasher);
    if !path.is_dir() {
        fs::read(path)?.hash(hasher);
        return Ok(());
    }
    let entries: io::Result<Vec<_>> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect();
    let mut entries = entries?;
    entries.sort();
    entries.iter().try_for_each(|entry| add(entry, hasher))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_changes_with_content_and_with_names() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("A.java");
        fs::write(&source, "class A {}").unwrap();
        let first = fingerprint(&[folder.path()]).unwrap();
        assert_eq!(fingerprint(&[folder.path()]).unwrap(), first);

        fs::write(&source, "class B {}").unwrap();
        let changed = fingerprint(&[folder.path()]).unwrap();
        fs::rename(&source, folder.path().join("B.java")).unwrap();
        let renamed = fingerprint(&[folder.path()]).unwrap();
        assert!(first != changed && changed != renamed && first != renamed);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = fingerprint(&[Path::new("/no/such/pom.xml")]).unwrap_err();
        assert!(
            error.to_string().starts_with("/no/such/pom.xml: "),
            "{error}"
        );
    }
}
