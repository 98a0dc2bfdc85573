//! Arrays, objects and variants, an entry at a time.

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::key::Key;
use super::reader::{Reader, Unsure};

/// The elements of an array.
pub(super) struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    is_first: bool,
}

impl<'a, 'de> Elements<'a, 'de> {
    #[inline]
    pub(super) fn new(reader: &'a mut Reader<'de>) -> Self {
        Elements {
            reader,
            is_first: true,
        }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Unsure;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Unsure> {
        if self.reader.token() == b']' {
            return Ok(None);
        }
        if !self.is_first {
            // What follows a comma has to be a value: the seed sees to it that it is.
            self.reader.expect(b',')?;
            if self.reader.token() == b']' {
                return Err(self.reader.give_up());
            }
        }
        self.is_first = false;
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

/// The entries of an object.
pub(super) struct Entries<'a, 'de> {
    reader: &'a mut Reader<'de>,
    is_first: bool,
}

impl<'a, 'de> Entries<'a, 'de> {
    #[inline]
    pub(super) fn new(reader: &'a mut Reader<'de>) -> Self {
        Entries {
            reader,
            is_first: true,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Unsure;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Unsure> {
        if !self.reader.next_entry(self.is_first)? {
            return Ok(None);
        }
        self.is_first = false;
        let key = Key::read(self.reader)?;
        seed.deserialize(key).map(Some)
    }

    /// The colon is behind the place already.
    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Unsure> {
        seed.deserialize(&mut *self.reader)
    }
}

/// A variant that is an object of one entry, its name and what it holds.
pub(super) struct NamedVariant<'a, 'de> {
    reader: &'a mut Reader<'de>,
}

impl<'a, 'de> NamedVariant<'a, 'de> {
    #[inline]
    pub(super) fn new(reader: &'a mut Reader<'de>) -> Self {
        NamedVariant { reader }
    }
}

impl<'de> EnumAccess<'de> for NamedVariant<'_, 'de> {
    type Error = Unsure;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Unsure> {
        self.reader.expect(b'"')?;
        let key = Key::read(self.reader)?;
        let name = seed.deserialize(key)?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for NamedVariant<'_, 'de> {
    type Error = Unsure;

    #[inline]
    fn unit_variant(self) -> Result<(), Unsure> {
        Deserialize::deserialize(self.reader)
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Unsure> {
        seed.deserialize(self.reader)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        self.reader.deserialize_seq(visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unsure> {
        self.reader.deserialize_struct("", fields, visitor)
    }
}

/// A variant that is its name, a string, and holds nothing.
pub(super) struct UnitVariant<'a, 'de> {
    reader: &'a mut Reader<'de>,
}

impl<'a, 'de> UnitVariant<'a, 'de> {
    #[inline]
    pub(super) fn new(reader: &'a mut Reader<'de>) -> Self {
        UnitVariant { reader }
    }
}

impl<'de> EnumAccess<'de> for UnitVariant<'_, 'de> {
    type Error = Unsure;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Unsure> {
        let name = seed.deserialize(&mut *self.reader)?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for UnitVariant<'_, 'de> {
    type Error = Unsure;

    #[inline]
    fn unit_variant(self) -> Result<(), Unsure> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, Unsure> {
        Err(self.reader.give_up())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Unsure> {
        Err(self.reader.give_up())
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Unsure> {
        Err(self.reader.give_up())
    }
}
