//! The bytes of keys and values in a snapshot: MessagePack, structs as maps by the names of their fields.
//!
//! It describes itself, so that types that ask what comes next (untagged enums, flattened fields) can be read, and
//! named fields make serde's attributes hold (`default`, `skip_serializing_if`). It keeps what JSON loses: `NaN`,
//! 128-bit integers, keys of maps that are no strings. As in JSON, `Some(None)` comes back as `None`, and a field
//! under `serde(skip)` as its default: what a type does not serialize is not its state.
//!
//! Times are 8 bytes that order as the times do, so that entries of a window can be dropped by a prefix.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handover::StateError;
use crate::record::EventTime;

/// Appends a value.
///
/// # Errors
/// The type's `Serialize` refuses, or the value is nested deeper than 1,000 levels.
pub fn write<T: Serialize>(value: &T, to: &mut Vec<u8>) -> Result<(), StateError> {
    let mut serializer = rmp_serde::Serializer::new(to).with_struct_map();
    value.serialize(&mut serializer).map_err(|e| {
        let of = std::any::type_name::<T>();
        StateError(format!("a `{of}` cannot be written as state: {e}"))
    })
}

/// Reads a value that fills `bytes`.
///
/// # Errors
/// The bytes are no value of the type.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StateError> {
    rmp_serde::from_slice(bytes).map_err(|e| {
        let of = std::any::type_name::<T>();
        StateError(format!("what the snapshot holds is no `{of}`: {e}"))
    })
}

/// A time as bytes that order as the times do: big-endian, the sign flipped.
pub fn time_bytes(time: EventTime) -> [u8; 8] {
    (time.as_millis() as u64 ^ 1 << 63).to_be_bytes()
}

/// Takes a time off the front of `bytes`.
///
/// # Errors
/// There are fewer than 8 bytes.
pub fn take_time(bytes: &mut &[u8]) -> Result<EventTime, StateError> {
    let (time, rest) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| StateError("an entry of a snapshot ends within a time".into()))?;
    *bytes = rest;
    Ok(EventTime::from_millis(
        (u64::from_be_bytes(*time) ^ 1 << 63) as i64,
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::key::Windowed;
    use crate::window::Window;

    fn back<T: Serialize + DeserializeOwned>(value: &T) -> T {
        let mut bytes = Vec::new();
        write(value, &mut bytes).unwrap();
        read(&bytes).unwrap()
    }

    fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
        assert_eq!(back(&value), value);
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
    struct Pair {
        zone: u32,
        vendor: Option<String>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(i64),
        Bytes(Vec<u8>),
        Pair(Pair),
        Text(String),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Unit,
        Newtype(u8),
        Tuple(u8, String),
        Struct { of: i64 },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        One { at: i64 },
        Two(Pair),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flattened {
        first: u8,
        #[serde(flatten)]
        pair: Pair,
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        seldom: Vec<u8>,
        #[serde(default)]
        last: i64,
    }

    #[test]
    fn keys_of_every_kind_come_back() {
        let windowed = |key: Option<String>| Windowed {
            key,
            window: Window {
                start: EventTime::from_millis(-5),
                end: EventTime::from_millis(10_000),
            },
        };
        comes_back(windowed(None));
        comes_back(windowed(Some(String::new())));
        comes_back(Option::<String>::None);
        comes_back(Some(String::new()));
        comes_back(Option::<u32>::None);
        comes_back((7u32, "zöne".to_string(), -1i64));
        comes_back(Pair {
            zone: u32::MAX,
            vendor: None,
        });
        comes_back(vec![0u8, 1, 200, 255]);
        comes_back(vec![1u32, 2]);
        comes_back([u64::MAX, 0]);
        comes_back([i64::MIN, -1, i64::MAX]);
        comes_back((u128::MAX, i128::MIN, i128::MAX, 0u128));
        comes_back((true, 'ö', ()));
        comes_back(Kind::Unit);
    }

    #[test]
    fn values_that_json_loses_come_back() {
        assert_eq!(back(&f64::NAN).to_bits(), f64::NAN.to_bits());
        assert_eq!(back(&-0.0f64).to_bits(), (-0.0f64).to_bits());
        comes_back((f64::INFINITY, f32::MIN_POSITIVE, 0.1f32, 0.1f64));
        comes_back(BTreeMap::from([((1u8, Some(-1i64)), "a".to_string())]));
        comes_back(BTreeMap::from([(
            Pair {
                zone: 1,
                vendor: None,
            }
            .zone,
            i128::MIN,
        )]));
    }

    #[test]
    fn types_that_ask_what_comes_next_come_back() {
        let pair = || Pair {
            zone: 7,
            vendor: Some("a".into()),
        };
        comes_back([
            Untagged::Number(-7),
            Untagged::Number(i64::MAX),
            Untagged::Bytes((0..=255).collect()),
            Untagged::Pair(pair()),
            Untagged::Text("a".into()),
        ]);
        comes_back(vec![
            Kind::Unit,
            Kind::Newtype(1),
            Kind::Tuple(1, "a".into()),
            Kind::Struct { of: -1 },
        ]);
        comes_back([Tagged::One { at: 1 }, Tagged::Two(pair())]);
        for seldom in [Vec::new(), vec![200; 20]] {
            comes_back(Flattened {
                first: 1,
                pair: pair(),
                seldom,
                last: -1,
            });
        }
        comes_back(serde_json::json!({"a": [1, -1, 1.5, null, true, "b"], "c": {}}));
    }

    #[test]
    fn fields_that_are_left_out_or_new_get_their_defaults() {
        let mut bytes = Vec::new();
        write(&BTreeMap::from([("first", 1u8), ("zone", 7)]), &mut bytes).unwrap();
        let expected = Flattened {
            first: 1,
            pair: Pair {
                zone: 7,
                vendor: None,
            },
            seldom: Vec::new(),
            last: 0,
        };
        assert_eq!(read::<Flattened>(&bytes).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_written_or_read_says_what_it_is() {
        #[derive(Deserialize)]
        struct Refuses;
        impl Serialize for Refuses {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("not today"))
            }
        }
        let error = write(&Refuses, &mut Vec::new()).unwrap_err().to_string();
        assert!(
            error.contains("Refuses") && error.contains("not today"),
            "{error}"
        );
        let error = read::<u32>(&[0xa1, b'x']).unwrap_err().to_string();
        assert!(error.contains("no `u32`"), "{error}");
    }

    #[test]
    fn times_order_as_their_bytes_do() {
        let times = [i64::MIN, -10_000, -1, 0, 1, 1_593_563_132_000, i64::MAX];
        let times = times.map(EventTime::from_millis);
        assert!(times.map(time_bytes).is_sorted_by(|one, next| one < next));
        for time in times {
            let bytes = [&time_bytes(time)[..], b"key"].concat();
            let mut rest = &bytes[..];
            assert_eq!(take_time(&mut rest), Ok(time));
            assert_eq!(rest, b"key");
        }
        assert!(take_time(&mut &[0; 7][..]).is_err());
    }
}
