//! The key of an entry: a string, in which types that are no strings may be written.

use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::reader::{Reader, Text, Unsure};

/// A key that the reader has gone past, and past the colon behind it.
pub(super) struct Key<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// Where it begins and ends, its quotes left out.
    from: usize,
    to: usize,
    /// What it is, without escapes.
    plain: Option<&'de str>,
}

impl<'a, 'de> Key<'a, 'de> {
    /// Reads on from behind a key's first quote to behind its colon.
    #[inline(always)]
    pub(super) fn read(reader: &'a mut Reader<'de>) -> Result<Self, Unsure> {
        let from = reader.at;
        let to = reader.stop();
        if reader.stands_at(to, b'"', b':') {
            let plain = Some(reader.between(from, to)?);
            reader.at = to + 2;
            return Ok(Key {
                reader,
                from,
                to,
                plain,
            });
        }
        Self::read_spaced(reader)
    }

    #[inline(never)]
    fn read_spaced(reader: &'a mut Reader<'de>) -> Result<Self, Unsure> {
        let from = reader.at;
        // Its first stop was taken.
        reader.go(from);
        let plain = match reader.string()? {
            Text::Plain(text) => Some(text),
            Text::Escaped => None,
        };
        let to = reader.at - 1;
        reader.expect(b':')?;
        Ok(Key {
            reader,
            from,
            to,
            plain,
        })
    }

    /// Reads something else where the key stands, which has to fill it: `from` its first byte or its first quote.
    fn again<T>(
        self,
        from: usize,
        to: usize,
        read: impl FnOnce(&mut Reader<'de>) -> Result<T, Unsure>,
    ) -> Result<T, Unsure> {
        let behind = self.reader.at;
        self.reader.go(from);
        let value = read(self.reader)?;
        if self.reader.at != to {
            return Err(self.reader.give_up());
        }
        self.reader.at = behind;
        Ok(value)
    }

    fn unquoted<T>(
        self,
        read: impl FnOnce(&mut Reader<'de>) -> Result<T, Unsure>,
    ) -> Result<T, Unsure> {
        let (from, to) = (self.from, self.to);
        self.again(from, to, read)
    }

    fn quoted<T>(
        self,
        read: impl FnOnce(&mut Reader<'de>) -> Result<T, Unsure>,
    ) -> Result<T, Unsure> {
        let (from, to) = (self.from - 1, self.to + 1);
        self.again(from, to, read)
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
                self.unquoted(|reader| match reader.byte() {
                    b'-' | b'0'..=b'9' => reader.$method(visitor),
                    _ => Err(reader.give_up()),
                })
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Key<'_, 'de> {
    type Error = Unsure;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        let Key {
            reader,
            from,
            to,
            plain,
        } = self;
        if let Some(text) = plain {
            let value = visitor.visit_borrowed_str(text);
            return reader.noted(value);
        }
        reader.by_serde_json(from - 1, to + 1, |json| json.deserialize_str(visitor))
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.unquoted(|reader| match reader.byte() {
            b't' | b'f' => reader.deserialize_bool(visitor),
            _ => Err(reader.give_up()),
        })
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        visitor.visit_some(self)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        if super::deserializer::is_raw_value(name) {
            return self.quoted(|reader| reader.deserialize_newtype_struct(name, visitor));
        }
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        self.quoted(|reader| reader.deserialize_enum(name, variants, visitor))
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.quoted(|reader| reader.deserialize_bytes(visitor))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.quoted(|reader| reader.deserialize_bytes(visitor))
    }

    forward_to_deserialize_any! {
        char str string unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}
