//! Every setting: its name, unit, default and meaning, and how its text enters a [`Config`].
//!
//! `docs/configuration.md` holds the same table, and a test compares the two.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use super::{Config, parse_duration};

/// What a setting's value measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A name or a list of addresses.
    Text,
    /// A directory.
    Path,
    /// Plain milliseconds, or a number with its unit: `100ms`, `10s`, `10m`, `1h`, `7d`.
    Duration,
    /// Plain bytes, or a number with `KiB`, `MiB` or `GiB`.
    Bytes,
    /// A whole number.
    Count,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Text => "text",
            Unit::Path => "directory",
            Unit::Duration => "ms",
            Unit::Bytes => "bytes",
            Unit::Count => "count",
        }
    }
}

/// One setting of the table.
pub struct Setting {
    /// The name, Kafka Streams' own where it means the same.
    pub name: &'static str,
    /// What the value measures.
    pub unit: Unit,
    /// The value that is used unless another is given; `None` says that there is none.
    pub default: Option<&'static str>,
    /// What it does, as the documentation says it.
    pub meaning: &'static str,
    pub(super) apply: fn(&mut Config, &str) -> Result<(), String>,
}

/// Every setting but the client's own, which are `kafka.<property>`.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "application.id",
        unit: Unit::Text,
        default: None,
        meaning: "Names the application: its epoch log, its lock, its consumer group. The pipeline's own name unless set; the flag is `--application-id`.",
        apply: |config, text| put(&mut config.application_id, application_id(text).map(Some)),
    },
    Setting {
        name: "bootstrap.servers",
        unit: Unit::Text,
        default: None,
        meaning: "`HOST:PORT,...` of a Kafka cluster. Without it the embedded log is used; the flag is `--brokers`.",
        apply: |config, text| put(&mut config.brokers, brokers(text).map(Some)),
    },
    Setting {
        name: "state.dir",
        unit: Unit::Path,
        default: Some("tiderace-data"),
        meaning: "Holds the state of applications (`state/`) and, without brokers, the embedded log (`log/`); the flag is `--data-dir`.",
        apply: |config, text| put(&mut config.data_dir, filled(text).map(PathBuf::from)),
    },
    Setting {
        name: "processing.guarantee",
        unit: Unit::Text,
        default: Some("exactly_once_v2"),
        meaning: "What is promised of outputs when a run fails: `exactly_once_v2` (each once), `at_least_once` (none is lost, some may be doubled) or `at_most_once` (none is doubled, some may be lost). State is exact under each; it may change at a restart. See below.",
        apply: |config, text| put(&mut config.guarantee, text.parse()),
    },
    Setting {
        name: "num.stream.threads",
        unit: Unit::Count,
        default: Some("1"),
        meaning: "Worker threads. May change at a restart; the flag is `--workers`.",
        apply: |config, text| {
            put(
                &mut config.workers,
                count(text, 1, 1024).map(|count| count as usize),
            )
        },
    },
    Setting {
        name: "commit.interval.ms",
        unit: Unit::Duration,
        default: Some("100"),
        meaning: "The longest an epoch stays open before its outputs are committed; the flag is `--commit-interval`.",
        apply: |config, text| put(&mut config.commit_interval, positive(text)),
    },
    Setting {
        name: "epoch.records",
        unit: Unit::Count,
        default: Some("100000"),
        meaning: "Records after which an epoch closes before its interval is over.",
        apply: |config, text| put(&mut config.epoch_records, count(text, 1, u64::MAX)),
    },
    Setting {
        name: "max.records.per.second",
        unit: Unit::Count,
        default: None,
        meaning: "Records that a process takes in a second at most, all workers and inputs together; a replay of the epoch log is not held back. As many as it can unless set; the flag is `--rate`.",
        apply: |config, text| {
            put(
                &mut config.rate,
                count(text, 1, u64::MAX).map(NonZeroU64::new),
            )
        },
    },
    Setting {
        name: "epochs.in.flight",
        unit: Unit::Count,
        default: Some("4"),
        meaning: "Closed epochs whose outputs may be unacknowledged before no further one is opened; at least 2. Under `at_most_once` those that may be uncommitted.",
        apply: |config, text| put(&mut config.epochs_in_flight, count(text, 2, 1024)),
    },
    Setting {
        name: "memory.budget.bytes",
        unit: Unit::Bytes,
        default: Some("67108864"),
        meaning: "Memory in flight: fetched records, open epochs and their outputs, the Kafka client's queues included. Keyed state is not part of it. At least 4 MiB.",
        apply: |config, text| put(&mut config.memory_budget, bytes(text)),
    },
    Setting {
        name: "idle.timeout.ms",
        unit: Unit::Duration,
        default: Some("5000"),
        meaning: "How long a partition that was read to its end is silent before the watermark no longer waits for it.",
        apply: |config, text| put(&mut config.idle_timeout, positive(text)),
    },
    Setting {
        name: "max.skew.ms",
        unit: Unit::Duration,
        default: Some("604800000"),
        meaning: "How far a record may lie ahead of both its partition's stream time and the wall clock; one beyond it follows the error policy (7 days).",
        apply: |config, text| put(&mut config.max_skew, duration(text)),
    },
    Setting {
        name: "metadata.max.age.ms",
        unit: Unit::Duration,
        default: Some("30000"),
        meaning: "How often the partitions of the topics that are read are counted while the application follows them. Partitions that were added are read from their first record, from the next epoch on.",
        apply: |config, text| put(&mut config.metadata_max_age, positive(text)),
    },
    Setting {
        name: "max.lead.records",
        unit: Unit::Count,
        default: Some("100000"),
        meaning: "How many records of a partition may be read beyond the stream time of the partition that windows wait for: what lies beyond it stays in state until that one has come as far. The partition furthest behind never waits, and nobody waits for one that is idle or read to its end.",
        apply: |config, text| put(&mut config.max_lead_records, count(text, 1, u64::MAX)),
    },
    Setting {
        name: "snapshot.interval.ms",
        unit: Unit::Duration,
        default: Some("10000"),
        meaning: "How often the state of operators is kept as a snapshot, so that a restart replays only the epochs behind it. A run that ends in order keeps its last state in any case.",
        apply: |config, text| put(&mut config.snapshot_interval, positive(text)),
    },
    Setting {
        name: "epoch.log.retention.ms",
        unit: Unit::Duration,
        default: Some("604800000"),
        meaning: "How long entries of the epoch log are kept at least (7 days). Older ones are deleted once no kept snapshot needs them.",
        apply: |config, text| put(&mut config.epoch_log_retention, duration(text)),
    },
    Setting {
        name: "shards",
        unit: Unit::Count,
        default: Some("256"),
        meaning: "Parts that keys are divided into and workers share. Fixed by the first start of an application.",
        apply: |config, text| {
            put(
                &mut config.shards,
                count(text, 1, 65_536).map(|count| count as u32),
            )
        },
    },
    Setting {
        name: "stall.timeout.ms",
        unit: Unit::Duration,
        default: Some("30000"),
        meaning: "A worker that makes no progress for this long, with input at hand, is reported with the step it sits in: a warning, a metric, and `/health` answers 503 until it goes on.",
        apply: |config, text| put(&mut config.stall_timeout, positive(text)),
    },
    Setting {
        name: "max.restarts",
        unit: Unit::Count,
        default: Some("3"),
        meaning: "How often a run restarts itself from the last commit after a failure that may pass, before it ends with it. See below.",
        apply: |config, text| put(&mut config.max_restarts, count(text, 0, u64::MAX)),
    },
    Setting {
        name: "restart.backoff.ms",
        unit: Unit::Duration,
        default: Some("100"),
        meaning: "How long the first restart waits; each further one waits twice as long.",
        apply: |config, text| put(&mut config.restart_backoff, positive(text)),
    },
    Setting {
        name: "restart.backoff.max.ms",
        unit: Unit::Duration,
        default: Some("10000"),
        meaning: "The longest that a restart waits.",
        apply: |config, text| put(&mut config.restart_backoff_max, positive(text)),
    },
    Setting {
        name: "restart.reset.ms",
        unit: Unit::Duration,
        default: Some("60000"),
        meaning: "After this long without a failure, counted from the end of the replay, earlier restarts are forgotten: neither do they count, nor do later ones wait longer for them.",
        apply: |config, text| put(&mut config.restart_reset, positive(text)),
    },
];

