//! How bytes of keys and values appear in JSON lines, and back: whatever the format, the bytes come back.
//!
//! Bytes that a format cannot show (a key of 3 bytes as `i32`, a value that is not UTF-8) appear as
//! `{"base64": "..."}`, which every format reads.

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::base64;

/// A format of keys or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// UTF-8 text.
    String,
    /// JSON, shown as it is.
    Json,
    /// Any bytes, as {"base64": "..."}.
    Base64,
    /// A number in 4 bytes, big-endian.
    I32,
    /// A number in 8 bytes, big-endian.
    I64,
    /// A window's key: a number in 4 bytes and the window's start in ms in 8, as {"key", "start"}.
    #[value(name = "windowed-i32")]
    WindowedI32,
}

/// What the pipeline of a topic declares of its keys and values; strings for any other topic.
pub(crate) fn declared(topic: &str) -> (Format, Format) {
    match topic {
        "rides" | "rides-per-zone-late" | "tiderace-loads" => (Format::String, Format::Json),
        "zones" => (Format::I32, Format::Json),
        "rides-per-zone" => (Format::WindowedI32, Format::Json),
        _ if topic.ends_with("-epochs") => (Format::I64, Format::Json),
        _ => (Format::String, Format::String),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64Object {
    base64: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowedObject {
    key: i32,
    start: i64,
}

/// Writes bytes as JSON, on one line.
pub(crate) fn write(bytes: Option<&[u8]>, format: Format, line: &mut Vec<u8>) {
    let Some(bytes) = bytes else {
        line.extend_from_slice(b"null");
        return;
    };
    let shown = match format {
        Format::Base64 => None,
        Format::String => std::str::from_utf8(bytes).ok().map(quoted),
        Format::Json => std::str::from_utf8(bytes).ok().map(|text| {
            if comes_back_as_it_is(text) {
                text.to_owned()
            } else {
                quoted(text)
            }
        }),
        Format::I32 => bytes
            .try_into()
            .ok()
            .map(|bytes| i32::from_be_bytes(bytes).to_string()),
        Format::I64 => bytes
            .try_into()
            .ok()
            .map(|bytes| i64::from_be_bytes(bytes).to_string()),
        Format::WindowedI32 => windowed(bytes),
    };
    let shown = shown.unwrap_or_else(|| format!(r#"{{"base64":"{}"}}"#, base64::encode(bytes)));
    line.extend_from_slice(shown.as_bytes());
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

fn windowed(bytes: &[u8]) -> Option<String> {
    let (key, start) = bytes.split_first_chunk::<4>()?;
    let start = i64::from_be_bytes(start.try_into().ok()?);
    Some(format!(
        r#"{{"key":{},"start":{start}}}"#,
        i32::from_be_bytes(*key)
    ))
}

/// Whether a value's JSON, put into a line, is read as these very bytes again.
fn comes_back_as_it_is(text: &str) -> bool {
    let json = serde_json::from_str::<&RawValue>(text);
    json.is_ok_and(|json| json.get() == text)
        && !text.starts_with('"')
        && text != "null"
        && compact(text) == text
        && serde_json::from_str::<Base64Object>(text).is_err()
}

/// Reads what [`write`] writes, and any other JSON that the format can mean.
///
/// # Errors
/// What the format takes instead.
pub(crate) fn read(json: &RawValue, format: Format) -> Result<Option<Vec<u8>>, String> {
    let text = json.get();
    if text == "null" {
        return Ok(None);
    }
    if let Ok(object) = serde_json::from_str::<Base64Object>(text) {
        let bytes = base64::decode(&object.base64);
        return bytes
            .map(Some)
            .ok_or_else(|| "`base64` holds no padded base64 text".into());
    }
    let bytes = match format {
        Format::String | Format::Json | Format::Base64 if text.starts_with('"') => {
            serde_json::from_str::<String>(text)
                .map_err(|error| error.to_string())?
                .into_bytes()
        }
        Format::String | Format::Json | Format::Base64 => compact(text).into_bytes(),
        Format::I32 => number::<i32>(text, "4 bytes")?.to_be_bytes().to_vec(),
        Format::I64 => number::<i64>(text, "8 bytes")?.to_be_bytes().to_vec(),
        Format::WindowedI32 => {
            let window: WindowedObject = serde_json::from_str(text).map_err(|_| {
                format!(
                    "{} is not {{\"key\": NUMBER, \"start\": MILLISECONDS}}",
                    clipped(text)
                )
            })?;
            [
                &window.key.to_be_bytes()[..],
                &window.start.to_be_bytes()[..],
            ]
            .concat()
        }
    };
    Ok(Some(bytes))
}

fn number<'a, N: Deserialize<'a>>(text: &'a str, size: &str) -> Result<N, String> {
    serde_json::from_str(text)
        .map_err(|_| format!("{} is not a whole number of {size}", clipped(text)))
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// JSON without the blanks between its parts; numbers and strings keep their spelling.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    json.chars()
        .filter(|c| {
            let keep = in_string || !matches!(c, ' ' | '\t' | '\n' | '\r');
            let quote = *c == '"' && !escaped;
            escaped = in_string && *c == '\\' && !escaped;
            in_string ^= quote;
            keep
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Format; 6] = [
        Format::String,
        Format::Json,
        Format::Base64,
        Format::I32,
        Format::I64,
        Format::WindowedI32,
    ];

    fn shown(bytes: &[u8], format: Format) -> String {
        let mut line = Vec::new();
        write(Some(bytes), format, &mut line);
        String::from_utf8(line).unwrap()
    }

    fn meant(json: &str, format: Format) -> Result<Option<Vec<u8>>, String> {
        read(serde_json::from_str::<&RawValue>(json).unwrap(), format)
    }

    #[test]
    fn every_format_brings_any_bytes_back() {
        let samples: [&[u8]; 22] = [
            b"",
            b"abc",
            b"null",
            b"\"abc\"",
            b"12",
            b"1.50",
            b"{\"a\":1.50}",
            b"{\"a\": 1}",
            b"{\"a\":\" \\\" \"}",
            b"[1,\n2]",
            b"{\"base64\":\"Zg==\"}",
            b"{\"base64\":\"%\"}",
            b"{\"base64\":1}",
            b"true",
            b"\xff\xfe",
            &[0, 0, 0, 5],
            &[0; 8],
            &[0xff; 12],
            b"\n",
            b"{\"a\":1}\n",
            b"{\"base\\u00364\":\"Zg==\"}",
            b"\"\\ud800\"",
        ];
        for format in ALL {
            for bytes in samples {
                let json = shown(bytes, format);
                assert!(!json.contains('\n'), "{json}");
                assert_eq!(
                    meant(&json, format).unwrap().as_deref(),
                    Some(bytes),
                    "{format:?} {json}"
                );
            }
            assert_eq!(meant("null", format), Ok(None));
        }
    }

    #[test]
    fn each_format_has_its_form() {
        assert_eq!(shown(b"a\"b", Format::String), r#""a\"b""#);
        assert_eq!(shown(b"{\"a\":1.50}", Format::Json), r#"{"a":1.50}"#);
        assert_eq!(shown(&[0, 0, 0, 238], Format::I32), "238");
        assert_eq!(shown(&(-2i64).to_be_bytes(), Format::I64), "-2");
        assert_eq!(
            shown(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 88], Format::WindowedI32),
            r#"{"key":1,"start":600}"#
        );
        assert_eq!(shown(b"f", Format::Base64), r#"{"base64":"Zg=="}"#);
        assert_eq!(shown(&[1, 2, 3], Format::I32), r#"{"base64":"AQID"}"#);
    }

    #[test]
    fn other_json_is_its_compact_text() {
        let value = meant("{ \"a b\" : [ 1.50 , \"\\\" \" ] }", Format::String)
            .unwrap()
            .unwrap();
        assert_eq!(String::from_utf8(value).unwrap(), r#"{"a b":[1.50,"\" "]}"#);
        assert_eq!(meant("12", Format::Json).unwrap().unwrap(), b"12");
    }

    #[test]
    fn what_a_format_cannot_mean_is_refused() {
        assert!(meant("\"5\"", Format::I32).unwrap_err().contains("4 bytes"));
        assert!(meant("4294967296", Format::I32).is_err());
        assert!(meant("1.5", Format::I64).is_err());
        assert!(
            meant("{\"key\":1}", Format::WindowedI32)
                .unwrap_err()
                .contains("start")
        );
        assert!(meant("{\"base64\":\"%\"}", Format::String).is_err());
    }
}
