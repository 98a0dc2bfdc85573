//! JSON as a loop by hand reads it: checked for UTF-8 in one pass, then left to serde_json.

use serde::de::DeserializeOwned;

/// Reads a value from one JSON document that fills `bytes`.
///
/// # Errors
/// Not UTF-8, not JSON, or of another shape.
pub fn decode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, String> {
    let text = simdutf8::basic::from_utf8(bytes).map_err(|error| error.to_string())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}
