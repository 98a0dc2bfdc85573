//! Codecs: between the bytes of a topic and the types of a pipeline, a format each.

pub mod bytes;
pub mod json;
pub mod local_time;
