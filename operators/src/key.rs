//! The bytes of a key: what decides its shard, its place among equals, and how a topic holds it.
//!
//! They are those of Kafka's own serdes: a string is its UTF-8, an integer its big-endian bytes in its own
//! width, a float its 8 (or 4) bytes, `Vec<u8>` as it is. A [`Windowed`] key is the inner key followed by the
//! window's start as 8 bytes big-endian. Any other type (a struct, a tuple) is its compact JSON. All of it
//! hangs on serde, so that a key type derives what it needs and implements nothing by hand.

mod buffers;
mod decode;
mod encode;

use std::hash::Hash;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use buffers::give_back;
pub use decode::{decode, null};
pub use encode::{KeyLayout, encode};

use crate::window::Window;

/// What a value between operators must be: a type that derives `Clone`, `Serialize` and `Deserialize`.
pub trait Data: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Data for T {}

/// What a key must be: a [`Data`] type that also derives `PartialEq`, `Eq` and `Hash`.
pub trait Key: Data + Eq + Hash {}
impl<T: Data + Eq + Hash> Key for T {}

/// A key type that cannot be bytes, or bytes that are not a key of the type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

impl KeyError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        KeyError(reason.into())
    }
}

impl serde::ser::Error for KeyError {
    fn custom<T: std::fmt::Display>(reason: T) -> Self {
        KeyError(reason.to_string())
    }
}

impl serde::de::Error for KeyError {
    fn custom<T: std::fmt::Display>(reason: T) -> Self {
        KeyError(reason.to_string())
    }
}

/// A key and the window that its result belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Windowed<K> {
    /// The key that was grouped by.
    pub key: K,
    /// The window.
    pub window: Window,
}

const WINDOWED: &str = "$tiderace::Windowed";

impl<K: Serialize> Serialize for Windowed<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .serialize_newtype_struct(WINDOWED, &(&self.key, self.window.start, self.window.end))
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Windowed<K> {
    /// From a topic's bytes the window's end is unknown, as it is to Kafka's deserializer without a window size:
    /// it is [`EventTime::MAX`](crate::record::EventTime::MAX) then.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<K>(std::marker::PhantomData<K>);
        impl<'de, K: DeserializeOwned> serde::de::Visitor<'de> for Visitor<K> {
            type Value = Windowed<K>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a windowed key")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                inner: D,
            ) -> Result<Self::Value, D::Error> {
                let (key, start, end) = Deserialize::deserialize(inner)?;
                Ok(Windowed {
                    key,
                    window: Window { start, end },
                })
            }
        }
        deserializer.deserialize_newtype_struct(WINDOWED, Visitor(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::EventTime;

    fn round_trip<K: Key + std::fmt::Debug>(key: K, bytes: &[u8]) {
        let mut encoded = Vec::new();
        encode(&key, &mut encoded).unwrap();
        assert_eq!(encoded, bytes);
        assert_eq!(decode::<K>(bytes).unwrap(), key);
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
    struct Pair {
        zone: u32,
        vendor: String,
    }

    #[test]
    fn keys_are_the_bytes_of_kafkas_own_serdes() {
        round_trip("zöne".to_string(), "zöne".as_bytes());
        round_trip(7u32, &[0, 0, 0, 7]);
        round_trip(-2i32, &[0xff, 0xff, 0xff, 0xfe]);
        round_trip(7u64, &[0, 0, 0, 0, 0, 0, 0, 7]);
        round_trip(i64::MIN, &[0x80, 0, 0, 0, 0, 0, 0, 0]);
        round_trip(vec![1u8, 2, 255], &[1, 2, 255]);
        round_trip(Vec::<u8>::new(), &[]);
        let mut double = Vec::new();
        encode(&1.5f64, &mut double).unwrap();
        assert_eq!(double, 1.5f64.to_be_bytes());
    }

    #[test]
    fn other_types_are_compact_json() {
        round_trip(
            Pair {
                zone: 7,
                vendor: "a".into(),
            },
            br#"{"zone":7,"vendor":"a"}"#,
        );
        round_trip((7u32, "a".to_string()), br#"[7,"a"]"#);
    }

    #[test]
    fn a_windowed_key_is_the_key_and_the_start() {
        let start = EventTime::from_millis(10_000);
        let key = Windowed {
            key: 7u32,
            window: Window {
                start,
                end: EventTime::MAX,
            },
        };
        round_trip(key.clone(), &[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0x27, 0x10]);
        let layout = encode(&key, &mut Vec::new()).unwrap();
        assert_eq!((layout.inner, layout.windowed), (4, true));
        assert_eq!(
            serde_json::to_string(&key).unwrap(),
            format!("[7,10000,{}]", i64::MAX)
        );
        assert_eq!(
            serde_json::from_str::<Windowed<u32>>(&serde_json::to_string(&key).unwrap()).unwrap(),
            key
        );
    }

    #[test]
    fn a_null_key_is_a_key_only_where_the_type_says_so() {
        assert_eq!(null::<Option<String>>(), Some(None));
        assert_eq!(null::<String>(), None);
        assert_eq!(null::<u32>(), None);
        assert_eq!(null::<Windowed<u32>>(), None);
        assert!(encode(&None::<String>, &mut Vec::new()).unwrap().null);
        assert!(!encode(&Some(String::new()), &mut Vec::new()).unwrap().null);
        assert_eq!(decode::<Option<u32>>(&[0, 0, 0, 7]).unwrap(), Some(7));
    }

    #[test]
    fn bytes_that_are_no_such_key_say_so() {
        assert_eq!(
            decode::<u32>(&[1, 2]).unwrap_err().to_string(),
            "expected 4 bytes, found 2"
        );
        assert!(
            decode::<String>(&[0xff])
                .unwrap_err()
                .to_string()
                .contains("not UTF-8")
        );
        assert!(
            decode::<Windowed<u32>>(&[1, 2])
                .unwrap_err()
                .to_string()
                .contains("8 bytes")
        );
        assert!(encode(&vec![1u32], &mut Vec::new()).is_err());
    }
}
