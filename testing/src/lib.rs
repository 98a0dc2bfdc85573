//! What the tests of the workspace share: a real Apache Kafka broker, a proxy before it, and naive oracles.

pub mod kafka;
pub mod oracle;
pub mod proxy;
