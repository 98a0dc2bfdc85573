//! The embedded log: topics, partitions and transactions in a directory, for one machine and no server.
//!
//! Data lies in append-only segments; one file, `commits`, says how far each of them counts. A transaction
//! over any number of topics writes and syncs its data first, and becomes visible by one synced record in
//! that file. Bytes behind what `commits` says are a torn tail, cut off by the next writer; a byte before it
//! that is missing or changed is an error that names file and offset.
//!
//! # Files
//!
//! ```text
//! DIR/log/commits                             what is committed
//! DIR/log/TOPIC/topic                         the topic's description
//! DIR/log/TOPIC/lock                          locked by the topic's one writer, with its pid in it
//! DIR/log/TOPIC/PARTITION/OFFSET.segment      records; OFFSET is the first one's, in 20 digits
//! DIR/log/commits+new, DIR/log/TOPIC/topic+new    being written, nobody reads them
//! ```
//!
//! Integers are little-endian; `crc32c` is Castagnoli's. A *text* is its length (u32) and UTF-8.
//!
//! ```text
//! preamble    every file: magic (8 bytes: `TIDEcmts`, `TIDEtopc`, `TIDEsegm`), version u32,
//!             crc32c u32 of the 12 bytes before
//! frame       length u32, crc32c u32 of the payload, crc32c u32 of the 8 bytes before, payload
//!
//! commits     preamble, frame with a checkpoint, frames with a change each
//! checkpoint  next topic id u64, count u32, per topic: id u64, name text, count u32, an extent a partition
//! extent      first offset i64, end offset i64, base offset of the last segment i64, its length u64
//! change      1u8, id u64, name text, partitions u32          a topic is created
//!             2u8, id u64                                     a topic is deleted
//!             3u8, count u32, each: id u64, partition u32, extent    a commit; it leaves the first offset alone
//!             4u8, id u64, partition u32, first offset i64    records below the first offset are gone
//!             5u8, id u64, partitions u32                     a topic has more partitions
//!
//! topic       preamble, frame with JSON: id, partitions, topic_id (not in old files), config
//!
//! segment     preamble, topic id u64, partition u32, base offset i64, crc32c u32 of the 20 bytes before,
//!             batches
//! batch       crc32c u32 of the 28 bytes that follow, crc32c u32 of the records, length of the records u32,
//!             count u32, base offset i64, largest timestamp i64, records
//! record      timestamp i64, length of key u32, of value u32, of headers u32, key, value, headers
//! header      length of name u32, of value u32, name, value
//! ```
//!
//! A length of `u32::MAX` is null. A largest timestamp of `i64::MIN` means that no record has one. A segment gets
//! a successor with the first batch behind the topic's `segment.bytes` (64 MiB without it); segments wholly below
//! a partition's first offset may be there or not.
//!
//! # Who may do what
//!
//! A topic has one writer at a time, plain or transactional, and any number of readers in any number of
//! processes. Only the writer, behind its lock, cuts torn tails off. The lock of `commits` is held
//! exclusively for an append and shared for the moment of reading, so what readers see is synced.
//! Topics are created and deleted behind a lock on the directory `log`.

mod batch;
mod buffers;
mod catalog;
mod commits;
mod disk;
mod embedded_log;
mod faults;
mod format;
mod outputs;
mod partition_writer;
mod reader;
mod retention;
mod segment;
mod source;
#[cfg(test)]
mod tests;
mod topic_config;
mod topic_file;
mod transactions;
mod writer;

pub use embedded_log::EmbeddedLog;
#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use partition_writer::P06_PARTLY_WRITTEN;
