//! Apache Kafka Streams 4.3.0 as a process that does one workload and says what it cost.
//!
//! What it computes is byte for byte what the engine's side of a workload writes, the order of keys apart. One thing the
//! input has to see to: Kafka Streams closes a window only when a later record comes in the same partition, and has
//! no end of input. For [`Workload::Windows`] the input must therefore end, in every partition, with one closing
//! record behind all others: a ride of any zone whose pickup is at least a window (10 s) later than the latest in its
//! partition, and not in the future (a broker refuses what is over an hour ahead of its clock). The closing records
//! count as records of the input. Their own windows stay open and are never written; an engine that closes windows at
//! the end of a bounded input writes them, so windows that begin with the closing records are left out of a comparison.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;

use super::maven::{self, BuildError};
use crate::measure::Cost;

/// The heap's limit: the JVM's own is a quarter of the machine, which makes its memory a property of the machine. All
/// else is left to the JVM, such as the collector (serial where it sees one core, G1 on two).
const HEAP: &str = "-Xmx2g";

/// What is computed; topics, keys and values are those of `benches/peers/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// P1: pass-through with a filter.
    Filter,
    /// P2: rides per zone in tumbling windows of 10 s, final results. The module says how its input must end.
    Windows,
    /// P3: running count by key.
    Counts,
    /// P4: word count of lines through a repartition topic.
    Words,
}

/// `processing.guarantee`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guarantee {
    /// `exactly_once_v2`.
    ExactlyOnce,
    /// `at_least_once`.
    AtLeastOnce,
}

/// Where state is kept; the changelog topics are written with either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Store {
    /// RocksDB, the default of Kafka Streams.
    RocksDb,
    /// The heap.
    InMemory,
}

/// How a process is a member of its consumer group, which decides how soon another one may take its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Membership {
    /// The default: a new member each time. One that was killed is waited for, 45 s (`session.timeout.ms`).
    Dynamic,
    /// `group.instance.id`, with the shortest session time-out that a broker grants by default, 6 s: a process takes
    /// the place of the one before at once.
    Static,
}

/// One run. The input may still grow while it runs; input and output must exist.
#[derive(Clone, Debug)]
pub struct Run {
    /// What to compute.
    pub workload: Workload,
    /// `HOST:PORT` of a broker.
    pub brokers: String,
    /// Topic to read, from its beginning.
    pub input: String,
    /// Topic to write.
    pub output: String,
    /// The group's id and the prefix of internal topics. A new one for every run: with a used one the run goes on
    /// behind the committed offsets.
    pub application_id: String,
    /// Folder of the stores; made where it is missing.
    pub state_directory: PathBuf,
    /// `num.stream.threads`.
    pub threads: usize,
    /// What a crash may do to the output.
    pub guarantee: Guarantee,
    /// Where state is kept.
    pub store: Store,
    /// `statestore.cache.max.bytes`: 10 MiB is the default, 0 sends every update on.
    pub cache_bytes: u64,
    /// `commit.interval.ms`.
    pub commit_interval: Duration,
    /// `linger.ms` of its producers: 100 ms is the default of Kafka Streams.
    pub linger: Duration,
    /// How soon another process may take its place.
    pub membership: Membership,
    /// Records of the input, closing records included; of [`Workload::Words`] the words of all its lines. At least two.
    /// The run ends when as many are committed.
    pub records: u64,
    /// The one core that it is kept to, by `taskset`; all that this process may use where there is none.
    pub core: Option<usize>,
}

/// What a run cost.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Records, or words, that were processed and committed.
    pub records: u64,
    /// From the start of the JVM to the last commit. CPU times come in steps of 10 ms.
    pub whole: Cost,
    /// From the moment half of the records were processed to the last commit: without start and, in runs of 5 M records
    /// or more, without warm-up.
    pub second_half: Cost,
    /// From the start of the JVM to the first record.
    pub start: Duration,
    /// The most memory the process had resident, in bytes.
    pub peak_memory: u64,
}

