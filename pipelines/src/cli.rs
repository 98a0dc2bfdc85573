//! The command line as it is written: what each option is called, its default, and the help.

mod audit;
mod rerun;
mod reset;
mod topics;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tiderace::config::parse_duration;
use tiderace_pipelines::load::Order;

pub(crate) use self::audit::{Check, Epochs};
pub(crate) use self::rerun::Replay;
pub(crate) use self::reset::Reset;
pub(crate) use self::topics::{Topics, TopicsAction};
use crate::formats::Format;

const EXIT_CODES: &str = "\
Exit codes:
  0   done                                69  fenced, or broker not reachable
  2   wrong usage                         70  a bug of ours, or a panic in user code
  64  configuration refused               73  cannot write
  65  bad data, checksum or digest        75  in use by another process
  66  input no longer there               77  credentials refused
  130 cut short by Ctrl-C or SIGTERM: what is committed is safe, the next run goes on

Settings come from --properties FILE, then TIDERACE_... in the environment, then --set NAME=VALUE, then an
option's own flag; the later one wins. docs/configuration.md lists them all.
RUST_LOG=tiderace=debug shows more on stderr.";

const EXAMPLES: &str = "\
Examples:
  tiderace rides-per-zone                             the built-in rides, in an embedded log in ./tiderace-data
  tiderace rides-per-zone --window 1h --format json   hourly windows, one JSON object for scripts
  tiderace consume rides-per-zone --limit 5           what it wrote
  tiderace rides-per-zone --brokers 127.0.0.1:9092 --create-topics
  tiderace topics list                                which topics there are

";

/// Stream processing, exactly once unless told otherwise: ready-made pipelines, and the tools around their topics.
#[derive(Parser)]
#[command(
    name = "tiderace",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = format!("{EXAMPLES}{EXIT_CODES}"), max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Count taxi rides per pickup zone and window, joined with the zones' names
    RidesPerZone(Box<RidesPerZone>),
    /// List, create, describe, grow or delete topics
    Topics(Topics),
    /// Send JSON lines from stdin to a topic
    Produce(Produce),
    /// Print a topic's committed records as JSON lines
    Consume(Consume),
    /// Print the topology of a pipeline
    Describe(Describe),
    /// List what an application read, decided and wrote, epoch by epoch
    Epochs(Epochs),
    /// Check an application's epoch log, outputs, snapshots and, with --inputs, inputs
    Check(Check),
    /// Run logged epochs again and print what they wrote, instead of writing it
    Replay(Replay),
    /// Forget an application's state, and begin anew at a chosen point
    Reset(Reset),
}

/// Where the log is, and the layers of settings.
#[derive(Args)]
pub(crate) struct LogOptions {
    /// Directory of the embedded log and of the applications' state [default: ./tiderace-data]
    #[arg(long, value_name = "DIR", help_heading = "Log and settings")]
    pub(crate) data_dir: Option<String>,
    /// Use a Kafka cluster instead of the embedded log
    #[arg(long, value_name = "HOST:PORT,...", help_heading = "Log and settings")]
    pub(crate) brokers: Option<String>,
    /// Read settings from a file in Kafka's properties format
    #[arg(long, value_name = "FILE", help_heading = "Log and settings")]
    pub(crate) properties: Option<PathBuf>,
    /// Set a setting, as often as needed: processing.guarantee=at_least_once, kafka.client.rack=eu-1
    #[arg(
        long = "set",
        value_name = "NAME=VALUE",
        help_heading = "Log and settings"
    )]
    pub(crate) assignments: Vec<String>,
}

/// The form of what goes to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

#[derive(Args)]
#[command(after_help = format!("\
Examples:
  tiderace rides-per-zone                       266 rides; a second run says that nothing is new
  tiderace rides-per-zone --order file --late   as the file has them: see which rides come too late
  tiderace rides-per-zone --data-dir big --scale 40000 --disorder 30s --workers 2
  tiderace rides-per-zone --follow --metrics 127.0.0.1:9090

Reads `rides` and `zones`, writes `rides-per-zone` and, with what came too late, `rides-per-zone-late`.
Without --follow the run ends where the input ended at its start, and closes all windows.

