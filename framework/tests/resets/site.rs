//! An application on a log of its own, what it writes, and what it has to have written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{Log, NewTopic, SinkRecord};
use tiderace::runtime::{Reset, Verdict, check_with_inputs};
use tiderace::{Config, Engine, Report, RunError, StreamsBuilder, Topic, Topology};
use tiderace_testing::folders::{copy, temporary};
use tiderace_testing::kafka::Kafka;

use crate::deed::{self, Deed, Ended, Strike, To};
use crate::support::{read_all, valued};

/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Partitions of the input. The outputs have one, so each of their records lies in the order of its partition alone.
const PARTITIONS: u32 = 2;

/// Records of each partition.
const RECORDS: u32 = 10;

/// When all of them are.
const TIME: i64 = 1_593_561_600_000;

/// How many records a start reads behind a reset.
pub(crate) fn read_again(to: &To) -> usize {
    lines(Some(to)).concat().len()
}

/// The lines that are read, by partition: all of them at first, and those behind the offsets of a reset. Partitions
/// that it does not name go on where they are: at their ends.
fn lines(to: Option<&To>) -> Vec<Vec<String>> {
    let from = |partition: u32| match to {
        None | Some(To::Beginning) => 0,
        Some(To::Offsets(offsets)) => {
            let named = offsets.iter().find(|(of, _)| *of == partition);
            named.map_or(RECORDS, |(_, offset)| *offset as u32)
        }
    };
    let of = |partition| (from(partition)..RECORDS).map(move |line| format!("{partition}:{line}"));
    (0..PARTITIONS)
        .map(|partition| of(partition).collect())
        .collect()
}

/// Where an application lives, as a process has to know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Names {
    /// The broker; the embedded log of `directory` without one.
    brokers: Option<String>,
    directory: PathBuf,
    /// What the names of topics and application end with.
    suffix: String,
}

impl Names {
    fn log(&self) -> Arc<dyn Log> {
        match &self.brokers {
            Some(brokers) => Arc::new(KafkaLog::connect(brokers, &BTreeMap::new()).unwrap()),
            None => Arc::new(EmbeddedLog::open(&self.directory).unwrap()),
        }
    }

    fn named(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    /// Copies the lines, and counts those of each partition.
    fn topology(&self) -> Topology {
        let leaked = |name| -> &'static str { self.named(name).leak() };
        let input: Topic<String, String> = Topic::bytes(leaked("lines"));
        let copies: Topic<String, String> = Topic::bytes(leaked("copies"));
        let counts: Topic<String, u64> = Topic::json(leaked("counts"));
        let builder = StreamsBuilder::new("app");
        let lines = builder.stream(input);
        lines.to(copies);
        lines
            .group_by(|line| line[..1].to_owned())
            .count()
            .to(counts);
        builder.build().unwrap()
    }

    fn config(&self) -> Config {
        Config {
            application_id: Some(self.named("app")),
            brokers: self.brokers.clone(),
            data_dir: self.directory.clone(),
            epoch_records: 4,
            snapshot_interval: Duration::ZERO,
            max_restarts: 0,
            ..Config::default()
        }
    }

    /// Runs the application to the end of its input.
    pub(crate) fn run(&self) -> Result<Report, RunError> {
        let running = Engine::start(self.topology(), self.log(), &self.config())?;
        assert!(running.wait(PATIENCE), "the run does not end");
        running.join()
    }

    /// Carries out a reset; the last epoch that it forgets.
    pub(crate) fn reset(&self, to: &To) -> Result<u64, RunError> {
        let to = to.start_point(&self.named("lines"));
        let reset = Reset::prepare(self.log(), &self.config(), &self.named("app"), to)?;
        let last = reset.last_epoch();
        reset.carry_out()?;
        Ok(last)
    }
}

/// A log with the input of an application that has not begun.
pub(crate) struct Site {
    names: Names,
    _directory: TempDir,
}

impl Site {
    pub(crate) fn embedded() -> Site {
        let site = Site::at(temporary(), None, String::new());
        site.fill();
        site
    }

    /// `None` where there is no broker.
    pub(crate) fn kafka() -> Option<Site> {
        let broker = Kafka::shared()?;
        let brokers = Some(broker.bootstrap().to_owned());
        let site = Site::at(temporary(), brokers, broker.fresh_name(""));
        site.fill();
        Some(site)
    }

    fn at(directory: TempDir, brokers: Option<String>, suffix: String) -> Site {
        let names = Names {
            brokers,
            directory: directory.path().to_owned(),
            suffix,
        };
        Site {
            names,
            _directory: directory,
        }
    }

