//! What the tests of the workspace share: a real Apache Kafka broker and naive oracles.

pub mod kafka;
pub mod oracle;