{EXIT_CODES}"))]
pub(crate) struct RidesPerZone {
    /// Length of a window: 30s, 10m, 1h
    #[arg(long, default_value = "10m", value_parser = window)]
    pub(crate) window: Duration,
    /// How long after its end a window takes rides that come late
    #[arg(long, default_value = "1m", value_parser = parse_duration)]
    pub(crate) grace: Duration,
    /// Worker threads [default: 1]
    #[arg(long, value_name = "W")]
    pub(crate) workers: Option<String>,
    /// The longest an epoch stays open before its outputs are committed [default: 100ms]
    #[arg(long, value_name = "DURATION")]
    pub(crate) commit_interval: Option<String>,
    /// Take in at most so many records a second [default: as many as it can]
    #[arg(long, value_name = "RECORDS")]
    pub(crate) rate: Option<String>,
    /// Name of the application, its epoch log and its lock [default: rides-per-zone]
    #[arg(long, value_name = "ID")]
    pub(crate) application_id: Option<String>,
    /// Wait for more input at the end, until Ctrl-C or SIGTERM
    #[arg(long)]
    pub(crate) follow: bool,
    /// Give up the state of a step that this version of the pipeline does not have, as often as needed
    #[arg(long, value_name = "NAME")]
    pub(crate) drop_state: Vec<String>,
    /// Go on behind records of this topic that were deleted before they were read, as often as needed
    #[arg(long, value_name = "TOPIC")]
    pub(crate) accept_loss: Vec<String>,
    /// Say which states of the last snapshot this version goes on with, and which are new or gone; run nothing
    #[arg(long)]
    pub(crate) describe_change: bool,
    /// List the rides that came too late
    #[arg(long)]
    pub(crate) late: bool,
    /// Form of the report on stdout
    #[arg(long, default_value = "text")]
    pub(crate) format: Form,
    /// Serve Prometheus text at /metrics, and /health (on loopback, if HOST is left out)
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) metrics: Option<String>,
    /// Create topics that are missing on the cluster, with retention.ms=-1 (an embedded log always does)
    #[arg(long)]
    pub(crate) create_topics: bool,
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

/// What is loaded into `rides` before the run.
#[derive(Args)]
pub(crate) struct Load {
    /// Load rides from a CSV file of the same 18 columns instead of the built-in ones
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Loading",
        conflicts_with = "no_load"
    )]
    pub(crate) rides: Option<PathBuf>,
    /// Load no rides: take what the topic holds
    #[arg(long, help_heading = "Loading")]
    pub(crate) no_load: bool,
    /// Load the rides N times, each copy 100 s after the one before
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..),
          help_heading = "Loading", conflicts_with = "no_load")]
    pub(crate) scale: u64,
    /// Send rides by pickup time, or as the file has them
    #[arg(long, default_value = "time", value_parser = order, help_heading = "Loading", conflicts_with = "no_load")]
    pub(crate) order: Order,
    /// Shuffle the rides: each is overtaken only by rides less than this later
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration,
          help_heading = "Loading", conflicts_with = "no_load")]
    pub(crate) disorder: Duration,
    /// Seed of the shuffle
    #[arg(
        long,
        value_name = "S",
        default_value_t = 0,
        help_heading = "Loading",
        conflicts_with = "no_load"
    )]
    pub(crate) seed: u64,
}