    /// Another one on the embedded log, as this one is now.
    pub(crate) fn copied(&self) -> Site {
        assert!(self.names.brokers.is_none(), "a broker cannot be copied");
        let directory = temporary();
        copy(&self.names.directory, directory.path());
        Site::at(directory, None, self.names.suffix.clone())
    }

    fn fill(&self) {
        let log = self.names.log();
        for (name, partitions) in [("lines", PARTITIONS), ("copies", 1), ("counts", 1)] {
            let topic = NewTopic {
                name: self.names.named(name),
                partitions,
                config: [("retention.ms".to_owned(), "-1".to_owned())].into(),
            };
            log.create_topic(&topic).unwrap();
        }
        let topic = self.names.named("lines");
        let mut writer = log.writer(&topic).unwrap();
        for (partition, lines) in (0..).zip(lines(None)) {
            for line in lines {
                let record = SinkRecord {
                    timestamp: TIME,
                    ..valued(&topic, partition, line.as_bytes())
                };
                writer.send(&record).unwrap();
            }
        }
        writer.flush().unwrap();
    }

    /// Runs the application to the end of its input.
    pub(crate) fn run(&self) -> Report {
        self.names.run().unwrap()
    }

    /// Carries out a reset; the last epoch that it forgets.
    pub(crate) fn reset(&self, to: &To) -> u64 {
        self.names.reset(to).unwrap()
    }

    /// Has something done to the application in a process of its own.
    pub(crate) fn strike(&self, deed: Deed, strike: Option<&Strike>) -> Ended {
        deed::strike(&self.names, deed, strike)
    }

    fn state(&self) -> PathBuf {
        let of = self.names.named("app");
        self.names
            .directory
            .join("state")
            .join(of)
            .join("snapshots")
    }

    /// How many files of snapshots there are.
    pub(crate) fn snapshots(&self) -> u64 {
        std::fs::read_dir(self.state()).unwrap().count() as u64
    }

    pub(crate) fn forget_snapshots(&self) {
        std::fs::remove_dir_all(self.state()).unwrap();
    }

    /// Checks what the application has left as an operator would.
    pub(crate) fn verdict(&self, case: &str) -> Verdict {
        let names = &self.names;
        let verdict =
            check_with_inputs(&*names.log(), &names.directory, &names.named("app")).unwrap();
        assert_eq!(verdict.faults, Vec::<String>::new(), "{case}");
        verdict
    }

    /// There are snapshots, and none of them is of what a reset has forgotten.
    pub(crate) fn has_snapshots_of_now(&self, case: &str) {
        let verdict = self.verdict(case);
        assert!(verdict.snapshots > 0, "{case}: no snapshot");
        let of_before = verdict.gaps.iter().find(|gap| gap.contains(".manifest"));
        assert_eq!(of_before, None, "{case}");
    }

    /// What the application has written: all of the input, and behind that, if twice, what a reset had it read again.
    pub(crate) fn holds(&self, times: usize, to: &To, case: &str) {
        let passages = [lines(None), lines(Some(to))];
        let passages = &passages[..times];
        let copies: Vec<String> = self
            .read("copies")
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        let mut rest = copies.as_slice();
        for lines in passages {
            let of = lines.concat().len().min(rest.len());
            let (passage, behind) = rest.split_at(of);
            for (partition, lines) in lines.iter().enumerate() {
                let prefix = format!("{partition}:");
                let found = passage.iter().filter(|line| line.starts_with(&prefix));
                let found: Vec<_> = found.cloned().collect();
                assert_eq!(found, *lines, "{case}: copies of partition {partition}");
            }
            rest = behind;
        }
        assert_eq!(rest, &[] as &[String], "{case}: more than there should be");

        // Counts grow from one update to the next and begin anew with each passage.
        let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (key, value) in self.read("counts") {
            counts.entry(key).or_default().push(value.parse().unwrap());
        }
        for partition in 0..PARTITIONS as usize {
            let counts = counts.remove(&partition.to_string()).unwrap_or_default();
            let grows = counts.chunk_by(|before, after| before < after);
            let found: Vec<_> = grows.map(|of| of[of.len() - 1]).collect();
            let ends = passages.iter().map(|lines| lines[partition].len() as u64);
            let ends: Vec<_> = ends.filter(|end| *end > 0).collect();
            assert_eq!(found, ends, "{case}: counts of partition {partition}");
        }
    }

    /// Keys and values of an output.
    fn read(&self, name: &str) -> Vec<(String, String)> {
        let records = read_all(&*self.names.log(), &self.names.named(name), 0).unwrap();
        let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default()).unwrap();
        let pairs = records.into_iter();
        pairs
            .map(|record| (text(record.key), text(record.value)))
            .collect()
    }
}
