//! How soon a run that has just been started puts something out: exec to the first committed output, on the embedded log.
//!
//! What a start from a snapshot adds is measured by `recovery` and `restart`.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Fetched, Log, NewTopic, RecordBatch, SinkRecord, TopicPartition};
use tiderace::{BuildError, Config, Engine, StreamsBuilder, Topic, Topology};

use super::process::Part;
use super::{Context, Effort, Figure, Goal, Report, Table};
use crate::Failure;

const INPUT: Topic<u64, u64> = Topic::bytes("numbers");
/// Each step of the wide topology has a sink; the small one has the first.
const SINKS: [&str; 10] = [
    "out-0", "out-1", "out-2", "out-3", "out-4", "out-5", "out-6", "out-7", "out-8", "out-9",
];

/// Records of the input.
const RECORDS: u64 = 1_000;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Shape {
    /// A process that does nothing: what starting one takes.
    Nothing,
    /// From one topic to another.
    Smallest,
    /// Ten counts, each behind an exchange, with a sink each.
    Wide,
}

/// A run on the embedded log in a directory, until it is killed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Start {
    shape: Shape,
    directory: PathBuf,
}

impl Start {
    /// The process; an engine follows its input.
    ///
    /// # Errors
    /// The run fails.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let topology = match self.shape {
            Shape::Nothing => return Ok(()),
            Shape::Smallest => smallest()?,
            Shape::Wide => wide()?,
        };
        let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(&self.directory)?);
        let config = Config {
            follow: true,
            data_dir: self.directory.clone(),
            ..Config::default()
        };
        Engine::start(topology, log, &config)?.join()?;
        Ok(())
    }
}

fn smallest() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("smallest");
    let [sink, ..] = SINKS;
    builder.stream(INPUT).to(Topic::<u64, u64>::bytes(sink));
    builder.build()
}

fn wide() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("wide");
    let numbers = builder.stream(INPUT);
    for (step, sink) in (0..).zip(SINKS) {
        numbers
            .group_by(move |number| number.rotate_left(step))
            .count()
            .to(Topic::<u64, u64>::bytes(sink));
    }
    builder.build()
}

/// Runs the benchmark.
pub(super) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let starts = match with.options.effort() {
        Effort::Quick => 1,
        Effort::Usual => 11,
        Effort::Full => 31,
    };
    std::fs::create_dir_all(&with.options.dir)?;
    let mut rows = Vec::new();
    for (name, shape) in [
        ("a process that does nothing, to its end", Shape::Nothing),
        ("from one topic to another", Shape::Smallest),
        ("ten counts behind exchanges, ten sinks", Shape::Wide),
    ] {
        let mut samples = Vec::new();
        for _ in 0..starts {
            let directory = TempDir::with_prefix_in("startup-", &with.options.dir)?;
            let took = match shape {
                Shape::Nothing => nothing(directory.path())?,
                _ => first_output(shape, directory.path())?,
            };
            samples.push(took.as_secs_f64() * 1e3);
        }
        with.progress.say(&format!("{name}: {starts} starts"));
        rows.push((name, samples));
    }
    let goals = [None, Some(50.0), Some(60.0)];
    Ok(Report {
        load: format!(
            "{RECORDS} records lie in one partition of the embedded log; exec to the first output that a reader of committed \
             records sees, commits every 100 ms"
        ),
        tables: vec![Table {
            title: "started".to_owned(),
            columns: vec!["first output, ms".to_owned()],
            rows: rows
                .iter()
                .map(|(name, samples)| ((*name).to_owned(), vec![samples.clone()]))
                .collect(),
        }],
        figures: rows
            .into_iter()
            .zip(goals)
            .filter_map(|((name, samples), goal)| {
                Some(Figure {
                    name: format!("{name}, exec to the first output, ms"),
                    samples,
                    goal: Some(Goal::AtMost(goal?)),
                })
            })
            .collect(),
        void: None,
    })
}

fn part(shape: Shape, directory: &Path) -> Part {
    Part::Startup(Start {
        shape,
        directory: directory.to_owned(),
    })
}

fn nothing(directory: &Path) -> Result<Duration, Failure> {
    let exec = Instant::now();
    let status = part(Shape::Nothing, directory).spawn()?.wait()?;
    if !status.success() {
        return Err(format!("the process ended with {status}").into());
    }
    Ok(exec.elapsed())
}

fn first_output(shape: Shape, directory: &Path) -> Result<Duration, Failure> {
    let log = EmbeddedLog::open(directory)?;
    for topic in SINKS.into_iter().chain([INPUT.name()]) {
        log.create_topic(&NewTopic {
            name: topic.to_owned(),
            partitions: 1,
            config: BTreeMap::new(),
        })?;
    }
    let mut writer = log.writer(INPUT.name())?;
    for number in 0..RECORDS {
        writer.send(&SinkRecord {
            topic: INPUT.name(),
            partition: 0,
            timestamp: 1_593_561_600_000 + number as i64,
            key: Some(&number.to_be_bytes()),
            value: Some(&number.to_be_bytes()),
            headers: &[],
        })?;
    }
    writer.flush()?;
    let [sink, ..] = SINKS;
    let mut source = log.source(&[(TopicPartition::new(sink, 0), 0)], 1 << 20)?;
    let exec = Instant::now();
    let mut process = part(shape, directory).spawn()?;
    while exec.elapsed() < PATIENCE {
        if let Fetched::Batch(batch) = source.poll(Duration::from_micros(200))? {
            let took = exec.elapsed();
            process.kill()?;
            process.wait()?;
            return is_right(shape, &*batch).map(|()| took);
        }
        if let Some(status) = process.try_wait()? {
            return Err(format!("the run ended with {status}").into());
        }
    }
    process.kill()?;
    process.wait()?;
    Err(format!("no output after {PATIENCE:?}").into())
}

/// Whether the first output is that of the first record: itself, or the count of its number.
fn is_right(shape: Shape, batch: &dyn RecordBatch) -> Result<(), Failure> {
    let record = batch.get(0);
    let number =
        |of: Option<&[u8]>| of.and_then(|of| Some(u64::from_be_bytes(of.try_into().ok()?)));
    let expected = match shape {
        Shape::Wide => (Some(0), Some(1)),
        _ => (Some(0), Some(0)),
    };
    let is = (number(record.key), number(record.value));
    if is == expected {
        return Ok(());
    }
    Err(format!("the first output is {is:?}, not {expected:?}").into())
}