/// Why a run has no cost.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A program cannot be started.
    #[error("`{program}` does not run: {source} (apt-get install {package})")]
    Start {
        /// The program.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
        /// What happened.
        source: io::Error,
    },
    /// It gave up. Its output may be incomplete; another run needs another application id and output topic.
    #[error("Kafka Streams, {workload:?} as `{application_id}`, ended with {status}: {said}")]
    Failed {
        /// What it computed.
        workload: Workload,
        /// The run's id.
        application_id: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to stderr.
        said: String,
    },
    /// It succeeded and its last line is not what it costs, which is a fault of the peer's program.
    #[error("Kafka Streams says `{line}`, which is not a cost: {source}")]
    Line {
        /// The line.
        line: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// The peer, ready to run.
#[derive(Clone, Debug)]
pub struct KafkaStreams {
    class_path: OsString,
}

impl KafkaStreams {
    /// Builds the peer's program if it is not built yet: seconds, and tens of megabytes from Maven's repository the
    /// first time.
    ///
    /// # Errors
    /// A tool is missing, or Maven fails; see [`BuildError`].
    pub fn build() -> Result<Self, BuildError> {
        let class_path = maven::class_path()?;
        Ok(KafkaStreams { class_path })
    }

    /// Changes with the peer's sources, and needs no tool.
    ///
    /// # Errors
    /// The sources cannot be read.
    pub fn fingerprint() -> Result<u64, BuildError> {
        maven::fingerprint_of_sources()
    }

    /// Runs it to its end. It gives up by itself when nothing moves for a minute.
    ///
    /// # Errors
    /// It cannot be started or it gives up; see [`RunError`].
    pub fn run(&self, run: &Run) -> Result<Measured, RunError> {
        let (mut command, unstarted) = self.command(run);
        let output = command.output().map_err(unstarted)?;
        if !output.status.success() {
            return Err(RunError::Failed {
                workload: run.workload,
                application_id: run.application_id.clone(),
                status: output.status,
                said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        measured(&String::from_utf8_lossy(&output.stdout))
    }

    /// Starts it and leaves it running.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, run: &Run) -> Result<Started, RunError> {
        let (mut command, unstarted) = self.command(run);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().map_err(unstarted)?;
        Ok(Started { child })
    }

    /// The command line, and what it means that it cannot be started.
    fn command(&self, run: &Run) -> (Command, impl FnOnce(io::Error) -> RunError + use<>) {
        // Whoever kills this process shall not leave the peer running: it would disturb what is measured next.
        let (program, package) = ("setpriv", "util-linux");
        let mut command = Command::new(program);
        command.args(["--pdeathsig", "KILL"]);
        if let Some(core) = run.core {
            command.args(["taskset", "--cpu-list", &core.to_string()]);
        }
        command.arg("java");
        command.arg(HEAP).arg("-cp").arg(&self.class_path);
        command.arg("tiderace.peer.Main").args(options(run));
        command.stdin(Stdio::null());
        let unstarted = move |source| RunError::Start {
            program,
            package,
            source,
        };
        (command, unstarted)
    }
}

/// A run under way; it is killed when dropped.
#[derive(Debug)]
pub struct Started {
    child: Child,
}

impl Started {
    /// How it ended and what it said, if it has, which it does by itself only when something fails or all records are
    /// committed.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ended(&mut self) -> io::Result<Option<String>> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(None);
        };
        let mut said = String::new();
        // A line or two, which wait in the pipe.
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        Ok(Some(format!("{status}: {}", said.trim())))
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn options(run: &Run) -> Vec<OsString> {
    let workload = match run.workload {
        Workload::Filter => "p1",
        Workload::Windows => "p2",
        Workload::Counts => "p3",
        Workload::Words => "p4",
    };
    let guarantee = match run.guarantee {
        Guarantee::ExactlyOnce => "exactly_once_v2",
        Guarantee::AtLeastOnce => "at_least_once",
    };
    let store = match run.store {
        Store::RocksDb => "rocksdb",
        Store::InMemory => "in-memory",
    };
    let membership = match run.membership {
        Membership::Dynamic => "dynamic",
        Membership::Static => "static",
    };
    let options: [(&str, OsString); 14] = [
        ("--workload", workload.into()),
        ("--brokers", run.brokers.clone().into()),
        ("--input", run.input.clone().into()),
        ("--output", run.output.clone().into()),
        ("--application-id", run.application_id.clone().into()),
        ("--state-dir", run.state_directory.clone().into()),
        ("--threads", run.threads.to_string().into()),
        ("--guarantee", guarantee.into()),
        ("--store", store.into()),
        ("--cache-bytes", run.cache_bytes.to_string().into()),
        (
            "--commit-interval-ms",
            run.commit_interval.as_millis().to_string().into(),
        ),
        ("--linger-ms", run.linger.as_millis().to_string().into()),
        ("--membership", membership.into()),
        ("--records", run.records.to_string().into()),
    ];
    options
        .into_iter()
        .flat_map(|(name, value)| [name.into(), value])
        .collect()
}

/// The line that the program ends with.
#[derive(Deserialize)]
struct Line {
    records: u64,
    wall_s: f64,
    cpu_s: f64,
    wall_second_half_s: f64,
    cpu_second_half_s: f64,
    start_s: f64,
    rss_peak_kb: u64,
}

fn measured(stdout: &str) -> Result<Measured, RunError> {
    let text = stdout.lines().last().unwrap_or_default();
    let line: Line = serde_json::from_str(text).map_err(|source| RunError::Line {
        line: text.to_owned(),
        source,
    })?;
    let cost = |cpu: f64, wall: f64| Cost {
        cpu: Duration::from_secs_f64(cpu.max(0.0)),
        wall: Duration::from_secs_f64(wall.max(0.0)),
    };
    Ok(Measured {
        records: line.records,
        whole: cost(line.cpu_s, line.wall_s),
        second_half: cost(line.cpu_second_half_s, line.wall_second_half_s),
        start: Duration::from_secs_f64(line.start_s.max(0.0)),
        peak_memory: line.rss_peak_kb * 1_024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_what_it_cost() {
        let line = r#"{"records":10,"wall_s":3.5,"cpu_s":4.25,"wall_second_half_s":0.5,"cpu_second_half_s":0.75,"start_s":2.125,"rss_peak_kb":300000}"#;
        let cost = measured(&format!("something a library says\n{line}\n")).unwrap();
        assert_eq!((cost.records, cost.peak_memory), (10, 307_200_000));
        assert_eq!(cost.whole.wall, Duration::from_millis(3_500));
        assert_eq!(cost.whole.cpu, Duration::from_millis(4_250));
        assert_eq!(cost.second_half.wall, Duration::from_millis(500));
        assert_eq!(cost.second_half.cpu, Duration::from_millis(750));
        assert_eq!(cost.start, Duration::from_millis(2_125));
    }

    #[test]
    fn a_line_that_is_no_cost_is_shown() {
        let error = measured("all went well").unwrap_err();
        assert!(error.to_string().contains("`all went well`"), "{error}");
    }
}