/// The table of `docs/configuration.md`, in Markdown.
pub fn reference_table() -> String {
    let mut table = String::from("| Name | Unit | Default | Meaning |\n|---|---|---|---|\n");
    for setting in SETTINGS {
        let default = setting
            .default
            .map_or("none".into(), |value| format!("`{value}`"));
        let row = format!(
            "| `{}` | {} | {default} | {} |\n",
            setting.name,
            setting.unit.name(),
            setting.meaning
        );
        table.push_str(&row);
    }
    table
}

fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

fn filled(text: &str) -> Result<&str, String> {
    if text.trim().is_empty() {
        Err("needs a value".into())
    } else {
        Ok(text)
    }
}

/// An application id names a directory, a topic and a consumer group, so it obeys the strictest of the three.
fn application_id(text: &str) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.is_empty()
        || text.len() > 200
        || !text.bytes().all(legal)
        || text == "."
        || text == ".."
    {
        return Err(format!(
            "`{text}` names a topic and a directory: 1 to 200 letters, digits, `.`, `_` and `-`"
        ));
    }
    Ok(text.to_owned())
}

fn brokers(text: &str) -> Result<String, String> {
    let with_port = |broker: &str| {
        let port = broker
            .trim()
            .rsplit_once(':')
            .filter(|(host, _)| !host.is_empty());
        port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0))
    };
    match text.split(',').find(|broker| !with_port(broker)) {
        None => Ok(text.to_owned()),
        Some(broker) => Err(format!("`{}` is not HOST:PORT", broker.trim())),
    }
}

fn count(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number: u64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not a whole number"))?;
    if number < least {
        return Err(format!("{number} is too small, the least is {least}"));
    }
    if number > most {
        return Err(format!("{number} is too large, the most is {most}"));
    }
    Ok(number)
}

fn duration(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return parse_duration(&format!("{text}ms"));
    }
    parse_duration(text)
}

fn positive(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("0 is too small, the least is 1 ms".into()),
        span => Ok(span),
    }
}

fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => {
            return Err(format!(
                "`{text}` is not a size; write plain bytes, or 64MiB"
            ));
        }
    };
    let number: usize = number
        .parse()
        .map_err(|_| format!("`{text}` is not a size"))?;
    match number.checked_mul(1 << shift) {
        Some(size) if size >= 4 << 20 => Ok(size),
        Some(_) => Err(format!("`{text}` is too small, the least is 4MiB")),
        None => Err(format!("`{text}` is more than there can be")),
    }
}
