//! Records as JSON lines: `{"partition","offset","timestamp","key","value","headers"}`, which `tiderace
//! consume` writes and `tiderace produce` reads. What the one writes of a record, the other makes it of.

use chrono::DateTime;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tiderace::connect::{Header, RecordBatch, SinkRecord};

use crate::formats::{self, Format};

/// Formats of a topic's keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Formats {
    pub(crate) key: Format,
    pub(crate) value: Format,
}

/// A line, read: a record before its partition and timestamp are chosen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The partition asked for.
    pub(crate) partition: Option<u32>,
    /// Milliseconds since 1970 began.
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine<'a> {
    partition: Option<u32>,
    #[serde(rename = "offset")]
    _offset: Option<IgnoredAny>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    // An `Option` could not tell `null`, a tombstone, from a missing field.
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(borrow, default)]
    headers: Vec<(String, &'a RawValue)>,
}

/// Appends the record at `index` of a batch as a line.
pub(crate) fn write(
    batch: &dyn RecordBatch,
    index: usize,
    partition: u32,
    formats: Formats,
    line: &mut Vec<u8>,
) {
    let record = batch.get(index);
    let place = format!(
        r#"{{"partition":{partition},"offset":{},"timestamp":{},"key":"#,
        record.offset, record.timestamp
    );
    line.extend_from_slice(place.as_bytes());
    let headers = batch.headers(index);
    write_rest(record.key, record.value, &headers, formats, line);
}

