//! `tiderace topics`: list, create, describe, grow and delete topics of either log.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use tiderace::connect::{Log, NewTopic, TopicDescription};

use crate::access::{Access, configure, existing, open};
use crate::cli::{Form, LogOptions, TopicsAction};
use crate::failure::Failure;

/// Runs one of the actions.
pub(crate) fn topics(action: &TopicsAction) -> Result<(), Failure> {
    match action {
        TopicsAction::List { format, log } => {
            let (log, mut topics) = (open_log(log, Access::Read)?, Vec::new());
            for name in log.topics()? {
                // A topic may be deleted between the two calls.
                topics.extend(log.topic(&name)?);
            }
            match format {
                Form::Text => print(&list(&topics, &log.location())),
                Form::Json => print_json(&Value::Array(topics.iter().map(as_json).collect())),
            }
        }
        TopicsAction::Create {
            topic,
            partitions,
            config,
            log,
        } => {
            let config = assignments(config)?;
            open_log(log, Access::Create)?.create_topic(&NewTopic {
                name: topic.clone(),
                partitions: *partitions,
                config,
            })?;
            print(&format!(
                "created topic {topic} with {}\n",
                counted(*partitions as i64, "partition")
            ))
        }
        TopicsAction::Describe { topic, format, log } => {
            let topic = existing(&*open_log(log, Access::Read)?, topic)?;
            match format {
                Form::Text => print(&description(&topic)),
                Form::Json => print_json(&as_json(&topic)),
            }
        }
        TopicsAction::Alter {
            topic,
            partitions,
            log,
        } => {
            let log = open_log(log, Access::Write)?;
            existing(&*log, topic)?;
            log.add_partitions(topic, *partitions)?;
            print(&format!(
                "topic {topic} has {} now; keys go to other partitions than before\n",
                counted(*partitions as i64, "partition")
            ))
        }
        TopicsAction::Delete { topic, log } => {
            let log = open_log(log, Access::Write)?;
            existing(&*log, topic)?;
            log.delete_topic(topic)?;
            print(&format!("deleted topic {topic}\n"))
        }
    }
}

fn open_log(options: &LogOptions, access: Access) -> Result<Arc<dyn Log>, Failure> {
    open(&configure(options, Vec::new())?, access)
}

fn assignments(config: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let split = |text: &String| {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    };
    config
        .iter()
        .map(|text| {
            split(text)
                .ok_or_else(|| Failure::Refused(format!("--config takes NAME=VALUE, not `{text}`")))
        })
        .collect()
}

fn records(topic: &TopicDescription) -> i64 {
    topic
        .partitions
        .iter()
        .map(|offsets| offsets.end - offsets.first)
        .sum()
}

fn counted(count: i64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn list(topics: &[TopicDescription], location: &str) -> String {
    if topics.is_empty() {
        return format!("no topics in {location}\n");
    }
    let width = topics
        .iter()
        .map(|topic| topic.name.len())
        .max()
        .unwrap_or(0)
        .max(5);
    let mut text = format!("{:width$}  PARTITIONS  OFFSETS HELD\n", "TOPIC");
    for topic in topics {
        let _ = writeln!(
            text,
            "{:width$}  {:>10}  {:>12}",
            topic.name,
            topic.partitions.len(),
            records(topic)
        );
    }
    text
}

fn description(topic: &TopicDescription) -> String {
    let mut text = format!(
        "topic {}, {}\n\n",
        topic.name,
        counted(topic.partitions.len() as i64, "partition")
    );
    text.push_str("PARTITION         FIRST          LAST          HELD\n");
    for (number, offsets) in topic.partitions.iter().enumerate() {
        let held = offsets.end - offsets.first;
        let (first, last) = match held {
            0 => ("-".to_owned(), "-".to_owned()),
            _ => (offsets.first.to_string(), (offsets.end - 1).to_string()),
        };
        let _ = writeln!(text, "{number:>9}  {first:>12}  {last:>12}  {held:>12}");
    }
    if let Some(id) = &topic.id {
        let _ = writeln!(text, "\nId: {id}");
    }
    if !topic.config.is_empty() {
        text.push_str("\nConfiguration:\n");
        for (name, value) in &topic.config {
            let _ = writeln!(text, "  {name}={value}");
        }
    }
    text
}

fn as_json(topic: &TopicDescription) -> Value {
    let partitions = topic
        .partitions
        .iter()
        .enumerate()
        .map(|(number, offsets)| {
            let last = (offsets.end > offsets.first).then_some(offsets.end - 1);
            json!({"partition": number, "first": offsets.first, "last": last, "next": offsets.end})
        });
    json!({
        "name": topic.name,
        "id": topic.id,
        "partitions": partitions.collect::<Vec<_>>(),
        "config": topic.config,
    })
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::Output)
}

fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value}\n"))
}

#[cfg(test)]
mod tests {
    use tiderace::connect::PartitionOffsets;

    use super::*;

    fn rides() -> TopicDescription {
        TopicDescription {
            name: "rides".into(),
            id: Some("4f2a".into()),
            partitions: vec![
                PartitionOffsets { first: 2, end: 12 },
                PartitionOffsets { first: 0, end: 0 },
            ],
            config: BTreeMap::from([("retention.ms".into(), "-1".into())]),
        }
    }

    #[test]
    fn a_description_shows_partitions_offsets_and_configuration() {
        let expected = "topic rides, 2 partitions\n\n\
            PARTITION         FIRST          LAST          HELD\n        \
            0             2            11            10\n        \
            1             -             -             0\n\n\
            Id: 4f2a\n\n\
            Configuration:\n  retention.ms=-1\n";
        assert_eq!(description(&rides()), expected);
    }

    #[test]
    fn json_has_the_next_offset_of_an_empty_partition() {
        assert_eq!(
            as_json(&rides()).to_string(),
            concat!(
                r#"{"config":{"retention.ms":"-1"},"id":"4f2a","name":"rides","partitions":["#,
                r#"{"first":2,"last":11,"next":12,"partition":0},{"first":0,"last":null,"next":0,"partition":1}]}"#
            )
        );
    }

    #[test]
    fn configuration_needs_a_name_and_a_value() {
        assert_eq!(assignments(&["a=b=c".into()]).unwrap()["a"], "b=c");
        for text in ["a", "=b"] {
            assert_eq!(assignments(&[text.into()]).unwrap_err().exit_code(), 64);
        }
    }
}
