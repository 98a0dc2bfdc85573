//! JSON values. Decoding borrows from the batch's bytes and allocates only what the type owns.
//!
//! What is accepted, what it becomes and what is said of what is refused is up to serde_json. A reader of our own comes
//! first because it is faster where a type uses some of many fields: it either comes to what serde_json would come to,
//! or gives up and leaves the bytes to it. It therefore has no error messages, and no second opinion on what JSON is.

mod containers;
mod deserializer;
mod key;
mod number;
mod reader;
mod scan;
mod skip;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};

use self::reader::Reader;

/// Reads a value from one JSON document that fills `bytes`.
///
/// # Errors
/// Empty, not UTF-8, not JSON, of another shape, or followed by anything but white space.
pub fn decode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, String> {
    if bytes.is_empty() {
        return Err("the value is empty, not JSON".into());
    }
    // One pass over the whole value is cheaper than serde_json's check of each string.
    let text = simdutf8::basic::from_utf8(bytes)
        .map_err(|_| "the value is not JSON: it is not UTF-8".to_owned())?;
    if let Some(value) = read(text) {
        return Ok(value);
    }
    serde_json::from_str(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => format!("the JSON value has another shape: {e}"),
        _ => format!("the value is not JSON: {e}"),
    })
}

/// What serde_json makes of a text, if it is sure.
#[inline]
fn read<'de, V: Deserialize<'de>>(text: &'de str) -> Option<V> {
    let mut reader = Reader::new(text);
    let value = V::deserialize(&mut reader).ok()?;
    reader.is_done().then_some(value)
}

/// Appends a value as compact JSON.
///
/// # Errors
/// The type has no JSON form: a map whose keys are not strings.
pub fn encode<V: Serialize>(value: &V, bytes: &mut Vec<u8>) -> Result<(), String> {
    serde_json::to_writer(bytes, value).map_err(|e| format!("the value has no JSON form: {e}"))
}
