//! From bytes to a key: the reverse of `encode`.

use std::any::{Any, TypeId};

use serde::de::value::{SeqDeserializer, UnitDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};

use super::{KeyError, WINDOWED, buffers};

/// Reads a key of type `K` from its bytes.
///
/// # Errors
/// The bytes are no such key; the message says what was expected.
pub fn decode<K: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<K, KeyError> {
    if let Some(key) = plain(bytes) {
        return Ok(key);
    }
    K::deserialize(Decoder {
        bytes,
        end: i64::MAX,
    })
}

/// Bytes as they are, if that is what `K` is: serde hands the elements of a sequence over one by one.
#[inline]
fn plain<K: 'static>(bytes: &[u8]) -> Option<K> {
    fn same<T: 'static, K: 'static>(value: impl FnOnce() -> T) -> Option<K> {
        if TypeId::of::<T>() != TypeId::of::<K>() {
            return None;
        }
        let mut value = Some(value());
        let value: &mut dyn Any = &mut value;
        value.downcast_mut::<Option<K>>()?.take()
    }
    same(|| buffers::copy(bytes)).or_else(|| same(|| Some(bytes.to_vec())))
}

/// The key that a null stands for: one only if the type provides for it, as `Option` does.
pub fn null<K: DeserializeOwned>() -> Option<K> {
    K::deserialize(UnitDeserializer::<KeyError>::new()).ok()
}

#[derive(Clone, Copy)]
struct Decoder<'a> {
    bytes: &'a [u8],
    end: i64,
}

impl<'a> Decoder<'a> {
    fn array<const N: usize>(self) -> Result<[u8; N], KeyError> {
        let found = self.bytes.len();
        self.bytes
            .try_into()
            .map_err(|_| KeyError::new(format!("expected {N} bytes, found {found}")))
    }

    fn text(self) -> Result<&'a str, KeyError> {
        std::str::from_utf8(self.bytes).map_err(|e| KeyError::new(format!("not UTF-8: {e}")))
    }

    fn json<V: Visitor<'a>>(
        self,
        read: impl FnOnce(
            &mut serde_json::Deserializer<serde_json::de::SliceRead<'a>>,
        ) -> serde_json::Result<V::Value>,
    ) -> Result<V::Value, KeyError> {
        let mut json = serde_json::Deserializer::from_slice(self.bytes);
        read(&mut json)
            .and_then(|key| json.end().map(|()| key))
            .map_err(|e| KeyError::new(format!("not JSON of a key: {e}")))
    }
}

macro_rules! big_endian {
    ($($method:ident: $type:ty => $visit:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
            visitor.$visit(<$type>::from_be_bytes(self.array()?))
        }
    )*};
}

impl<'de> Deserializer<'de> for Decoder<'de> {
    type Error = KeyError;

    big_endian!(deserialize_i8: i8 => visit_i8, deserialize_i16: i16 => visit_i16, deserialize_i32: i32 => visit_i32,
        deserialize_i64: i64 => visit_i64, deserialize_i128: i128 => visit_i128, deserialize_u8: u8 => visit_u8,
        deserialize_u16: u16 => visit_u16, deserialize_u32: u32 => visit_u32, deserialize_u64: u64 => visit_u64,
        deserialize_u128: u128 => visit_u128, deserialize_f32: f32 => visit_f32, deserialize_f64: f64 => visit_f64);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        self.json::<V>(|json| json.deserialize_any(visitor))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        let [byte] = self.array()?;
        visitor.visit_bool(byte != 0)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_borrowed_bytes(self.bytes)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_borrowed_bytes(self.bytes)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        if self.bytes.is_empty() {
            visitor.visit_unit()
        } else {
            Err(KeyError::new("expected no bytes"))
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        if name != WINDOWED {
            return visitor.visit_newtype_struct(self);
        }
        let Some(inner) = self.bytes.len().checked_sub(8) else {
            return Err(KeyError::new(
                "a windowed key ends in the 8 bytes of its window's start",
            ));
        };
        let (key, start) = self.bytes.split_at(inner);
        visitor.visit_newtype_struct(WindowedParts {
            key: Decoder { bytes: key, ..self },
            start,
            end: self.end,
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_seq(SeqDeserializer::<_, KeyError>::new(
            self.bytes.iter().copied(),
        ))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        self.json::<V>(|json| json.deserialize_tuple(len, visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        self.json::<V>(|json| json.deserialize_tuple_struct(name, len, visitor))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        self.json::<V>(|json| json.deserialize_map(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        self.json::<V>(|json| json.deserialize_struct(name, fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        if self.bytes.first() == Some(&b'{') {
            return self.json::<V>(|json| json.deserialize_enum(name, variants, visitor));
        }
        visitor.visit_enum(self.text()?.into_deserializer())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_unit()
    }
}

/// Inner key, start and end of a windowed key, as the sequence that its type expects.
struct WindowedParts<'a> {
    key: Decoder<'a>,
    start: &'a [u8],
    end: i64,
}

impl<'de> Deserializer<'de> for WindowedParts<'de> {
    type Error = KeyError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        struct Parts<'a>(WindowedParts<'a>, usize);
        impl<'de> de::SeqAccess<'de> for Parts<'de> {
            type Error = KeyError;
            fn next_element_seed<T: de::DeserializeSeed<'de>>(
                &mut self,
                seed: T,
            ) -> Result<Option<T::Value>, KeyError> {
                self.1 += 1;
                match self.1 {
                    1 => seed.deserialize(self.0.key).map(Some),
                    2 => seed
                        .deserialize(Decoder {
                            bytes: self.0.start,
                            end: 0,
                        })
                        .map(Some),
                    3 => seed
                        .deserialize(IntoDeserializer::<KeyError>::into_deserializer(self.0.end))
                        .map(Some),
                    _ => Ok(None),
                }
            }
        }
        visitor.visit_seq(Parts(self, 0))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
