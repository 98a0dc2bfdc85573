//! Fetches the broker's jars with Maven and formats empty data folders, once per target folder. Processes
//! that come at the same time wait for the first: a lock file guards both.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::role::ROLES;

const VERSION: &str = "4.3.0";
const POM: &str = include_str!("../../pom.xml");

/// Where the jars and the formatted templates of data folders lie.
pub(super) struct Installation {
    pub(super) jars: PathBuf,
    pub(super) template: PathBuf,
}

/// Fetches what is missing; `Err` says which tool is.
pub(super) fn libraries() -> Result<Installation, String> {
    for (tool, argument) in [("java", "-version"), ("mvn", "-version")] {
        let found = Command::new(tool)
            .arg(argument)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        // Only a tool that cannot be started is missing; `mvn -version` costs half a second, so it is asked
        // for only where jars are still to be fetched.
        if tool == "mvn" && folder().join("jars").is_dir() {
            break;
        }
        if !found.is_ok_and(|status| status.success()) {
            return Err(format!("`{tool}` does not run"));
        }
    }
    let folder = folder();
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let lock = File::create(folder.join("lock")).expect("the target folder can be written");
    lock.lock().expect("the target folder takes locks");
    let installation = Installation {
        jars: folder.join("jars"),
        template: folder.join("templates"),
    };
    if !installation.jars.is_dir() {
        fetch(&folder, &installation.jars)?;
    }
    if !installation.template.is_dir() {
        format(&folder, &installation);
    }
    Ok(installation)
}

/// `TARGET/kafka-VERSION`, in the target folder that the running test lies in.
fn folder() -> PathBuf {
    crate::target::folder().join(format!("kafka-{VERSION}"))
}

fn fetch(folder: &Path, jars: &Path) -> Result<(), String> {
    let pom = folder.join("pom.xml");
    fs::write(&pom, POM).expect("the target folder can be written");
    let partial = folder.join("jars.partial");
    let output = Command::new("mvn")
        .args([
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
        ])
        .arg(format!("-DoutputDirectory={}", partial.display()))
        .arg("-f")
        .arg(&pom)
        .output()
        .map_err(|error| format!("`mvn` does not run: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "Maven cannot fetch Kafka: {}",
            String::from_utf8_lossy(&output.stdout).trim()
        ));
    }
    fs::rename(partial, jars).expect("both lie in the target folder");
    Ok(())
}

/// Formatting costs a second of Java, so every broker starts from a copy of what was formatted once.
fn format(folder: &Path, installation: &Installation) {
    let partial = folder.join("template.partial");
    let _ = fs::remove_dir_all(&partial);
    for role in ROLES {
        let properties = role.file(folder);
        let data = partial.join(role.name);
        fs::write(&properties, (role.properties)(&data, [1, 2, 3]))
            .expect("the target folder can be written");
        let output = Command::new("java")
            .args(["-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN", "-cp"])
            .arg(format!("{}/*", installation.jars.display()))
            .args(["kafka.tools.StorageTool", "format"])
            .args(["-t", "dGlkZXJhY2UtdGVzdHMtMQ", "-c"])
            .arg(&properties)
            .output()
            .expect("java runs");
        assert!(
            output.status.success(),
            "Kafka's storage tool: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    fs::rename(partial, &installation.template).expect("both lie in the target folder");
}
