//! Values in the formats of Kafka's own serdes (UTF-8 strings, big-endian integers and doubles, bytes), by type,
//! as keys are in every topic.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tiderace_operators::key;

/// Reads a value that fills `bytes`.
///
/// # Errors
/// The bytes are no such value.
pub fn decode<V: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<V, String> {
    key::decode(bytes).map_err(|e| format!("the value's bytes do not fit: {e}"))
}

/// Appends a value's bytes.
///
/// # Errors
/// The type has no such form.
pub fn encode<V: Serialize + 'static>(value: &V, bytes: &mut Vec<u8>) -> Result<(), String> {
    key::encode(value, bytes)
        .map(|_| ())
        .map_err(|e| e.to_string())
}
