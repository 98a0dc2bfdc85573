//! JSON values. Decoding borrows from the batch's bytes and allocates only what the type owns.

use serde::Serialize;
use serde::de::DeserializeOwned;

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
    serde_json::from_str(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => format!("the JSON value has another shape: {e}"),
        _ => format!("the value is not JSON: {e}"),
    })
}

/// Appends a value as compact JSON.
///
/// # Errors
/// The type has no JSON form: a map whose keys are not strings.
pub fn encode<V: Serialize>(value: &V, bytes: &mut Vec<u8>) -> Result<(), String> {
    serde_json::to_writer(bytes, value).map_err(|e| format!("the value has no JSON form: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_bad_value_says_what_it_is() {
        let error = |bytes: &[u8]| decode::<(u32, String)>(bytes).unwrap_err();
        assert_eq!(error(b""), "the value is empty, not JSON");
        assert!(error(b"[1, \"\xff\"]").contains("not UTF-8"));
        assert!(error(b"[1, ").starts_with("the value is not JSON"));
        assert!(error(b"[1, \"a\"] [").contains("trailing characters"));
        assert!(error(b"[1]").starts_with("the JSON value has another shape"));
        assert!(error(&b"[".repeat(100_000)).starts_with("the "));
        assert_eq!(
            decode::<(u32, String)>(b" [1, \"a\"] ").unwrap(),
            (1, "a".to_owned())
        );
    }
}
