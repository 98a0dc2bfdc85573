//! What the tests of the workspace share: a real Apache Kafka broker, a proxy before it, naive oracles, plans of when
//! to kill, how far snapshots reach, folders, and where builds go.

pub mod folders;
pub mod kafka;
pub mod kills;
pub mod oracle;
pub mod program;
pub mod proxy;
pub mod snapshots;
pub mod target;
