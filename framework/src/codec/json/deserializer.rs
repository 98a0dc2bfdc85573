//! Serde's view of a JSON text. Each method makes the calls that serde_json's makes for the same text, or gives up.

use serde::de::{Deserializer, Visitor};

use super::containers::{Elements, Entries, NamedVariant, UnitVariant};
use super::number::Number;
use super::reader::{Reader, Text, Unsure};

/// Whether serde_json was built to keep numbers as they are written (its feature `arbitrary_precision`): a type that
/// takes any value gets them in a way of its own then.
const NUMBERS_ARE_TEXT: bool = size_of::<serde_json::Number>() != 2 * size_of::<u64>();

/// The name under which `serde_json::value::RawValue` asks for the text of a value.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Whether a type of this name wants the text of a value.
#[inline]
pub(super) fn is_raw_value(name: &str) -> bool {
    name == RAW_VALUE
}

impl<'de> Reader<'de> {
    #[inline]
    fn read_literal<T>(
        &mut self,
        literal: &[u8],
        visit: impl FnOnce() -> Result<T, Unsure>,
    ) -> Result<T, Unsure> {
        self.literal(literal)?;
        let value = visit();
        self.noted(value)
    }

    #[inline]
    fn read_string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Unsure> {
        let from = self.at;
        self.expect(b'"')?;
        match self.string()? {
            Text::Plain(text) => {
                let value = visitor.visit_borrowed_str(text);
                self.noted(value)
            }
            Text::Escaped => {
                self.by_serde_json(from, self.at, |json| json.deserialize_str(visitor))
            }
        }
    }

    #[inline]
    fn read_number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Unsure> {
        self.token();
        let from = self.at;
        let value = match self.number()? {
            Number::Unsigned(number) => visitor.visit_u64(number),
            Number::Signed(number) => visitor.visit_i64(number),
            Number::Float(number) => visitor.visit_f64(number),
            Number::Long => {
                return self.by_serde_json(from, self.at, |json| json.deserialize_f64(visitor));
            }
        };
        self.noted(value)
    }

    #[inline]
    fn read_elements<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Unsure> {
        self.open(b'[')?;
        let value = visitor.visit_seq(Elements::new(self));
        self.close(b']', value)
    }

    #[inline]
    fn read_entries<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Unsure> {
        self.open(b'{')?;
        if self.byte() == b',' {
            return Err(self.give_up());
        }
        let value = visitor.visit_map(Entries::new(self));
        self.close(b'}', value)
    }

    #[inline]
    fn open(&mut self, begin: u8) -> Result<(), Unsure> {
        self.expect(begin)?;
        if self.depth == 0 {
            return Err(self.give_up());
        }
        self.depth -= 1;
        Ok(())
    }

    /// Ends a container, of which the type may have left values unread.
    #[inline]
    fn close<T>(&mut self, end: u8, value: Result<T, Unsure>) -> Result<T, Unsure> {
        let value = self.noted(value)?;
        self.depth += 1;
        self.expect(end)?;
        Ok(value)
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
                self.read_number(visitor)
            }
        )*
    };
}

/// Numbers that are rare, or of which serde_json's features decide how they are rounded.
macro_rules! numbers_by_serde_json {
    ($($method:ident)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
                self.token();
                let from = self.at;
                self.skip_number()?;
                self.by_serde_json(from, self.at, |json| json.$method(visitor))
            }
        )*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Unsure;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        match self.token() {
            b'"' => self.read_string(visitor),
            b'-' | b'0'..=b'9' if NUMBERS_ARE_TEXT => {
                let from = self.at;
                self.skip_number()?;
                self.by_serde_json(from, self.at, |json| json.deserialize_any(visitor))
            }
            b'-' | b'0'..=b'9' => self.read_number(visitor),
            b'{' => self.read_entries(visitor),
            b'[' => self.read_elements(visitor),
            b'n' => self.read_literal(b"null", || visitor.visit_unit()),
            b't' => self.read_literal(b"true", || visitor.visit_bool(true)),
            b'f' => self.read_literal(b"false", || visitor.visit_bool(false)),
            _ => Err(self.give_up()),
        }
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        match self.token() {
            b't' => self.read_literal(b"true", || visitor.visit_bool(true)),
            _ => self.read_literal(b"false", || visitor.visit_bool(false)),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f64
    }

    numbers_by_serde_json! { deserialize_f32 deserialize_i128 deserialize_u128 }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.read_string(visitor)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.read_string(visitor)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.read_string(visitor)
    }

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.read_string(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        if self.token() == b'[' {
            return self.read_elements(visitor);
        }
        let from = self.at;
        self.expect(b'"')?;
        self.skip_string()?;
        self.by_serde_json(from, self.at, |json| json.deserialize_bytes(visitor))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        if self.token() == b'n' {
            return self.read_literal(b"null", || visitor.visit_none());
        }
        let value = visitor.visit_some(&mut *self);
        self.noted(value)
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.token();
        self.read_literal(b"null", || visitor.visit_unit())
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        self.deserialize_unit(visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        if is_raw_value(name) {
            self.token();
            let from = self.at;
            self.skip_value()?;
            return self.by_serde_json(from, self.at, |json| {
                json.deserialize_newtype_struct(name, visitor)
            });
        }
        let value = visitor.visit_newtype_struct(&mut *self);
        self.noted(value)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.read_elements(visitor)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        self.read_elements(visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        self.read_elements(visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.read_entries(visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        match self.token() {
            b'[' => self.read_elements(visitor),
            _ => self.read_entries(visitor),
        }
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        match self.token() {
            b'{' => {
                self.open(b'{')?;
                let value = visitor.visit_enum(NamedVariant::new(self));
                self.close(b'}', value)
            }
            b'"' => {
                let value = visitor.visit_enum(UnitVariant::new(self));
                self.noted(value)
            }
            _ => Err(self.give_up()),
        }
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.skip_value()?;
        let value = visitor.visit_unit();
        self.noted(value)
    }
}
