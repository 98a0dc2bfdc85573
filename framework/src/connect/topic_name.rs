//! The names that Kafka allows for topics. Application ids obey the same rule, since an application's
//! epoch log is a topic, and since both become directories.

/// The longest name of a topic.
const LONGEST: usize = 249;

/// Whether `name` can be a topic's: 1 to 249 of `[a-zA-Z0-9._-]`, and neither `.` nor `..`.
pub(crate) fn is_topic_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=LONGEST).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(legal)
}
