//! The topic of an application's epoch log, the same on every log.

use super::log::NewTopic;

/// Segments of the epoch log in bytes: short ones, so that deleting old entries gives their space back.
const SEGMENT_BYTES: &str = "4194304";

/// The topic, as it is created where it is missing.
pub(crate) fn epoch_topic(application_id: &str) -> NewTopic {
    // Entries carry wall-clock time, and none may expire before the snapshots that need it: the engine itself
    // deletes them.
    let config = [
        ("cleanup.policy", "delete"),
        ("retention.bytes", "-1"),
        ("retention.ms", "-1"),
        ("segment.bytes", SEGMENT_BYTES),
    ];
    NewTopic {
        name: format!("{application_id}-epochs"),
        partitions: 1,
        config: config
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    }
}
