//! What the configuration of a topic may say. Names are those of Kafka's topics, so that a topic can be created with
//! the same words on either log; the embedded log acts on a few and keeps the others as they are.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::segment::SEGMENT_BYTES;
use crate::connect::NewTopic;
use crate::error::LogError;

/// The largest record of a topic without a `max.message.bytes`; Kafka's default.
pub(super) const MAX_MESSAGE_BYTES: usize = 1_048_588;
/// The largest value that `max.message.bytes` can have.
const MAX_MESSAGE_BYTES_LIMIT: usize = 1 << 30;
/// The least and the largest value that `segment.bytes` can have.
const SEGMENT_BYTES_RANGE: RangeInclusive<u64> = 1 << 10..=1 << 30;

/// What Kafka 4.3's `TopicConfig` has.
const NAMES: [&str; 33] = [
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// Names that programs of ours keep with a topic.
const OURS: &str = "tiderace.";

/// How alike a name must be to be suggested, from 0 to 1.
const ALIKE: f64 = 0.6;

/// Refuses a configuration with a name that no topic has, or with a value that cannot be acted on.
pub(super) fn check(topic: &NewTopic) -> Result<(), LogError> {
    let refused = |reason: String| {
        Err(LogError::Refused(format!(
            "topic `{}`: {reason}",
            topic.name
        )))
    };
    let is_known = |name: &str| name.starts_with(OURS) || NAMES.contains(&name);
    if let Some(name) = topic.config.keys().find(|name| !is_known(name)) {
        let hint = nearest(name).map(|of| format!("; did you mean `{of}`?"));
        return refused(format!(
            "there is no configuration `{name}`{}",
            hint.unwrap_or_default()
        ));
    }
    if let Err(value) = segment_bytes(&topic.config) {
        let (least, most) = (SEGMENT_BYTES_RANGE.start(), SEGMENT_BYTES_RANGE.end());
        return refused(format!(
            "segment.bytes={value} is not a number between {least} and {most}"
        ));
    }
    match max_message_bytes(&topic.config) {
        Ok(_) => Ok(()),
        Err(value) => refused(format!(
            "max.message.bytes={value} is not a number between 0 and {MAX_MESSAGE_BYTES_LIMIT}"
        )),
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let alike = |of: &'static str| (strsim::normalized_damerau_levenshtein(name, of), of);
    let nearest = NAMES
        .into_iter()
        .map(alike)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    nearest
        .filter(|(alike, _)| *alike >= ALIKE)
        .map(|(_, of)| of)
}

/// The largest record that a topic of this configuration takes, in bytes; the value that says so wrongly, if it does.
pub(super) fn max_message_bytes(config: &BTreeMap<String, String>) -> Result<usize, &str> {
    let Some(value) = config.get("max.message.bytes") else {
        return Ok(MAX_MESSAGE_BYTES);
    };
    value
        .parse()
        .ok()
        .filter(|bytes| *bytes <= MAX_MESSAGE_BYTES_LIMIT)
        .ok_or(value)
}

/// How long a segment gets before it has a successor, in bytes; the value that says so wrongly, if it does.
pub(super) fn segment_bytes(config: &BTreeMap<String, String>) -> Result<u64, &str> {
    let Some(value) = config.get("segment.bytes") else {
        return Ok(SEGMENT_BYTES);
    };
    value
        .parse()
        .ok()
        .filter(|bytes| SEGMENT_BYTES_RANGE.contains(bytes))
        .ok_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<(), String> {
        let topic = NewTopic {
            name: "t".into(),
            partitions: 1,
            config: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        };
        check(&topic).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_that_no_topic_has_is_refused_with_the_nearest_one() {
        let misspelt = checked("retention", "5").unwrap_err();
        assert_eq!(
            misspelt,
            "topic `t`: there is no configuration `retention`; did you mean `retention.ms`?"
        );
        let unlike = checked("zzz", "5").unwrap_err();
        assert_eq!(unlike, "topic `t`: there is no configuration `zzz`");
    }

    #[test]
    fn every_name_of_kafkas_topics_and_our_own_are_kept() {
        for name in NAMES.into_iter().chain(["tiderace.load"]) {
            checked(name, "2048").unwrap();
        }
        let sorted = NAMES.is_sorted_by(|a, b| a < b);
        assert!(sorted, "one of them may be there twice");
    }

    #[test]
    fn values_that_are_acted_on_have_their_limits() {
        for (name, value) in [
            ("segment.bytes", "1023"),
            ("segment.bytes", "1073741825"),
            ("max.message.bytes", "-1"),
            ("max.message.bytes", "1073741825"),
        ] {
            let error = checked(name, value).unwrap_err();
            assert!(error.contains(&format!("{name}={value}")), "{error}");
        }
        checked("segment.bytes", "1024").unwrap();
        checked("max.message.bytes", "0").unwrap();
    }
}
