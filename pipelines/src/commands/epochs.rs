//! `tiderace epochs`: what an application read, decided and wrote, epoch by epoch.

use std::fmt::Write as _;
use std::io::Write as _;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use tiderace::EpochLogView;
use tiderace::runtime::LoggedEntry;

use crate::access::{Access, configure, open};
use crate::cli::{Epochs, Form};
use crate::failure::Failure;

/// Lists the epoch log.
pub(crate) fn epochs(options: &Epochs) -> Result<(), Failure> {
    let log = open(&configure(&options.log, Vec::new())?, Access::Read)?;
    let view = EpochLogView::read(&*log, &options.application)?;
    let wanted = view
        .entries()
        .iter()
        // An entry without an epoch is damaged: it is shown wherever one looks.
        .filter(|entry| entry.epoch.is_none_or(|epoch| epoch >= options.from))
        .take(usize::try_from(options.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX));
    let text = match options.format {
        Form::Text => wanted.map(text).collect(),
        Form::Json => format!("{}\n", Value::Array(wanted.map(as_json).collect())),
    };
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes()).map_err(Failure::Output)
}

/// A time in milliseconds since 1970, as `--from` and `--to` take it.
pub(super) fn rfc3339(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The entry's own JSON, with where it lies and when it was committed.
fn as_json(entry: &LoggedEntry) -> Value {
    let mut value = match serde_json::from_slice(&entry.json) {
        Ok(Value::Object(fields)) => Value::Object(fields),
        _ => json!({"kind": "unreadable", "text": String::from_utf8_lossy(&entry.json)}),
    };
    value["offset"] = json!(entry.offset);
    value["committed_at"] = json!(rfc3339(entry.committed_at));
    if value.get("epoch").is_none() {
        value["epoch"] = json!(entry.epoch);
    }
    value
}

fn text(entry: &LoggedEntry) -> String {
    let value = as_json(entry);
    let epoch = entry
        .epoch
        .map_or("-".to_owned(), |epoch| epoch.to_string());
    let mut text = format!(
        "epoch {epoch}, offset {}, {}: ",
        entry.offset,
        rfc3339(entry.committed_at)
    );
    match value["kind"].as_str() {
        Some("origin") => origin(&value, &mut text),
        Some("start") => {
            let incarnation = value["incarnation"].as_str().unwrap_or("-");
            let _ = writeln!(
                text,
                "start, incarnation {incarnation}, workers: {}{}",
                value["workers"],
                guarantee(&value)
            );
        }
        Some("epoch") => committed(&value, &mut text),
        Some("reset") => reset(&value, &mut text),
        _ => text.push_str("an entry that cannot be read\n"),
    }
    text
}

/// The guarantee of an entry, if it is not exactly once.
fn guarantee(value: &Value) -> String {
    let weaker = value["guarantee"].as_str();
    weaker.map_or_else(String::new, |of| format!(", {of}"))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn name(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn origin(value: &Value, text: &mut String) {
    let _ = writeln!(
        text,
        "begun, {} shards, topology {}, parameters {}",
        value["shards"], value["topology"], value["parameters"]
    );
    for input in items(&value["inputs"]) {
        let table = if input["table"] == json!(true) {
            format!(" as a table that ends at {}", input["end"])
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "    reads {} from {}{table}",
            name(&input["topic"]),
            input["start"]
        );
    }
    for output in items(&value["outputs"]) {
        let _ = writeln!(
            text,
            "    writes {} from {}",
            name(&output["topic"]),
            output["end"]
        );
    }
}

fn reset(value: &Value, text: &mut String) {
    let _ = writeln!(
        text,
        "reset, epochs up to {} are forgotten",
        value["forgets"]
    );
    for begin in items(&value["begins"]) {
        let start = begin
            .get("start")
            .map_or("the beginning".to_owned(), Value::to_string);
        let _ = writeln!(text, "    {} begins at {start}", name(&begin["topic"]));
    }
}

fn committed(value: &Value, text: &mut String) {
    let counts = &value["counts"];
    let _ = writeln!(
        text,
        "read {} = processed {} + filtered {} + late {} + skipped {} + dead-lettered {}; {} rows of tables, {} windows closed{}",
        counts["read"],
        counts["processed"],
        counts["filtered"],
        counts["late"],
        counts["skipped"],
        counts["dead_lettered"],
        value["rows"],
        value["windows_closed"],
        guarantee(value)
    );
    for share in items(&value["read"]) {
        let _ = writeln!(
            text,
            "    read {} of {}, partition {}, up to offset {}",
            share["records"],
            name(&share["topic"]),
            share["partition"],
            share["end"]
        );
    }
    for decision in items(&value["decisions"]) {
        let _ = writeln!(text, "    decided {decision}");
    }
    for (topic, digest) in value["outputs"].as_object().into_iter().flatten() {
        let parts: Vec<_> = items(&digest["partitions"])
            .map(|part| format!("{} to {}", part["records"], part["partition"]))
            .collect();
        let _ = writeln!(
            text,
            "    wrote {} to {topic}, digest {} (by partition: {})",
            digest["records"],
            name(&digest["hash"]),
            parts.join(", ")
        );
    }
}
