//! What the tests of the workspace share: a real Apache Kafka broker, a proxy before it, naive oracles, and plans of when
//! to kill.

pub mod kafka;
pub mod kills;
pub mod oracle;
pub mod program;
pub mod proxy;
