//! The Kafka connector against a real broker: bytes, offsets, transactions, failures.

#![allow(clippy::unwrap_used)]

mod admin;
mod failures;
mod in_place;
mod source;
mod support;
mod transactions;
mod writer;