#[derive(Args)]
#[command(after_help = "\
Each line is a JSON object; only `value` is required:
  {\"value\": \"hello\"}
  {\"key\": \"238\", \"value\": {\"a\": 1}, \"timestamp\": \"2020-07-01T00:10:00Z\", \"headers\": [[\"name\", \"text\"]]}
A string is its UTF-8 bytes, null is none (a tombstone), {\"base64\": \"...\"} is bytes, any other JSON its compact
text. `timestamp` is milliseconds or RFC 3339, now unless given; `partition` follows from the key unless given, as
Kafka chooses it; lines without key take turns. `offset` is passed over: `consume | produce` makes the same bytes.

Lines are sent as they come, and are durable whenever stdin pauses. A bad line ends the command with its number and
exit code 65; the lines before it are kept. The topic must exist.")]
pub(crate) struct Produce {
    /// The topic's name
    pub(crate) topic: String,
    /// Format of keys [default: what the topic's pipeline declares, else string]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) key_format: Option<Format>,
    /// Format of values [default: what the topic's pipeline declares, else string]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) value_format: Option<Format>,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  tiderace consume rides-per-zone --limit 5
  tiderace consume rides --from 2020-07-01T00:30:00Z
  tiderace consume zones --key-format i32 --value-format json
  tiderace consume a | tiderace produce b          the same keys, values, timestamps and headers

By partition, then offset; with --follow as records come. Aborted and open transactions are passed over.")]
pub(crate) struct Consume {
    /// The topic's name
    pub(crate) topic: String,
    /// Begin at this offset of each partition, or at this time (RFC 3339, or a date) [default: the beginning]
    #[arg(long, value_name = "TIME|OFFSET", value_parser = start)]
    pub(crate) from: Option<Start>,
    /// Wait for more at the end, until Ctrl-C or SIGTERM
    #[arg(long)]
    pub(crate) follow: bool,
    /// End after this many records
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Format of keys [default: what the topic's pipeline declares, else string]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) key_format: Option<Format>,
    /// Format of values [default: what the topic's pipeline declares, else string]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) value_format: Option<Format>,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

/// Where consuming begins, or a replay's epochs begin or end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At an offset of each partition; of the replay's, at an epoch.
    Offset(i64),
    /// At the first record of each partition with this timestamp or a later one; of the replay's, at the commit.
    Time(i64),
}

#[derive(Args)]
pub(crate) struct Describe {
    /// The pipeline: rides-per-zone
    #[arg(value_parser = ["rides-per-zone"])]
    pub(crate) pipeline: String,
    /// Form of the description
    #[arg(long, default_value = "text")]
    pub(crate) format: DescriptionForm,
}

/// The form of a topology's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DescriptionForm {
    /// For people.
    Text,
    /// A Mermaid flowchart.
    Mermaid,
    /// For scripts.
    Json,
}

fn window(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("a window needs a length".into()),
        length => Ok(length),
    }
}

fn order(text: &str) -> Result<Order, String> {
    match text {
        "time" => Ok(Order::Time),
        "file" => Ok(Order::File),
        _ => Err("it is `time` or `file`".into()),
    }
}

fn start(text: &str) -> Result<Start, String> {
    if let Ok(offset) = text.parse::<u64>() {
        return i64::try_from(offset)
            .map(Start::Offset)
            .map_err(|_| "no offset and no epoch is that large".into());
    }
    let zoned = chrono::DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_millis())
        .ok();
    let local = || tiderace_pipelines::taxi::LocalTime::parse(text).map(|time| time.millis());
    let date = || {
        let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(
            date.and_time(chrono::NaiveTime::MIN)
                .and_utc()
                .timestamp_millis(),
        )
    };
    let time = zoned.or_else(local).or_else(date);
    time.map(Start::Time)
        .ok_or_else(|| "it is a number, or a time such as 2020-07-01T00:10:00Z".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_start_is_an_offset_or_a_time() {
        assert_eq!(start("12"), Ok(Start::Offset(12)));
        assert_eq!(start("2020-07-01"), Ok(Start::Time(1_593_561_600_000)));
        assert_eq!(
            start("2020-07-01T00:00:01"),
            Ok(Start::Time(1_593_561_601_000))
        );
        assert_eq!(
            start("2020-07-01T02:00:00+02:00"),
            Ok(Start::Time(1_593_561_600_000))
        );
        assert!(start("soon").is_err());
        assert!(start("99999999999999999999").is_err());
    }

    #[test]
    fn the_main_job_needs_no_option() {
        let cli = Cli::try_parse_from(["tiderace", "rides-per-zone"]).unwrap();
        let Command::RidesPerZone(options) = cli.command else {
            panic!("another command")
        };
        assert_eq!(
            (options.window, options.grace),
            (Duration::from_secs(600), Duration::from_secs(60))
        );
        assert_eq!((options.load.scale, options.load.order), (1, Order::Time));
    }
}
