//! Inputs that do not stay as they were: partitions that lag behind others, that are added, that lose records.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/wrapped.rs"]
mod wrapped;

mod backlog;
mod cleaner;
mod compaction;
mod counted;
mod ended;
mod growth;
mod kafka;
mod lacking;
mod leads;
mod losses;
#[path = "../bad_input/place.rs"]
#[allow(dead_code, reason = "each test program uses a part")]
mod place;
