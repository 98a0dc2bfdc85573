//! Where a pipeline under test runs: a directory and a log, embedded or a broker of its own. Reads what is
//! committed there.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, PartitionOffsets, TopicPartition};
use tiderace_pipelines::read::read_partition;
use tiderace_testing::kafka::{Kafka, Tail};

use crate::command::{Ended, Following, Place};
use crate::rows::{Row, Rows};

/// The topics that the pipeline writes.
pub(crate) const OUTPUTS: [&str; 2] = ["rides-per-zone", "rides-per-zone-late"];

/// Rides out of order by more than the windows wait, so that some come late.
pub(crate) const DISORDERED: &str = "--grace 10s --disorder 90s --seed 3";

/// How long a test waits for output before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the embedded log is looked at.
const GLANCE: Duration = Duration::from_millis(2);

/// A directory and a log in which the command runs.
pub(crate) struct Site {
    place: Place,
    broker: Option<Kafka>,
}

impl Site {
    /// In an embedded log.
    pub(crate) fn embedded() -> Self {
        Site {
            place: Place::new(),
            broker: None,
        }
    }

    /// In an embedded log, with another build of the command.
    pub(crate) fn of_program(program: PathBuf) -> Self {
        Site {
            place: Place::of_program(program),
            broker: None,
        }
    }

    /// On a broker of its own, as topics have the same names in every test; `None` where there is no Java.
    pub(crate) fn kafka() -> Option<Self> {
        Some(Site {
            place: Place::new(),
            broker: Some(Kafka::start()?),
        })
    }

    /// On a broker of its own that keeps its partitions when it is paused.
    pub(crate) fn kafka_to_pause() -> Option<Self> {
        Some(Site {
            place: Place::new(),
            broker: Some(Kafka::start_to_pause()?),
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.broker.is_some() {
            "Kafka"
        } else {
            "the embedded log"
        }
    }

    /// The broker of a site on Kafka.
    pub(crate) fn broker(&self) -> &Kafka {
        self.broker.as_ref().expect("a site on Kafka")
    }

    fn line(&self, line: &str) -> String {
        match &self.broker {
            Some(broker) => format!("{line} --brokers {}", broker.bootstrap()),
            None => line.to_owned(),
        }
    }

    fn pipeline(&self, options: &str) -> String {
        let create = if self.broker.is_some() {
            "--create-topics"
        } else {
            ""
        };
        self.line(&format!("rides-per-zone {create} {options}"))
    }

    /// Runs one of the tools to its end.
    pub(crate) fn tool(&self, line: &str) -> Ended {
        self.place.run(&self.line(line))
    }

    /// Sends lines to a topic.
    pub(crate) fn produce(&self, topic: &str, lines: &str) {
        self.place
            .run_with(&self.line(&format!("produce {topic}")), lines)
            .ok();
    }

    /// Runs the pipeline to its end.
    pub(crate) fn run(&self, options: &str) -> Ended {
        self.place.run(&self.pipeline(options))
    }

    /// Starts the pipeline.
    pub(crate) fn start(&self, options: &str) -> Following {
        self.place.start(&self.pipeline(options))
    }

    /// Creates the topics that the pipeline writes.
    pub(crate) fn create_outputs(&self) {
        for topic in OUTPUTS {
            self.tool(&format!(
                "topics create {topic} --partitions 4 --config retention.ms=-1"
            ))
            .ok();
        }
    }

    /// Empties the topics that the pipeline writes.
    pub(crate) fn forget_outputs(&self) {
        for topic in OUTPUTS {
            self.tool(&format!("topics delete {topic}")).ok();
        }
        self.create_outputs();
    }

    /// What a topic holds, committed records only.
    pub(crate) fn rows(&self, topic: &str) -> Rows {
        match &self.broker {
            Some(broker) => broker
                .read_committed(topic)
                .into_iter()
                .map(|partition| partition.into_iter().map(Row::from).collect())
                .collect(),
            None => self.embedded_rows(topic),
        }
    }

    /// What the pipeline wrote.
    pub(crate) fn outputs(&self) -> Vec<Rows> {
        OUTPUTS.map(|topic| self.rows(topic)).into()
    }

    /// Where the embedded log and the state lie.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.place.path().join("tiderace-data")
    }

    fn embedded_rows(&self, topic: &str) -> Rows {
        let log = EmbeddedLog::open_read_only(self.data_dir()).unwrap();
        let partitions = log.topic(topic).unwrap().unwrap().partitions;
        let read = |(number, offsets): (usize, &PartitionOffsets)| {
            let partition = TopicPartition::new(topic, number as u32);
            let mut rows = Vec::new();
            let _ = read_partition(
                &log,
                &partition,
                offsets.first,
                offsets.end,
                &|| true,
                &mut |batch, index| {
                    rows.push(Row::of(batch, index));
                    ControlFlow::Continue(())
                },
            )
            .unwrap();
            rows
        };
        partitions.iter().enumerate().map(read).collect()
    }

    /// None where there is no log or no topic yet.
    fn embedded_count(&self, topic: &str) -> u64 {
        let Ok(log) = EmbeddedLog::open_read_only(self.data_dir()) else {
            return 0;
        };
        let partitions = log.topic(topic).unwrap().map(|of| of.partitions);
        let held = |of: &PartitionOffsets| (of.end - of.first) as u64;
        partitions.iter().flatten().map(held).sum()
    }

    /// Counts the committed records of a topic from its start on.
    pub(crate) fn progress(&self, topic: &'static str) -> Progress<'_> {
        Progress {
            tail: self.broker.as_ref().map(|broker| broker.tail(topic)),
            site: self,
            topic,
        }
    }
}

/// Counts committed records of a topic while they come.
pub(crate) struct Progress<'a> {
    site: &'a Site,
    topic: &'static str,
    tail: Option<Tail>,
}

impl Progress<'_> {
    /// How many there are now.
    pub(crate) fn seen(&mut self) -> u64 {
        match &mut self.tail {
            Some(tail) => tail.seen(),
            None => self.site.embedded_count(self.topic),
        }
    }

    /// Waits until there are `wanted`, or the process has ended; the number then.
    pub(crate) fn wait(&mut self, wanted: u64, process: &mut Following) -> u64 {
        let started = Instant::now();
        loop {
            let ended = process.has_ended();
            let seen = self.seen();
            if seen >= wanted || ended {
                return seen;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{seen} of {wanted} records in topic {}",
                self.topic
            );
            std::thread::park_timeout(GLANCE);
        }
    }
}

/// Says what a test did on stderr, also when it passes.
pub(crate) fn say(line: &str) {
    // `eprintln!` is held back by the test harness.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "exactly once: {line}").unwrap();
}
