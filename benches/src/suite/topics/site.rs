//! Where the runs of a comparison take place: a broker or the embedded log, with the input in it.

use std::path::PathBuf;

use tempfile::TempDir;
use tiderace_benches::measure::nanoseconds_each;
use tiderace_benches::peers::KafkaStreams;
use tiderace_testing::kafka::Kafka;

use super::compare::{COMMIT_MS, Sample, Sides};
use super::input::Input;
use super::outputs::summary;
use super::place::Place;
use super::plan::{Turn, Who, records};
use super::side::{By, Job};
use super::warm_up::warm_up;
use super::workload::Workload;
use crate::Failure;
use crate::suite::{Context, Options};

/// A broker, input and peer, made when the first run needs them and gone with it.
pub(super) struct Site {
    workload: Workload,
    place: Place,
    input: Input,
    peer: Option<KafkaStreams>,
    /// How the names of its topics and applications begin.
    prefix: String,
    runs: u64,
    _broker: Option<Kafka>,
    _directory: Directory,
}

/// Removed when dropped.
enum Directory {
    New(TempDir),
    /// One that a run which was cut has left to the next.
    Kept(PathBuf),
}

impl Directory {
    fn open(options: &Options, kept: Option<PathBuf>) -> Result<Self, Failure> {
        Ok(match kept {
            Some(path) => {
                if path.exists() {
                    std::fs::remove_dir_all(&path)?;
                }
                std::fs::create_dir_all(&path)?;
                Directory::Kept(path)
            }
            None => {
                std::fs::create_dir_all(&options.dir)?;
                Directory::New(TempDir::with_prefix_in("topics-", &options.dir)?)
            }
        })
    }

    fn path(&self) -> PathBuf {
        match self {
            Directory::New(directory) => directory.path().to_owned(),
            Directory::Kept(path) => path.clone(),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Directory::Kept(path) = self {
            // The next run removes what cannot be removed now.
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

impl Site {
    /// Starts what is needed and writes the input. `kept` is the folder of a run that may have been cut; what that
    /// one has left there and on the broker is removed.
    pub(super) fn open(
        workload: Workload,
        options: &Options,
        kept: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let peer = match options.with_streams() {
            true => Some(KafkaStreams::build()?),
            false => None,
        };
        let name = kept.as_ref().and_then(|path| path.file_name());
        let name = name.map_or(workload.name().into(), |name| name.to_string_lossy());
        let name = format!("tiderace-bench-{name}");
        let directory = Directory::open(options, kept.clone())?;
        let broker = match (&options.brokers, options.embedded()) {
            (None, false) => {
                Some(Kafka::start_measured().ok_or("a broker needs Java 17 and Maven")?)
            }
            _ => None,
        };
        let started = broker.as_ref().map(|broker| broker.bootstrap().to_owned());
        let place = Place {
            directory: directory.path(),
            brokers: options.brokers.clone().or(started),
        };
        if kept.is_some() {
            place.delete(&name)?;
        }
        // A broker deletes topics some time later, so names are not used again.
        let prefix = format!("{name}-{}", std::process::id());
        let topic = format!("{prefix}-in");
        let input = Input::write(&place, topic, workload, records(workload, options))?;
        Ok(Site {
            workload,
            place,
            input,
            peer,
            prefix,
            runs: 0,
            _broker: broker,
            _directory: directory,
        })
    }

    /// Runs the broker in, if it was started for this.
    pub(super) fn warm_up(&self, with: &Context<'_>) -> Result<(), Failure> {
        let of = (self.workload, &self.input);
        warm_up(with, &self.place, of, &self.prefix)
    }

    /// Deletes its topics.
    pub(super) fn close(self) -> Result<(), Failure> {
        self.place.delete(&self.prefix)
    }
}

impl Sides for Site {
    fn run(&mut self, turn: Turn) -> Result<Sample, Failure> {
        self.runs += 1;
        let output = format!("{}-{}", self.prefix, self.runs);
        let records = self.input.records * self.workload.units_a_record();
        let (cpu, wall, memory, units) = match turn.who {
            Who::Streams(setting) => {
                let peer = self.peer.as_ref().ok_or("Kafka Streams is no side here")?;
                let of = (self.workload, &self.input);
                let measured = setting.run(peer, &self.place, of, &output)?;
                let half = measured.second_half;
                (
                    half.cpu,
                    half.wall,
                    measured.peak_memory,
                    measured.records / 2,
                )
            }
            Who::Engine | Who::Loop => {
                let engine = By::Engine {
                    workers: turn.workers(),
                    exactly_once: true,
                };
                let job = Job {
                    workload: self.workload,
                    place: self.place.clone(),
                    input: self.input.topic.clone(),
                    output: output.clone(),
                    commit_ms: COMMIT_MS,
                    follow: None,
                    by: if turn.who == Who::Loop {
                        By::Loop { exactly_once: true }
                    } else {
                        engine
                    },
                };
                let used = job.run(if turn.pinned { 1 } else { usize::MAX })?;
                (used.cpu, used.wall, used.peak_memory, records)
            }
        };
        let written = summary(&self.place, self.workload, &output, self.input.closing)?;
        self.place.delete(&output)?;
        Ok(Sample {
            cpu_ns: nanoseconds_each(cpu, units),
            wall_ns: nanoseconds_each(wall, units),
            memory: memory as f64 / f64::from(1 << 20),
            input_bytes: self.input.bytes,
            written,
        })
    }
}
