//! The DSL: Kafka Streams' vocabulary in Rust's form, a stage a file.
//!
//! Handles are used by `&self`: using a stream twice is fan-out. They describe; nothing runs before
//! [`Engine::start`](crate::Engine::start).

mod builder;
mod global_table;
mod grouped;
mod join;
mod left_out;
mod merge;
mod sink;
mod split;
mod steps;
mod stream;
mod table;
mod windowed;

pub use builder::StreamsBuilder;
pub use global_table::GlobalKTable;
pub use grouped::KGroupedStream;
pub use split::Branches;
pub use stream::KStream;
pub use table::KTable;
pub use windowed::TimeWindowedKStream;
