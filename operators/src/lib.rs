//! Keyed state, windows, joins and watermarks as timely operators.
//!
//! The timestamp of timely is the epoch, a number; event time travels in-band, as marks between the records of one
//! channel. Operators apply epochs one after another and hold one capability that follows the frontier.
//!
//! # Layout
//!
//! - [`record`], [`key`], [`window`], [`shard`], [`stream_time`]: plain values and arithmetic, without timely.
//! - [`batch`], [`exchange`], [`dataflow`]: the one door to timely; what streams carry and how operators are built.
//! - [`aggregate`], [`window_aggregate`], [`join_table`], [`merge`], with [`fold`] for the order of folding and
//!   [`rows`] for those of a table: an operator a file.
//! - [`handover`]: what operators hand over for a snapshot, and take back; with [`changes`] for which keys those
//!   are, [`entries`] for the way there and [`state_codec`] for the bytes.
//! - [`tally`], [`current`]: what became of each record, and which one is to be blamed for a panic.
//! - [`mod@failpoint`]: where tests strike; nothing of it is in a release.
//!
//! # What there is none of
//!
//! No operator opens a file, reads a clock or sleeps: state is passed in, changes are passed out. None knows the
//! DSL, a topic or a codec. None carries event time in a timely timestamp or in a second stream: there is no order
//! between streams.

#![warn(clippy::iter_over_hash_type)]

pub mod aggregate;
pub mod batch;
mod board;
pub mod changes;
pub mod current;
pub mod dataflow;
pub mod emit;
pub mod entries;
pub mod exchange;
pub mod failpoint;
pub mod fold;
pub mod grouping;
pub mod handover;
pub mod join_table;
pub mod key;
mod keyed_table;
pub mod merge;
mod places;
pub mod record;
mod restore;
pub mod rows;
pub mod shard;
pub mod stage;
pub mod state_codec;
pub mod store;
pub mod stream_time;
pub mod tally;
mod touched;
pub mod window;
pub mod window_aggregate;
