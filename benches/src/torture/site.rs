//! Where a campaign takes place: a directory and an embedded log or a broker, and the command that runs there.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;
use tiderace_testing::kafka::{Kafka, Tail};

use super::Options;
use super::life::Life;
use super::witness::Follower;
use crate::Failure;

/// The topics that the pipeline writes, the results first.
pub(super) const OUTPUTS: [&str; 2] = ["rides-per-zone", "rides-per-zone-late"];
/// Partitions of each of them.
pub(super) const PARTITIONS: usize = 4;

/// What `tiderace check --inputs` found.
#[derive(Deserialize)]
pub(super) struct Checked {
    /// Records that are held of what the epochs came past.
    pub(super) input_records: u64,
    pub(super) faults: Vec<String>,
}

/// A directory and a log.
pub(super) struct Site {
    program: PathBuf,
    directory: PathBuf,
    brokers: Option<String>,
    broker: Option<Kafka>,
}

impl Site {
    /// Opens the place that the options name, and starts the broker that they ask for.
    pub(super) fn open(program: PathBuf, options: &Options) -> Result<Self, Failure> {
        let broker = match options.kafka {
            true => Some(Kafka::start().ok_or("--kafka needs Java 17 and Maven")?),
            false => None,
        };
        let own = broker.as_ref().map(|broker| broker.bootstrap().to_owned());
        Ok(Site {
            program,
            directory: options.dir.clone(),
            brokers: own.or_else(|| options.brokers.clone()),
            broker,
        })
    }

    /// What the log is, for the record.
    pub(super) fn name(&self) -> &'static str {
        match self.brokers {
            Some(_) => "Kafka",
            None => "embedded log",
        }
    }

    /// The broker, where it is the campaign's own.
    pub(super) fn broker(&self) -> Option<&Kafka> {
        self.broker.as_ref()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(line.split_whitespace())
            .arg("--data-dir")
            .arg(&self.directory)
            .stdin(Stdio::null());
        if let Some(brokers) = &self.brokers {
            command.args(["--brokers", brokers]);
        }
        let foreign = |name: &str| name.starts_with("TIDERACE_") || name == "RUST_LOG";
        for (name, _) in std::env::vars().filter(|(name, _)| foreign(name)) {
            command.env_remove(name);
        }
        // Ctrl-C is for the campaign, which knows what to do with its child.
        command.process_group(0);
        command
    }

    /// Where a life's messages go.
    fn messages(&self) -> PathBuf {
        self.directory.join("messages")
    }

    /// Starts the command with these words; its report goes to `report`, its messages to a file.
    pub(super) fn start(&self, line: &str) -> Result<Life, Failure> {
        let mut command = self.command(line);
        let (report, messages) = (self.directory.join("report"), self.messages());
        command
            .stdout(File::create(&report)?)
            .stderr(File::create(&messages)?);
        Ok(Life::begin(command.spawn()?, report, messages))
    }

    /// Runs a tool of the command to its end.
    fn tool(&self, line: &str) -> Result<(), Failure> {
        let output = self.command(line).output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("tiderace {line}: {}", said.trim_end()).into())
    }

    /// Checks what an application has left as an operator would, inputs included.
    pub(super) fn check(&self, application_id: &str) -> Result<Checked, Failure> {
        let line = format!("check {application_id} --inputs --format json");
        let output = self.command(&line).output()?;
        // Faults are said on stdout, whatever else happened is not.
        serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("tiderace {line}: {}", said.trim_end()).into()
        })
    }

    /// Refuses a cluster that holds what the campaign would delete.
    pub(super) fn expect_empty(&self) -> Result<(), Failure> {
        for topic in OUTPUTS {
            if self.tool(&format!("topics describe {topic}")).is_ok() {
                return Err(format!(
                    "there is a topic `{topic}` already, and the campaign would delete it: give it another \
                     --dir, or a cluster of its own"
                )
                .into());
            }
        }
        Ok(())
    }

    /// Makes the topics that the pipeline writes anew, and the epoch log's of an application that has not begun.
    pub(super) fn empty_outputs(&self, application_id: &str) -> Result<(), Failure> {
        let epochs = format!("{application_id}-epochs");
        for topic in OUTPUTS.into_iter().chain([&*epochs]) {
            // One that is not there needs no deleting.
            let _ = self.tool(&format!("topics delete {topic}"));
            let partitions = if topic == epochs { 1 } else { PARTITIONS };
            self.tool(&format!(
                "topics create {topic} --partitions {partitions} --config retention.ms=-1"
            ))?;
        }
        Ok(())
    }

    /// A follower of these topics from their starts, which must exist.
    pub(super) fn follow(&self, topics: &[(&str, usize)]) -> Result<Follower, Failure> {
        Ok(match &self.brokers {
            Some(brokers) => Follower::Kafka(
                topics
                    .iter()
                    .map(|(topic, _)| Tail::follow(brokers, topic))
                    .collect(),
            ),
            None => Follower::embedded(&self.directory, topics)?,
        })
    }
}
