//! From a key to its bytes: a serde serializer that knows Kafka's formats and leaves the rest to JSON.

use std::any::Any;

use serde::ser::{self, Impossible, Serialize, Serializer};

use super::{KeyError, WINDOWED};

/// How the bytes of a key are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLayout {
    /// Length in bytes of the key that decides the partition: all of it, or all but a window's start.
    pub inner: usize,
    /// Whether the last 8 bytes are a window's start.
    pub windowed: bool,
    /// Whether the key is null: a `None` of a type that provides for it.
    pub null: bool,
}

/// Appends the bytes of `key` to `bytes`.
///
/// # Errors
/// The type has no such form: a sequence of anything but bytes, a map whose keys are not strings.
pub fn encode<K: Serialize + 'static>(key: &K, bytes: &mut Vec<u8>) -> Result<KeyLayout, KeyError> {
    let any: &dyn Any = key;
    let plain = any.downcast_ref::<Vec<u8>>();
    // As they are: serde hands the elements of a sequence over one by one.
    if let Some(plain) = plain.or_else(|| any.downcast_ref::<Option<Vec<u8>>>()?.as_ref()) {
        bytes.extend_from_slice(plain);
        return Ok(KeyLayout {
            inner: plain.len(),
            windowed: false,
            null: false,
        });
    }
    let before = bytes.len();
    let mut encoder = Encoder {
        bytes,
        windowed: false,
        null: false,
    };
    key.serialize(&mut encoder)?;
    let Encoder { windowed, null, .. } = encoder;
    let inner = bytes.len() - before - if windowed { 8 } else { 0 };
    Ok(KeyLayout {
        inner,
        windowed,
        null,
    })
}

struct Encoder<'a> {
    bytes: &'a mut Vec<u8>,
    windowed: bool,
    null: bool,
}

fn json<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), KeyError> {
    serde_json::to_writer(bytes, value)
        .map_err(|e| KeyError::new(format!("the key has no JSON form: {e}")))
}

macro_rules! big_endian {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, value: $type) -> Result<(), KeyError> {
            self.bytes.extend_from_slice(&value.to_be_bytes());
            Ok(())
        }
    )*};
}

impl<'a, 'b> Serializer for &'b mut Encoder<'a> {
    type Ok = ();
    type Error = KeyError;
    type SerializeSeq = Bytes<'b>;
    type SerializeTuple = Compound<'b>;
    type SerializeTupleStruct = Compound<'b>;
    type SerializeTupleVariant = Impossible<(), KeyError>;
    type SerializeMap = Impossible<(), KeyError>;
    type SerializeStruct = Compound<'b>;
    type SerializeStructVariant = Impossible<(), KeyError>;

    big_endian!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_f32: f32, serialize_f64: f64);

    fn serialize_bool(self, value: bool) -> Result<(), KeyError> {
        self.bytes.push(value.into());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), KeyError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), KeyError> {
        self.bytes.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), KeyError> {
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), KeyError> {
        self.null = true;
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), KeyError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), KeyError> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), KeyError> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), KeyError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        if name == WINDOWED {
            return value.serialize(WindowedParts {
                encoder: self,
                part: 0,
            });
        }
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        json(
            &std::collections::BTreeMap::from([(variant, value)]),
            self.bytes,
        )
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Bytes<'b>, KeyError> {
        Ok(Bytes(self.bytes))
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'b>, KeyError> {
        Ok(Compound::open(self.bytes, b'[', b']'))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'b>, KeyError> {
        Ok(Compound::open(self.bytes, b'[', b']'))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, KeyError> {
        Err(KeyError::new(format!(
            "enum `{name}` with several fields in a variant cannot be a key: use a struct"
        )))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, KeyError> {
        Err(KeyError::new("a map cannot be a key: use a struct"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Compound<'b>, KeyError> {
        Ok(Compound::open(self.bytes, b'{', b'}'))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, KeyError> {
        Err(KeyError::new(format!(
            "enum `{name}` with named fields in a variant cannot be a key: use a struct"
        )))
    }
}

/// A sequence: bytes, or no key.
pub(super) struct Bytes<'a>(&'a mut Vec<u8>);

impl ser::SerializeSeq for Bytes<'_> {
    type Ok = ();
    type Error = KeyError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        let before = self.0.len();
        value.serialize(&mut Encoder {
            bytes: self.0,
            windowed: false,
            null: false,
        })?;
        if self.0.len() != before + 1 {
            return Err(KeyError::new(
                "a sequence of anything but bytes cannot be a key: use a tuple or a struct",
            ));
        }
        Ok(())
    }

    fn end(self) -> Result<(), KeyError> {
        Ok(())
    }
}

/// A tuple or a struct, written as JSON.
pub(super) struct Compound<'a> {
    bytes: &'a mut Vec<u8>,
    first: bool,
    close: u8,
}

impl<'a> Compound<'a> {
    fn open(bytes: &'a mut Vec<u8>, open: u8, close: u8) -> Self {
        bytes.push(open);
        Compound {
            bytes,
            first: true,
            close,
        }
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.bytes.push(b',');
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        self.comma();
        json(value, self.bytes)
    }

    fn close(self) -> Result<(), KeyError> {
        self.bytes.push(self.close);
        Ok(())
    }
}

impl ser::SerializeTuple for Compound<'_> {
    type Ok = ();
    type Error = KeyError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        self.element(value)
    }
    fn end(self) -> Result<(), KeyError> {
        self.close()
    }
}

impl ser::SerializeTupleStruct for Compound<'_> {
    type Ok = ();
    type Error = KeyError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        self.element(value)
    }
    fn end(self) -> Result<(), KeyError> {
        self.close()
    }
}

impl ser::SerializeStruct for Compound<'_> {
    type Ok = ();
    type Error = KeyError;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        self.comma();
        json(name, self.bytes)?;
        self.bytes.push(b':');
        json(value, self.bytes)
    }
    fn end(self) -> Result<(), KeyError> {
        self.close()
    }
}

/// The three parts of a windowed key: inner key, start, end. The end is not written.
struct WindowedParts<'b, 'a> {
    encoder: &'b mut Encoder<'a>,
    part: usize,
}

impl<'b, 'a> ser::SerializeTuple for WindowedParts<'b, 'a> {
    type Ok = ();
    type Error = KeyError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        self.part += 1;
        if self.part <= 2 {
            value.serialize(&mut *self.encoder)
        } else {
            Ok(())
        }
    }
    fn end(self) -> Result<(), KeyError> {
        self.encoder.windowed = true;
        Ok(())
    }
}

macro_rules! only_a_tuple {
    ($($method:ident($($argument:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<$ok, KeyError> {
            Err(KeyError::new("a windowed key has three parts"))
        }
    )*};
}

impl<'b, 'a> Serializer for WindowedParts<'b, 'a> {
    type Ok = ();
    type Error = KeyError;
    type SerializeSeq = Impossible<(), KeyError>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Impossible<(), KeyError>;
    type SerializeTupleVariant = Impossible<(), KeyError>;
    type SerializeMap = Impossible<(), KeyError>;
    type SerializeStruct = Impossible<(), KeyError>;
    type SerializeStructVariant = Impossible<(), KeyError>;

    fn serialize_tuple(self, _: usize) -> Result<Self, KeyError> {
        Ok(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), KeyError> {
        self.serialize_none()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<(), KeyError> {
        self.serialize_none()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), KeyError> {
        self.serialize_none()
    }

    only_a_tuple! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}