/// Appends a record that was not sent as a line: with its topic and its epoch, and without an offset.
pub(crate) fn write_replayed(
    record: &SinkRecord<'_>,
    epoch: u64,
    formats: Formats,
    line: &mut Vec<u8>,
) {
    let place = format!(r#"{{"epoch":{epoch},"topic":"#);
    line.extend_from_slice(place.as_bytes());
    formats::write(Some(record.topic.as_bytes()), Format::String, line);
    let place = format!(
        r#","partition":{},"timestamp":{},"key":"#,
        record.partition, record.timestamp
    );
    line.extend_from_slice(place.as_bytes());
    write_rest(record.key, record.value, record.headers, formats, line);
}

/// The end of a line, from the key on.
fn write_rest(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
    formats: Formats,
    line: &mut Vec<u8>,
) {
    formats::write(key, formats.key, line);
    line.extend_from_slice(br#","value":"#);
    formats::write(value, formats.value, line);
    line.extend_from_slice(br#","headers":["#);
    for (number, header) in headers.iter().enumerate() {
        line.extend_from_slice(if number == 0 { b"[" } else { b",[" });
        formats::write(Some(header.name.as_bytes()), Format::String, line);
        line.push(b',');
        formats::write(header.value.as_deref(), Format::String, line);
        line.push(b']');
    }
    line.extend_from_slice(b"]}\n");
}

/// Reads a line.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(line: &[u8], formats: Formats) -> Result<Line, String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    let raw: RawLine<'_> = serde_json::from_str(text).map_err(reason)?;
    let field = |name: &str, result: Result<Option<Vec<u8>>, String>| {
        result.map_err(|reason| format!("field `{name}`: {reason}"))
    };
    let key = raw.key.map_or(Ok(None), |key| {
        field("key", formats::read(key, formats.key))
    })?;
    let value = field("value", formats::read(raw.value, formats.value))?;
    let mut headers = Vec::with_capacity(raw.headers.len());
    for (name, value) in raw.headers {
        let value = field("headers", formats::read(value, Format::String))?;
        headers.push(Header { name, value });
    }
    let timestamp = raw
        .timestamp
        .map(|timestamp| read_timestamp(timestamp.get()))
        .transpose()?;
    Ok(Line {
        partition: raw.partition,
        timestamp,
        key,
        value,
        headers,
    })
}

/// serde counts lines and columns within the one line; only the column says something.
fn reason(error: serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => format!("{reason} (column {})", error.column()),
        None => text,
    }
}

fn read_timestamp(json: &str) -> Result<i64, String> {
    if let Ok(millis) = json.parse() {
        return Ok(millis);
    }
    let time = serde_json::from_str::<String>(json).ok();
    let time = time.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    let refused =
        || format!("field `timestamp`: {json} is neither milliseconds nor an RFC 3339 time");
    Ok(time.ok_or_else(refused)?.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use tiderace::connect::RawRecord;

    use super::*;

    const STRINGS: Formats = Formats {
        key: Format::String,
        value: Format::String,
    };
    const WINDOWS: Formats = Formats {
        key: Format::WindowedI32,
        value: Format::Json,
    };

    struct One {
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        headers: Vec<Header>,
    }

    impl RecordBatch for One {
        fn slot(&self) -> usize {
            0
        }
        fn len(&self) -> usize {
            1
        }
        fn get(&self, _: usize) -> RawRecord<'_> {
            RawRecord {
                offset: 7,
                timestamp: 1_600,
                key: self.key.as_deref(),
                value: self.value.as_deref(),
            }
        }
        fn headers(&self, _: usize) -> Vec<Header> {
            self.headers.clone()
        }
        fn memory(&self) -> usize {
            0
        }
    }

    fn header(name: &str, value: Option<&[u8]>) -> Header {
        Header {
            name: name.into(),
            value: value.map(<[u8]>::to_vec),
        }
    }

    #[test]
    fn a_record_has_the_contracts_form() {
        let key = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 9];
        let record = One {
            key: Some(key.to_vec()),
            value: Some(br#"{"rides":3}"#.to_vec()),
            headers: vec![header("a", Some(b"x")), header("a", None)],
        };
        let mut line = Vec::new();
        write(&record, 0, 2, WINDOWS, &mut line);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            concat!(
                r#"{"partition":2,"offset":7,"timestamp":1600,"key":{"key":4,"start":9},"#,
                r#""value":{"rides":3},"headers":[["a","x"],["a",null]]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_line_written_is_read_as_the_same_record() {
        let samples: [Option<&[u8]>; 5] = [
            None,
            Some(b""),
            Some(b"{\"a\": 1}"),
            Some(b"\xff"),
            Some(b"null"),
        ];
        for formats in [STRINGS, WINDOWS] {
            for key in samples {
                for value in samples {
                    let headers = vec![header("\"", value), header("", key)];
                    let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
                    let record = One {
                        key,
                        value,
                        headers,
                    };
                    let mut line = Vec::new();
                    write(&record, 0, 3, formats, &mut line);
                    let One {
                        key,
                        value,
                        headers,
                    } = record;
                    let expected = Line {
                        partition: Some(3),
                        timestamp: Some(1_600),
                        key,
                        value,
                        headers,
                    };
                    assert_eq!(read(&line, formats).unwrap(), expected);
                }
            }
        }
    }

    #[test]
    fn only_the_value_is_required() {
        let line = read(br#"{"value":"hello"}"#, STRINGS).unwrap();
        let expected = Line {
            partition: None,
            timestamp: None,
            key: None,
            value: Some(b"hello".into()),
            headers: vec![],
        };
        assert_eq!(line, expected);
        assert_eq!(read(br#"{"value":null}"#, STRINGS).unwrap().value, None);
        assert!(
            read(br#"{"key":"a"}"#, STRINGS)
                .unwrap_err()
                .contains("missing field `value`")
        );
    }

    #[test]
    fn timestamps_are_milliseconds_or_rfc_3339() {
        let at = |json: &str| {
            read(
                format!(r#"{{"value":1,"timestamp":{json}}}"#).as_bytes(),
                STRINGS,
            )
        };
        assert_eq!(at("-5").unwrap().timestamp, Some(-5));
        assert_eq!(
            at("\"2020-07-01T00:10:00Z\"").unwrap().timestamp,
            Some(1_593_562_200_000)
        );
        assert_eq!(
            at("\"2020-07-01T02:10:00.5+02:00\"").unwrap().timestamp,
            Some(1_593_562_200_500)
        );
        assert_eq!(at("null").unwrap().timestamp, None);
        assert!(at("1.5").unwrap_err().contains("RFC 3339"));
        assert!(at("\"yesterday\"").is_err());
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        let wrong = |text: &[u8]| read(text, STRINGS).unwrap_err();
        assert!(wrong(b"{\"value\":1").contains("EOF"));
        assert!(wrong(b"{\"vlaue\":1}").contains("unknown field `vlaue`"));
        assert!(wrong(b"{\"value\":1} x").contains("trailing characters"));
        assert!(wrong(b"\xff").contains("UTF-8"));
        assert!(wrong(b"{\"value\":1,\"partition\":-1}").contains("invalid value"));
        assert!(wrong(b"{\"value\":1,\"headers\":[[\"a\"]]}").contains("column"));
    }
}
