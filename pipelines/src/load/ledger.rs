//! What was loaded into a topic, recorded with it: in the topic's configuration where it was created by this
//! command in an embedded log, else (Kafka takes no foreign configuration) in a topic of its own.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use tiderace::connect::{Log, NewTopic, SinkRecord, TopicDescription, TopicPartition};

use super::{LoadError, Plan};
use crate::read::read_partition;

/// The name under which a topic's configuration holds its load.
pub const LOAD_CONFIG: &str = "tiderace.load";

/// The topic of loads, where topics' configuration cannot hold them: key the loaded topic, value the plan.
pub const LOADS_TOPIC: &str = "tiderace-loads";

/// Checks that the topic holds nothing but this load, and records it if nothing was recorded yet.
pub(super) fn agree(log: &dyn Log, topic: &TopicDescription, plan: &Plan) -> Result<(), LoadError> {
    let records: i64 = topic.partitions.iter().map(|offsets| offsets.end).sum();
    let refuse = |recorded: Plan| LoadError::Another {
        topic: topic.name.clone(),
        recorded: Box::new(recorded),
        wanted: Box::new(plan.clone()),
    };
    if let Some(text) = topic.config.get(LOAD_CONFIG) {
        let recorded = parse(&topic.name, text.as_bytes())?;
        return if recorded.sends_the_same(plan) {
            Ok(())
        } else {
            Err(refuse(recorded))
        };
    }
    match last_recorded(log, &topic.name)? {
        Some(recorded) if recorded.sends_the_same(plan) => Ok(()),
        // The record outlives a topic that is deleted and created again.
        Some(recorded) if records > 0 => Err(refuse(recorded)),
        None if records > 0 => Err(LoadError::Foreign {
            topic: topic.name.clone(),
            records,
        }),
        _ => record(log, &topic.name, plan),
    }
}

fn parse(topic: &str, text: &[u8]) -> Result<Plan, LoadError> {
    serde_json::from_slice(text).map_err(|error| LoadError::Record {
        topic: topic.to_owned(),
        reason: error.to_string(),
    })
}

fn last_recorded(log: &dyn Log, topic: &str) -> Result<Option<Plan>, LoadError> {
    let Some(loads) = log.topic(LOADS_TOPIC)? else {
        return Ok(None);
    };
    let mut last = None;
    for (partition, offsets) in loads.partitions.iter().enumerate() {
        let partition = TopicPartition::new(LOADS_TOPIC, partition as u32);
        let _ = read_partition(
            log,
            &partition,
            offsets.first,
            offsets.end,
            &|| true,
            &mut |batch, index| {
                let record = batch.get(index);
                if record.key == Some(topic.as_bytes()) {
                    last = record.value.map(<[u8]>::to_vec);
                }
                ControlFlow::Continue(())
            },
        )?;
    }
    last.map(|text| parse(topic, &text)).transpose()
}

fn record(log: &dyn Log, topic: &str, plan: &Plan) -> Result<(), LoadError> {
    if log.topic(LOADS_TOPIC)?.is_none() {
        let config = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        log.create_topic(&NewTopic {
            name: LOADS_TOPIC.into(),
            partitions: 1,
            config,
        })?;
    }
    let value = serde_json::to_vec(plan).expect("a plan is plain data");
    let mut writer = log.writer(LOADS_TOPIC)?;
    writer.send(&SinkRecord {
        topic: LOADS_TOPIC,
        partition: 0,
        timestamp: chrono::Utc::now().timestamp_millis(),
        key: Some(topic.as_bytes()),
        value: Some(&value),
        headers: &[],
    })?;
    Ok(writer.flush()?)
}
